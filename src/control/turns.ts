/** Turns lets so many pieces of work run at once, first come, first served. */
export class Turns {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(atOnce: number) {
    this.#free = atOnce
  }

  /** run resolves or rejects as `work` does, which starts when its turn comes. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      // Whoever waits has the place at once, so that nobody who comes now can take it.
      if (next === undefined) this.#free += 1
      else next()
    }
  }
}
