import { systemClock } from '../../src/clock.ts'
import type { PoolLimits, Pools } from '../../src/pool/contract.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { ConnectionLog } from './connection-log.ts'
import type { House } from './house.ts'
import { TENANTS } from './tenant.ts'

/** EngineOptions is what a round changes about the engine. */
export interface EngineOptions {
  /** Connections of each tenant's pool; of all tenants together where they share them. */
  readonly connections: number
  /** Fewer connections in all than tenants, so that they take turns. */
  readonly isScarce: boolean
}

/**
 * What the engine itself promises to end a statement within: its wait for a connection, its time limit with the
 * grace for the server's own, and the time that the server has to obey a cancel request.
 */
const ACQUIRE_MS = 10_000
const STATEMENT_MS = 8_000
/** HANG_MS is beyond all that. Only a statement that nothing ends runs into it. */
export const HANG_MS = ACQUIRE_MS + STATEMENT_MS + 8_000

function limits({ connections, isScarce }: EngineOptions): PoolLimits {
  const most = isScarce ? TENANTS - 2 : 2 * TENANTS * connections
  return {
    maxEntries: 2 * TENANTS,
    maxConnections: connections,
    sharedMaxConnections: connections,
    serverMaxConnections: most,
    processMaxConnections: most,
    maxOpening: 8,
    maxWaiting: 10_000,
    idleMs: 60_000,
    maxIdleMs: 600_000,
    connectionIdleMs: 10_000,
    acquireTimeoutMs: ACQUIRE_MS,
    connectTimeoutMs: 10_000,
    statementTimeoutMs: STATEMENT_MS,
    drainTimeoutMs: 2 * HANG_MS,
    thrashMs: 60_000,
    breakerBaseMs: 20,
    breakerMaxMs: 100,
  }
}

/** openEngine makes the engine as app.ts does, and notes what its connections are given. */
export function openEngine(
  house: House,
  options: EngineOptions,
): { readonly pools: Pools; readonly log: ConnectionLog } {
  const log = new ConnectionLog()
  const pools = new PoolRegistry({
    limits: limits(options),
    clock: systemClock,
    connect: log.recorded(openConnection),
    locate: house.locate,
  })
  return { pools, log }
}
