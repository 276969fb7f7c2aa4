import type { Clock } from '../clock.ts'

export interface OutageOptions {
  readonly clock: Clock
  /** How long what is known is still good while the control database cannot be reached. */
  readonly outageMs: number
  /** Called once when an outage begins. */
  readonly onBegin: (error: unknown) => void
  /** Called once when it is over, with the time since the last answer before it. */
  readonly onEnd: (ms: number) => void
}

/**
 * Outage knows whether the control database answers. It begins when anyone gets no answer, and ends
 * when the change feed has read all that happened meanwhile (`answered`): so what is remembered from
 * before is served at once and without a try, and is never used past the end.
 */
export class Outage {
  readonly #options: OutageOptions
  #answeredAt: number
  readonly #waiting = new Set<() => void>()
  #isDown = false
  #count = 0

  constructor(options: OutageOptions) {
    this.#options = options
    this.#answeredAt = options.clock.now()
  }

  /** Outages since the start. */
  get count(): number {
    return this.#count
  }

  /** Time since the change feed last read all there was, in milliseconds. */
  get unreadMs(): number {
    return this.#options.clock.now() - this.#answeredAt
  }

  /** servesKnown says whether what was known before is to be used now, however old. */
  servesKnown(): boolean {
    return this.#isDown && this.unreadMs < this.#options.outageMs
  }

  /** orBegun waits for an answer, but not past the beginning of an outage. @throws what `answer` throws before that */
  async orBegun(answer: Promise<unknown>): Promise<void> {
    if (this.#isDown) return
    const begun = Promise.withResolvers<void>()
    this.#waiting.add(begun.resolve)
    try {
      await Promise.race([answer, begun.promise])
    } finally {
      this.#waiting.delete(begun.resolve)
    }
  }

  /** failed says that the control database could not be reached. */
  failed(error: unknown): void {
    if (this.#isDown) return
    this.#isDown = true
    this.#count += 1
    for (const resolve of this.#waiting) resolve()
    this.#options.onBegin(error)
  }

  /** answered says that all changes up to a moment that began at `askedAt` have been applied. */
  answered(askedAt: number): void {
    const ms = this.unreadMs
    this.#answeredAt = askedAt
    if (!this.#isDown) return
    this.#isDown = false
    this.#options.onEnd(ms)
  }
}
