import type { PoolLimits } from '../../src/pool/contract.ts'

/** LIMITS is the service's defaults, but for what a measurement says otherwise. */
export const LIMITS: PoolLimits = {
  maxEntries: 500,
  maxConnections: 4,
  sharedMaxConnections: 16,
  serverMaxConnections: 80,
  processMaxConnections: 400,
  maxOpening: 8,
  maxWaiting: 1000,
  idleMs: 600_000,
  maxIdleMs: 3_600_000,
  connectionIdleMs: 60_000,
  acquireTimeoutMs: 5_000,
  connectTimeoutMs: 5_000,
  statementTimeoutMs: 15_000,
  drainTimeoutMs: 30_000,
  thrashMs: 60_000,
  breakerBaseMs: 500,
  breakerMaxMs: 30_000,
}

/** UNBOUNDED are connections that cost nothing. */
export const UNBOUNDED = {
  serverMaxConnections: 1_000_000,
  processMaxConnections: 1_000_000,
} as const satisfies Partial<PoolLimits>
