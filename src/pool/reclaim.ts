import type { Need, Shortage } from './need.ts'
import type { Slot, SlotOwner } from './slot.ts'

export interface Victim {
  readonly slot: Slot
  readonly pool: SlotOwner
  /** Evict the entry rather than close this one connection: it is idle, and this is all it has. */
  readonly wholeEntry: boolean
  /** Lower goes first. */
  readonly cost: number
}

/**
 * How long a connection of a pool that is leased must have been idle before it may go. A lease that has
 * just got one, or is between two statements, is about to use it.
 */
const BETWEEN_STATEMENTS_MS = 10

/**
 * How long an idle entry's only connection is left to it by tenants that have one already. Whoever asks
 * again and again would else lose it after every answer.
 */
const BETWEEN_REQUESTS_MS = 250

/** Price is what losing the only connection of an idle entry costs; undefined when the pool's entry is not idle. */
export type Price = (pool: SlotOwner) => number | undefined

/** Below any price: a surplus connection of a pool that keeps others. */
const SURPLUS = -1

/**
 * priceOf is what it costs to lose an idle entry: what reopening it takes, times how likely that is
 * soon. Whoever has been idle for long stays so most likely, and whoever came back soon after
 * earlier evictions comes back again.
 */
export function priceOf(entry: { reopenMs: number; strikes: number }, idleMs: number): number {
  return ((1 + entry.reopenMs) * 2 ** entry.strikes) / (1 + idleMs)
}

/**
 * cheapestToLose finds, where there is a shortage, the idle connection whose loss costs least: a surplus
 * one of a pool that keeps others, idle longest; else the only one of the idle entry with the lowest
 * price; else the only one of a pool that has a lease but runs nothing. Looks at connections, which the
 * budgets bound, not at what is resident.
 */
export function cheapestToLose(
  slots: ReadonlyMap<Slot, SlotOwner>,
  need: Need,
  now: number,
  price: Price,
): Victim | undefined {
  let best: Victim | undefined
  for (const victim of victims(slots, need.shortage, now, price)) {
    if (victim.cost !== SURPLUS && !need.hasNone && now - victim.slot.since < BETWEEN_REQUESTS_MS) continue
    if (
      best === undefined ||
      victim.cost < best.cost ||
      (victim.cost === best.cost && victim.slot.since < best.slot.since)
    ) {
      best = victim
    }
  }
  return best
}

/** victims is every idle connection that could go, in no order. */
export function* victims(
  slots: ReadonlyMap<Slot, SlotOwner>,
  shortage: Shortage,
  now: number,
  price: Price,
): Generator<Victim> {
  for (const [slot, pool] of slots) {
    if (slot.state !== 'idle' || !concerns(shortage, pool)) continue
    const cost = pool.open > 1 ? SURPLUS : price(pool)
    if (cost !== undefined) yield { slot, pool, wholeEntry: cost !== SURPLUS, cost }
    else if (now - slot.since >= BETWEEN_STATEMENTS_MS) {
      yield { slot, pool, wholeEntry: false, cost: Number.POSITIVE_INFINITY }
    }
  }
}

function concerns(shortage: Shortage, pool: SlotOwner): boolean {
  if (shortage === 'process') return true
  return 'server' in shortage ? pool.server === shortage.server : pool.tenantId === shortage.tenantId
}
