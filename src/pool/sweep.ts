import type { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.ts'
import type { PoolLimits, SweepCandidate, SweepReport } from './contract.ts'
import type { Entry } from './entry.ts'
import type { Slot, SlotOwner } from './slot.ts'

export interface SweepInput {
  readonly dryRun: boolean
  readonly clock: Clock
  readonly limits: Pick<PoolLimits, 'idleMs' | 'connectionIdleMs'>
  readonly resident: number
  /** Idle entries, least recently used first. */
  readonly idle: LRUCache<string, Entry>
  readonly slots: ReadonlyMap<Slot, SlotOwner>
  readonly evict: (entry: Entry) => void
}

/**
 * sweepIdle evicts entries that nobody has used for `idleMs`, then closes surplus connections that
 * nobody has used for `connectionIdleMs`. It walks idle entries from the longest idle and stops at
 * the first that is within the limit for all, so its cost grows with what it evicts, and with those that
 * thrash has earned longer, not with what is resident.
 * @throws what evicting or closing threw, when all the others are done
 */
export function sweepIdle(input: SweepInput): SweepReport {
  const { clock, dryRun, limits } = input
  const startedAt = clock.now()
  const evicted: SweepCandidate[] = []
  const expired: Entry[] = []
  const idle = input.idle.size
  for (const entry of input.idle.rvalues()) {
    const idleMs = entry?.idleMs(startedAt) ?? 0
    if (entry === undefined || idleMs < limits.idleMs) break
    // It came back too soon after earlier evictions, and has longer.
    if (idleMs < entry.idleLimitMs) continue
    expired.push(entry)
    const counts = entry.pool?.counts
    evicted.push({
      tenantId: entry.tenantId,
      reason: 'idle',
      idleMs,
      connections: counts === undefined ? 0 : counts.idle + counts.busy,
      why: `No request for ${seconds(idleMs)} s; the limit is ${seconds(entry.idleLimitMs)} s.`,
    })
  }
  const failures: unknown[] = []
  const attempt = (work: () => void) => {
    try {
      work()
    } catch (error) {
      failures.push(error)
    }
  }
  // The next sweep begins with the same ones.
  if (!dryRun) for (const entry of expired) attempt(() => input.evict(entry))
  const connectionsClosed = closeSurplus(input, startedAt, attempt)
  if (failures.length > 0) throw failures[0]
  return {
    dryRun,
    startedAt,
    durationMs: clock.now() - startedAt,
    resident: input.resident,
    idle,
    evicted,
    connectionsClosed,
  }
}

/** A pool that stays keeps one connection, so that its next request is served at once. */
function closeSurplus(
  { slots, limits, dryRun }: SweepInput,
  now: number,
  attempt: (work: () => void) => void,
): number {
  let count = 0
  const kept = new Map<SlotOwner, number>()
  for (const [slot, pool] of slots) {
    if (slot.state !== 'idle' || now - slot.since < limits.connectionIdleMs) continue
    const left = kept.get(pool) ?? pool.open
    if (left <= 1) continue
    kept.set(pool, left - 1)
    count += 1
    if (!dryRun) attempt(() => pool.close(slot))
  }
  return count
}

function seconds(ms: number): number {
  return Math.round(ms / 1000)
}
