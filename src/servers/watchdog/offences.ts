import type { Clock } from '../../clock.ts'

export interface OffencesOptions {
  readonly clock: Clock
  /** So many within the time are too many. */
  readonly count: number
  readonly withinMs: number
}

/**
 * Offences counts how often each login has been ended. It is this process's memory: the next watcher begins at
 * zero, which gives a login a few more attempts at most.
 */
export class Offences {
  readonly #options: OffencesOptions
  readonly #times = new Map<string, number[]>()

  constructor(options: OffencesOptions) {
    this.#options = options
  }

  /** add counts one and says whether it was one too many; the login then begins at zero. */
  add(login: string): boolean {
    const { clock, count } = this.#options
    const now = clock.now()
    this.#forgetOlder(now)
    const times = this.#times.get(login) ?? []
    times.push(now)
    this.#times.set(login, times)
    if (times.length < count) return false
    this.#times.delete(login)
    return true
  }

  /** count says how many there are of a login. */
  count(login: string): number {
    return this.#times.get(login)?.length ?? 0
  }

  #forgetOlder(now: number): void {
    for (const [login, times] of this.#times) {
      const kept = times.filter((time) => now - time < this.#options.withinMs)
      if (kept.length === 0) this.#times.delete(login)
      else this.#times.set(login, kept)
    }
  }
}
