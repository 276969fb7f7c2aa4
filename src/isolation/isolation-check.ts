import type { Clock } from '../clock.ts'
import { LessorError } from '../errors.ts'
import type { IsolationReport } from './report.ts'

export interface IsolationCheckOptions {
  readonly clock: Clock
  /** prove tries the walls once. */
  readonly prove: (signal: AbortSignal) => Promise<IsolationReport>
  /** Longest time for a run. */
  readonly timeoutMs: number
  /** How long a report is not made anew. */
  readonly freshMs: number
}

/** IsolationState is what is known of the walls; times are epoch milliseconds. */
export interface IsolationState {
  /** Undefined before the first run. */
  readonly held: boolean | undefined
  readonly lastHeldAt: number | undefined
  /** Attacks of the last run. */
  readonly attacks: { readonly held: number; readonly failed: number }
}

/** IsolationCheck tries the walls of a running service: one run at a time, and none while the last report is fresh. */
export class IsolationCheck {
  readonly #options: IsolationCheckOptions
  readonly #closing = new AbortController()
  #underWay: Promise<IsolationReport> | undefined
  #latest: { readonly report: IsolationReport; readonly at: number } | undefined
  #lastHeldAt: number | undefined

  constructor(options: IsolationCheckOptions) {
    this.#options = options
  }

  get state(): IsolationState {
    const trials = this.#latest?.report.trials ?? []
    const failed = trials.filter(({ holds }) => !holds).length
    return {
      held: this.#latest?.report.held,
      lastHeldAt: this.#lastHeldAt,
      attacks: { held: trials.length - failed, failed },
    }
  }

  /**
   * run resolves with a report that is fresh, made now where there is none.
   * @throws LessorError SERVER_UNAVAILABLE, SHUTTING_DOWN, and what onboarding a canary throws; the last report stays
   */
  async run(): Promise<IsolationReport> {
    const { clock, freshMs } = this.#options
    const latest = this.#latest
    if (latest !== undefined && clock.now() - latest.at < freshMs) return latest.report
    this.#underWay ??= this.#prove().finally(() => {
      this.#underWay = undefined
    })
    return this.#underWay
  }

  /** prove tries the walls once, whatever is fresh, and keeps nothing. */
  async prove(signal: AbortSignal): Promise<IsolationReport> {
    return this.#options.prove(signal)
  }

  /** close ends a run under way and waits for it. Never rejects. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#underWay?.catch(() => {})
  }

  async #prove(): Promise<IsolationReport> {
    const { clock, timeoutMs } = this.#options
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(timeoutMs)])
    const report = await this.#twice(signal).catch((error: unknown) => {
      if (this.#closing.signal.aborted) throw new LessorError('SHUTTING_DOWN', undefined, { cause: error })
      if (!signal.aborted) throw error
      throw new LessorError('SERVER_UNAVAILABLE', 'The walls could not be tried in time.', { cause: error })
    })
    const at = clock.now()
    this.#latest = { report, at }
    if (report.held) this.#lastHeldAt = at
    return report
  }

  /** Two nodes may be at it at once, and one of them make its first rows while the other counts. */
  async #twice(signal: AbortSignal): Promise<IsolationReport> {
    const { prove } = this.#options
    const report = await prove(signal)
    return report.held ? report : prove(signal)
  }
}
