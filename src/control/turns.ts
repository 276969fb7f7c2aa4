/** Late is the longest wait for a turn. */
export interface Late {
  readonly ms: number
  readonly error: () => Error
}

type Wait = PromiseWithResolvers<void>

/** Turns lets so many pieces of work run at once, first come, first served. */
export class Turns {
  #free: number
  readonly #waiting: Wait[] = []

  constructor(atOnce: number) {
    this.#free = atOnce
  }

  /**
   * run resolves or rejects as `work` does, which starts when its turn comes.
   * @throws what `late.error` makes, when the turn has not come after `late.ms`; then `work` never starts
   */
  async run<T>(work: () => Promise<T>, late?: Late): Promise<T> {
    if (this.#free > 0) this.#free -= 1
    else await this.#turn(late)
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      // Whoever waits has the place at once, so that nobody who comes now can take it.
      if (next === undefined) this.#free += 1
      else next.resolve()
    }
  }

  async #turn(late: Late | undefined): Promise<void> {
    const wait: Wait = Promise.withResolvers<void>()
    this.#waiting.push(wait)
    if (late === undefined) return wait.promise
    const timer = setTimeout(() => {
      this.#waiting.splice(this.#waiting.indexOf(wait), 1)
      wait.reject(late.error())
    }, late.ms).unref()
    try {
      await wait.promise
    } finally {
      clearTimeout(timer)
    }
  }
}
