import type { Shortage } from './budgets.ts'
import type { Slot, SlotOwner } from './slot.ts'

export interface Victim {
  readonly slot: Slot
  readonly pool: SlotOwner
  /** Evict the entry rather than close this one connection: it is idle, and this is all it has. */
  readonly wholeEntry: boolean
}

/**
 * cheapestToLose finds, where there is a shortage, the idle connection whose loss costs least: a surplus one of a
 * pool that keeps others, else the only one of an idle entry, else the only one of a pool that has a
 * lease but runs nothing; among equals the one that has been idle longest. Looks at the server's
 * connections, which its budget bounds, not at what is resident.
 */
export function cheapestToLose(
  slots: ReadonlyMap<Slot, SlotOwner>,
  shortage: Shortage,
  isIdleEntry: (pool: SlotOwner) => boolean,
): Victim | undefined {
  let best: Victim | undefined
  let bestCost = Number.POSITIVE_INFINITY
  for (const [slot, pool] of slots) {
    if (slot.state !== 'idle' || !concerns(shortage, pool)) continue
    const isOnly = pool.open === 1
    const wholeEntry = isOnly && isIdleEntry(pool)
    const cost = !isOnly ? 0 : wholeEntry ? 1 : 2
    if (cost < bestCost || (cost === bestCost && best !== undefined && slot.since < best.slot.since)) {
      best = { slot, pool, wholeEntry }
      bestCost = cost
    }
  }
  return best
}

function concerns(shortage: Shortage, pool: SlotOwner): boolean {
  return 'server' in shortage ? pool.server === shortage.server : pool.tenantId === shortage.tenantId
}
