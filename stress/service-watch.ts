import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { atOnce } from '../test/support/at-once.ts'
import { MetricsText } from './prometheus.ts'
import { type Limits, Peaks, type Sample, type ServiceFigures } from './service-figures.ts'

const SESSIONS_EVERY_MS = 50
const METRICS_EVERY_MS = 250
/** How long after the last request a lease may be held before it is taken for one that nobody releases. */
const SETTLE_MS = 2_000

/** ServiceWatch looks at a running service and its database server, again and again until `stop`. */
export class ServiceWatch {
  readonly #url: string
  readonly #operatorKey: string
  readonly #database: postgres.Sql
  readonly #peaks: Peaks
  readonly #isDisturbed: boolean
  readonly #watching: Promise<void>
  #stopped = false
  #figures: Promise<ServiceFigures> | undefined

  constructor(options: {
    readonly url: string
    readonly operatorKey: string
    readonly databaseUrl: string
    readonly limits: Limits
    /** Looks that fail before `stop` are left out: something is broken on purpose. */
    readonly isDisturbed: boolean
  }) {
    this.#url = options.url
    this.#operatorKey = options.operatorKey
    this.#isDisturbed = options.isDisturbed
    this.#database = postgres(options.databaseUrl, { max: 1, connection: { application_name: 'stress' } })
    this.#peaks = new Peaks(options.limits)
    this.#watching = this.#watch()
    // Told to whoever calls `stop`.
    this.#watching.catch(() => {})
  }

  /**
   * stop looks until nothing moves any more, and resolves with all figures. Memoised, so that a scenario
   * that ends the service can have them taken before.
   * @throws when a look failed, e.g. as the service is gone
   */
  stop(): Promise<ServiceFigures> {
    this.#figures ??= this.#stop()
    return this.#figures
  }

  async #stop(): Promise<ServiceFigures> {
    this.#stopped = true
    await this.#watching
    const patience = performance.now() + SETTLE_MS
    for (let before = await this.#look(); ; ) {
      const now = await this.#look()
      const isSettled = now.metrics.sum('lessor_pool_leases') === 0 || performance.now() > patience
      if (isSettled && isSame(before, now)) return this.#peaks.figures(now)
      before = now
    }
  }

  /** close lets go of the database. */
  async close(): Promise<void> {
    this.#stopped = true
    await Promise.allSettled([this.#watching])
    await this.#database.end({ timeout: 1 })
  }

  async #watch(): Promise<void> {
    for (let next = 0; !this.#stopped; await sleep(SESSIONS_EVERY_MS)) {
      try {
        if (performance.now() >= next) {
          this.#peaks.see(await this.#look())
          next = performance.now() + METRICS_EVERY_MS
        } else {
          this.#peaks.seeSessions(await this.#sessions())
        }
      } catch (error) {
        if (!this.#isDisturbed) throw error
      }
    }
  }

  async #look(): Promise<Sample> {
    const [text, sessions] = await Promise.all([this.#scrape(), this.#sessions()])
    return { at: Date.now(), metrics: new MetricsText(text), sessions }
  }

  async #scrape(): Promise<string> {
    const response = await fetch(`${this.#url}/metrics`, {
      headers: { authorization: `Bearer ${this.#operatorKey}` },
    })
    if (!response.ok) throw new Error(`/metrics answered ${response.status}`)
    return response.text()
  }

  /** Tenants log in as tb_<tenant> or tg_<tenant>. */
  #sessions(): Promise<number> {
    return atOnce(async () => {
      const rows = await this.#database<{ pid: number }[]>`
        select pid from pg_stat_activity where usename ~ '^t[bg]_[0-9a-f]{32}$'`
      return rows.map(({ pid }) => pid)
    })
  }
}

/** The service reads its pools and its counters one after the other, and a sweep may come between. */
function isSame(before: Sample, now: Sample): boolean {
  const [a, b] = [before.metrics, now.metrics]
  return ['lessor_pools', 'lessor_pool_opens_total', 'lessor_pool_evictions_total'].every(
    (name) => a.sum(name) === b.sum(name),
  )
}
