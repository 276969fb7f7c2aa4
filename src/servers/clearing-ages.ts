import type { Clock } from '../clock.ts'
import type { Blocker } from './clearing-looks.ts'

/** Of a session that is in the way again within this time the time before counts as well. */
const FORGET_MS = 5_000

/**
 * BlockerAges tells for how long sessions have been in the way: by the age of their transactions, or, where the administrator
 * may not see that, by since when they were seen.
 */
export class BlockerAges {
  readonly #clock: Clock
  readonly #seen = new Map<string, { readonly since: number; last: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** of notes that a session is in the way and returns for how long it has been, in milliseconds. */
  of({ ageMs, pid, role }: Pick<Blocker, 'ageMs' | 'pid' | 'role'>): number {
    // A session of a busy pool is in the way again and again, by another transaction each time.
    if (ageMs !== null) return ageMs
    const now = this.#clock.now()
    for (const [key, { last }] of this.#seen) if (now - last > FORGET_MS) this.#seen.delete(key)
    // The server gives out process ids again.
    const key = `${pid} ${role}`
    const seen = this.#seen.get(key) ?? { since: now, last: now }
    seen.last = now
    this.#seen.set(key, seen)
    return now - seen.since
  }
}
