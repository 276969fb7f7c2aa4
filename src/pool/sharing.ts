import type { Slot } from './slot.ts'
import type { Statement } from './statement.ts'

/** No statement is sent behind one that has run for longer: it is likely slow, and would block it. */
const MAX_AGE_MS = 3
/** Statements on one connection at once: each flush and each read then carries several. */
const DEPTH = 16
/**
 * From here on a run is remembered. Well above MAX_AGE_MS: what is measured includes the event loop's
 * own delay, and a fast statement taken for a slow one costs throughput.
 */
const SLOW_MS = 25
/** Weight of the newest run in the average: one slow run is forgotten after some thirty fast ones. */
const WEIGHT = 1 / 8

/**
 * Sharing decides which connection of a pool one more statement may be sent on while others run
 * there. It looks at age: never behind one that has run for 3 ms; and it remembers which statements,
 * by their text, turned out slow, and sends nothing behind those. So round trips are shared where
 * statements are fast, and none stands behind one that is known to be slow. The driver's own pool
 * sends up to 100 on each connection in turn, whatever runs there.
 */
export class Sharing {
  /**
   * Running averages of the statements that were slow of late, in milliseconds. By the template's
   * identity, which lives as long as the code.
   */
  #slow: WeakMap<TemplateStringsArray, number> | undefined

  /**
   * find returns the first connection that one more statement may be sent on, so that what is sent
   * in one turn of the event loop leaves in few packets.
   */
  find(slots: Iterable<Slot>, now: number): Slot | undefined {
    for (const slot of slots) if (mayShare(slot, now)) return slot
    return undefined
  }

  isSlow({ strings }: Statement): boolean {
    return this.#slow?.has(strings) ?? false
  }

  /** ran learns from how long the server took for a statement. */
  ran({ strings }: Statement, ms: number): void {
    const known = this.#slow?.get(strings)
    if (known === undefined && ms < SLOW_MS) return
    const average = (known ?? 0) + (ms - (known ?? 0)) * WEIGHT
    // Most pools never see a slow statement, and there are thousands of pools.
    this.#slow ??= new WeakMap()
    if (average > MAX_AGE_MS) this.#slow.set(strings, average)
    else this.#slow.delete(strings)
  }
}

function mayShare(slot: Slot, now: number): boolean {
  return (
    slot.state === 'busy' &&
    slot.flights.length < DEPTH &&
    slot.fences === 0 &&
    slot.connection.isUsable &&
    !slot.isRetiring &&
    slot.slow === 0 &&
    now - slot.since <= MAX_AGE_MS
  )
}
