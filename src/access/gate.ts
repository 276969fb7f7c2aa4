import { LessorError } from '../errors.ts'

export interface GateLimits {
  /** Pieces of work that run at once. */
  readonly concurrency: number
  /** Pieces of work that may wait; past it they are refused. */
  readonly maxWaiting: number
}

/** Gate lets a bounded number of expensive pieces of work run at once, first come, first served. */
export class Gate {
  readonly #limits: GateLimits
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(limits: GateLimits) {
    this.#limits = limits
  }

  /**
   * run resolves or rejects as `work` does, which starts when its turn comes.
   * @throws LessorError AUTHENTICATION_BUSY when too many wait already
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.#enter()
    try {
      return await work()
    } finally {
      this.#leave()
    }
  }

  async #enter(): Promise<void> {
    if (this.#running < this.#limits.concurrency) {
      this.#running++
      return
    }
    if (this.#waiting.length >= this.#limits.maxWaiting) {
      throw new LessorError('AUTHENTICATION_BUSY', undefined, { retryAfterSeconds: 1 })
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** Hands the place to the next in line, so that nobody who comes now can take it. */
  #leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#running--
    else next()
  }
}
