import type { PoolSnapshot, SweepReport } from '../pool/contract.ts'

/** Stays is how many pools a sweep leaves, by the reason. */
export interface Stays {
  readonly opening: number
  /** Has leases, or callers that wait. */
  readonly inUse: number
  /** Idle for less than the configured time. */
  readonly recentlyUsed: number
  /** Idle for longer, but thrash has lengthened its time. */
  readonly idleExtended: number
  /** When the next idle pool will have been idle for long enough; null when none is idle. */
  readonly nextInMs: number | null
}

/** whoStays sorts the pools that a sweep leaves; `idleMs` is the idle time without thrash. */
export function whoStays(pools: readonly PoolSnapshot[], sweep: SweepReport, idleMs: number): Stays {
  const gone = new Set(sweep.evicted.map(({ tenantId }) => tenantId))
  const stays = { opening: 0, inUse: 0, recentlyUsed: 0, idleExtended: 0 }
  let nextInMs: number | null = null
  for (const pool of pools) {
    // Of a tenant that goes there may be an older pool as well, but that one drains.
    if (pool.state === 'draining' || pool.state === 'closed' || gone.has(pool.tenantId)) continue
    if (pool.state === 'opening') stays.opening += 1
    else if (pool.leases > 0 || pool.waiting > 0) stays.inUse += 1
    else {
      stays[pool.idleMs < idleMs ? 'recentlyUsed' : 'idleExtended'] += 1
      nextInMs = Math.min(nextInMs ?? Number.POSITIVE_INFINITY, Math.max(0, pool.idleLimitMs - pool.idleMs))
    }
  }
  return { ...stays, nextInMs }
}
