import type { MetricsText } from './prometheus.ts'

const LOOP_LOOKS_EVERY_MS = 10

/** Limits is what the configuration allows. */
export interface Limits {
  readonly pools: number
  readonly connections: number
  /** Connections being opened at once. */
  readonly opening: number
}

/** ServiceFigures is a run as the service and its database server saw it. Times are in milliseconds. */
export interface ServiceFigures {
  readonly limits: Limits
  /** Resident entries: the most that was seen, and now. */
  readonly pools: Peak
  /** Sessions of tenants, counted by the server itself (pg_stat_activity). */
  readonly connections: Peak
  readonly leases: Peak
  readonly waiting: Peak
  /** Connections being opened at once, as the service itself counted them. */
  readonly opening: Peak
  /** The event loop's longest stall between two looks, over the run. */
  readonly stallMs: Peak
  readonly stalls: readonly Stall[]
  readonly hits: number
  readonly opens: Readonly<Record<string, number>>
  readonly reopened: number
  readonly saturated: number
  readonly connectionsOpened: number
  readonly evictions: Readonly<Record<string, number>>
  /** Upper bounds of the histograms' buckets. */
  readonly openMs: Quantiles
  readonly leaseWaitMs: Quantiles
  readonly drainMs: Quantiles
  /** Requests by status. */
  readonly statuses: Readonly<Record<string, number>>
}

interface Peak {
  readonly peak: number
  readonly last: number
}

interface Quantiles {
  readonly p50: number | undefined
  readonly p95: number | undefined
}

/** Stall is the longest that the event loop did nothing else, in the time before a look. */
export interface Stall {
  /** Epoch milliseconds of the look. */
  readonly at: number
  readonly ms: number
}

/** Sample is one look at the service. */
export interface Sample {
  /** Epoch milliseconds. */
  readonly at: number
  readonly metrics: MetricsText
  readonly sessions: number
}

/** Peaks keeps the highest values of what goes up and down. */
export class Peaks {
  readonly #limits: Limits
  readonly #pools = new Highest()
  readonly #leases = new Highest()
  readonly #waiting = new Highest()
  readonly #connections = new Highest()
  readonly #stall = new Highest()
  readonly #stalls: Stall[] = []

  constructor(limits: Limits) {
    this.#limits = limits
  }

  see({ at, metrics, sessions }: Sample): void {
    const { opening = 0, ready = 0 } = metrics.by('lessor_pools', 'state')
    this.#pools.see(opening + ready)
    this.#leases.see(metrics.sum('lessor_pool_leases'))
    this.#waiting.see(metrics.sum('lessor_pool_waiting'))
    this.#connections.see(sessions)
    const ms = stallOf(metrics)
    this.#stall.see(ms)
    this.#stalls.push({ at, ms })
  }

  /** seeSessions takes a look at the server alone, which costs less and can be had more often. */
  seeSessions(sessions: number): void {
    this.#connections.see(sessions)
  }

  /** figures closes the books with the last sample. */
  figures(last: Sample): ServiceFigures {
    this.see(last)
    const { metrics } = last
    return {
      limits: this.#limits,
      pools: this.#pools.toPeak(),
      connections: this.#connections.toPeak(),
      leases: this.#leases.toPeak(),
      waiting: this.#waiting.toPeak(),
      opening: {
        peak: metrics.by('lessor_budget_peak', 'kind').opening ?? 0,
        last: metrics.by('lessor_budget_used', 'kind').opening ?? 0,
      },
      stallMs: this.#stall.toPeak(),
      stalls: this.#stalls,
      hits: metrics.sum('lessor_pool_hits_total'),
      opens: metrics.by('lessor_pool_opens_total', 'outcome'),
      reopened: metrics.sum('lessor_pool_reopened_total'),
      saturated: metrics.sum('lessor_pool_saturated_total'),
      connectionsOpened: metrics.sum('lessor_pool_connections_opened_total'),
      evictions: metrics.by('lessor_pool_evictions_total', 'reason'),
      openMs: quantiles(metrics, 'lessor_pool_open_seconds'),
      leaseWaitMs: quantiles(metrics, 'lessor_pool_lease_wait_seconds'),
      drainMs: quantiles(metrics, 'lessor_pool_drain_seconds'),
      statuses: metrics.by('http_request_duration_seconds_count', 'status'),
    }
  }
}

class Highest {
  #peak = 0
  #last = 0

  see(value: number): void {
    this.#last = value
    this.#peak = Math.max(this.#peak, value)
  }

  toPeak(): Peak {
    return { peak: this.#peak, last: this.#last }
  }
}

/**
 * The service looks every 10 ms (prom-client's eventLoopMonitoringPrecision) and observes how long it was
 * since it looked last; a scrape starts anew.
 */
function stallOf(metrics: MetricsText): number {
  return Math.max(0, 1000 * metrics.sum('nodejs_eventloop_lag_max_seconds') - LOOP_LOOKS_EVERY_MS)
}

function quantiles(metrics: MetricsText, name: string): Quantiles {
  const inMs = (seconds: number | undefined) => (seconds === undefined ? undefined : seconds * 1000)
  return { p50: inMs(metrics.quantile(name, 0.5)), p95: inMs(metrics.quantile(name, 0.95)) }
}
