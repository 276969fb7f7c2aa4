import type { BreakerSnapshot, BreakerState } from './contract.ts'

export interface BreakerOptions {
  /** Failures in a row that open it. */
  readonly threshold: number
  /** First pause; each failed probe doubles it. */
  readonly baseMs: number
  readonly maxMs: number
  /** From 0 to below 1, like Math.random. */
  readonly random: () => number
}

/** The snapshot of who has never failed. */
export const CLOSED: BreakerSnapshot = Object.freeze({
  state: 'closed',
  failures: 0,
  retryAt: null,
  lastCode: null,
})

/**
 * Breaker keeps work away from what has failed. Closed, it lets all through; open, nothing until its
 * pause is over; then, half open, one probe, whose outcome closes it or opens it for twice as long.
 * Pauses are spread over half to one and a half times their length, so that many processes do not
 * come back at once.
 */
export class Breaker {
  readonly #options: BreakerOptions
  #state: BreakerState = 'closed'
  #failures = 0
  #retryAt = 0
  #lastCode: string | null = null

  constructor(options: BreakerOptions) {
    this.#options = options
  }

  get state(): BreakerState {
    return this.#state
  }

  get failures(): number {
    return this.#failures
  }

  /** waitMs is how long nothing may go; 0 when something may, be it a probe. */
  waitMs(now: number): number {
    switch (this.#state) {
      case 'closed':
        return 0
      case 'open':
        return Math.max(0, this.#retryAt - now)
      case 'half_open':
        // The probe is under way; nobody knows for how long.
        return Math.max(1, this.#retryAt - now)
    }
  }

  /** enter says that work goes that `waitMs` allowed; with an open breaker it is the probe. */
  enter(now: number): void {
    if (this.waitMs(now) > 0) throw new Error('bug: work went past an open breaker')
    if (this.#state === 'open') this.#state = 'half_open'
  }

  succeeded(): void {
    this.#state = 'closed'
    this.#failures = 0
    this.#lastCode = null
  }

  /** failed counts a failure; true when that opened the breaker, which was closed or half open before. */
  failed(code: string | null, now: number): boolean {
    this.#lastCode = code
    // Work that went before it opened says nothing new, and must not lengthen the pauses.
    if (this.#state === 'open') return false
    this.#failures += 1
    if (this.#failures < this.#options.threshold) return false
    const { baseMs, maxMs, threshold, random } = this.#options
    const pause = Math.min(maxMs, baseMs * 2 ** (this.#failures - threshold))
    this.#state = 'open'
    this.#retryAt = now + pause * (0.5 + random())
    return true
  }

  /** abandoned says that a probe ended without an outcome; the next one may go at once. */
  abandoned(): void {
    if (this.#state === 'half_open') this.#state = 'open'
  }

  snapshot(): BreakerSnapshot {
    return {
      state: this.#state,
      failures: this.#failures,
      retryAt: this.#state === 'closed' ? null : this.#retryAt,
      lastCode: this.#lastCode,
    }
  }
}
