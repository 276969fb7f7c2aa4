import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client'
import type { IsolationCheck } from '../isolation/isolation-check.ts'
import type { PoolObserver, Pools } from '../pool/contract.ts'
import type { WatchState } from '../servers/watchdog/watch-state.ts'
import type { VaultObserver, VaultOperation } from '../vault/vault.ts'
import { isolationMetrics } from './isolation-metrics.ts'
import { budgetMetrics, poolMetrics } from './pool-metrics.ts'
import { RequestHistogram } from './request-histogram.ts'
import { registerScraped, type ScrapedMetric } from './scraped.ts'
import { type ServiceSources, serviceMetrics } from './service-metrics.ts'
import { type TaskSources, taskMetrics } from './task-metrics.ts'
import { watchdogMetrics } from './watchdog-metrics.ts'

export interface MetricsSources extends ServiceSources, TaskSources {
  readonly pools: Pick<Pools, 'counters' | 'gauges' | 'budget'>
  readonly isolation: Pick<IsolationCheck, 'state'>
  readonly watchdog: Pick<WatchState, 'ended' | 'blocked' | 'passes'>
  /** Hears why a metric could not be read; the scrape goes on without it. */
  readonly onError: (error: unknown) => void
}

const OPEN_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
const WAIT_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
const DRAIN_BUCKETS = [0.005, 0.025, 0.1, 0.5, 1, 5, 10, 30]
const SWEEP_BUCKETS = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5]

/** Metrics is everything that `/metrics` shows. No label names a tenant: there may be very many. */
export class Metrics implements PoolObserver, VaultObserver {
  readonly registry = new Registry()
  readonly #opened = this.#histogram('lessor_pool_open_seconds', 'Time to open a pool', OPEN_BUCKETS)
  readonly #waited = this.#histogram(
    'lessor_pool_lease_wait_seconds',
    'Time that callers waited for a pool or a connection',
    WAIT_BUCKETS,
  )
  readonly #drained = this.#histogram(
    'lessor_pool_drain_seconds',
    'Time from eviction to the last connection closed',
    DRAIN_BUCKETS,
  )
  readonly #swept = this.#histogram('lessor_sweep_seconds', 'Time of a sweep', SWEEP_BUCKETS)
  readonly #vault = new Counter({
    name: 'lessor_vault_operations_total',
    help: 'Vault operations',
    labelNames: ['operation', 'outcome'],
    registers: [this.registry],
  })
  readonly requests = new RequestHistogram(this.registry)

  constructor() {
    collectDefaultMetrics({ register: this.registry })
    for (const operation of ['seal', 'open', 'reseal']) {
      for (const outcome of ['ok', 'failed']) this.#vault.inc({ operation, outcome }, 0)
    }
  }

  /** watch adds what is read at each scrape. */
  watch({ pools, isolation, watchdog, tasks, failingJobs, onError, ...service }: MetricsSources): void {
    const metrics: readonly ScrapedMetric[] = [
      ...poolMetrics(pools),
      ...budgetMetrics(pools),
      ...serviceMetrics(service),
      ...isolationMetrics(isolation),
      ...watchdogMetrics(watchdog),
      ...taskMetrics({ tasks, failingJobs }),
    ]
    for (const metric of metrics) registerScraped(this.registry, metric, onError)
  }

  opened(_outcome: 'ok' | 'failed', ms: number): void {
    this.#opened.observe(ms / 1000)
  }

  waited(ms: number): void {
    this.#waited.observe(ms / 1000)
  }

  drained(ms: number): void {
    this.#drained.observe(ms / 1000)
  }

  swept(ms: number): void {
    this.#swept.observe(ms / 1000)
  }

  // Evictions are counted by the engine and read at the scrape.
  evicted(): void {}

  operation(operation: VaultOperation, outcome: 'ok' | 'failed'): void {
    this.#vault.inc({ operation, outcome })
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name, help, buckets, registers: [this.registry] })
  }
}
