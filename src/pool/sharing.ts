import type { Slot } from './slot.ts'

/** No statement is sent behind one that has run for longer: it is likely slow, and would block it. */
const MAX_AGE_MS = 3
/** Statements on one connection at once. */
const DEPTH = 2

/**
 * shareable finds a busy connection that one more statement may be sent on: it runs a single
 * statement, which is young. So a round trip is saved where statements are fast, and no statement
 * stands behind a slow one (`npm run bench` compares with the driver's own pool, which sends up to
 * 100 on each connection in turn).
 */
export function shareable(slots: Iterable<Slot>, now: number): Slot | undefined {
  for (const slot of slots) {
    if (
      slot.state === 'busy' &&
      slot.flights.length < DEPTH &&
      slot.fences === 0 &&
      now - slot.since <= MAX_AGE_MS
    ) {
      return slot
    }
  }
  return undefined
}
