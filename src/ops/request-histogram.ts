import type { Histogram, Registry } from 'prom-client'

const NAME = 'http_request_duration_seconds'
const HELP = 'Time from the first byte of a request to the last of its answer, by route pattern'
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const

interface Labels {
  readonly method: string
  readonly route: string
  readonly status: number
}

/** RequestSeries counts the durations of the requests of one method, route and status. */
export class RequestSeries {
  readonly labels: Labels
  /** Per bound, and one for what is above all of them. */
  readonly counts: number[] = Array.from({ length: BOUNDS.length + 1 }, () => 0)
  sum = 0

  constructor(labels: Labels) {
    this.labels = labels
  }

  observe(seconds: number): void {
    let index = 0
    for (const bound of BOUNDS) {
      if (seconds <= bound) break
      index += 1
    }
    this.counts[index] = (this.counts[index] ?? 0) + 1
    this.sum += seconds
  }
}

/**
 * RequestHistogram is a prom-client metric whose series are counted without a look-up: that of
 * prom-client's Histogram, by a key made of all labels, took most of the time of an observation.
 */
export class RequestHistogram {
  readonly #series: RequestSeries[] = []

  constructor(registry: Registry) {
    const metric = {
      name: NAME,
      help: HELP,
      type: 'histogram',
      aggregator: 'sum',
      get: async () => ({ name: NAME, help: HELP, type: 'histogram', values: this.#values() }),
    }
    // A registry reads no more than this of a metric.
    registry.registerMetric(metric as unknown as Histogram)
  }

  /** series starts a series; ask for each once. */
  series(labels: Labels): RequestSeries {
    const series = new RequestSeries(labels)
    this.#series.push(series)
    return series
  }

  #values(): object[] {
    return this.#series.flatMap(({ labels, counts, sum }) => {
      let total = 0
      const buckets = counts.map((count, index) => {
        total += count
        return {
          metricName: `${NAME}_bucket`,
          labels: { le: BOUNDS[index] ?? '+Inf', ...labels },
          value: total,
        }
      })
      return [
        ...buckets,
        { metricName: `${NAME}_sum`, labels, value: sum },
        { metricName: `${NAME}_count`, labels, value: total },
      ]
    })
  }
}
