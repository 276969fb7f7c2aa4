import type { Gauge, Registry } from 'prom-client'

/** Labels are the labels of one sample; a label that is left out is not there. */
export type Labels = Readonly<Record<string, string>>

/** Sample is a value with its labels. */
export type Sample = readonly [labels: Labels, value: number]

/** ScrapedMetric is a metric that is read at each scrape and not pushed. */
export interface ScrapedMetric {
  readonly name: string
  readonly help: string
  readonly type: 'gauge' | 'counter'
  /** What it throws leaves the metric out of this scrape. */
  readonly read: () => readonly Sample[] | Promise<readonly Sample[]>
}

/** one is the sample of a metric without labels. */
export function one(value: number): readonly Sample[] {
  return [[{}, value]]
}

/** by is a sample for each property, whose name is the label's value. */
export function by(label: string, values: Readonly<Record<string, number>>): readonly Sample[] {
  return Object.entries(values).map(([name, value]) => [{ [label]: name }, value])
}

/**
 * registerScraped adds a metric whose samples `read` returns. One that cannot be read has no samples
 * in that scrape, which goes on, and `onError` hears why.
 */
export function registerScraped(
  registry: Registry,
  { name, help, type, read }: ScrapedMetric,
  onError: (error: unknown) => void,
): void {
  async function values() {
    try {
      // Called in the turn of the scrape, so that all metrics are of one moment.
      const samples = await read()
      return samples.map(([labels, value]) => ({ labels, value }))
    } catch (error) {
      onError(error)
      return []
    }
  }
  const metric = {
    name,
    help,
    type,
    aggregator: 'sum',
    get: async () => ({ name, help, type, values: await values() }),
  }
  // A registry reads no more than this of a metric.
  registry.registerMetric(metric as unknown as Gauge)
}

/** onceATurn keeps what `read` returned until the turn is over, for the metrics of one source. */
export function onceATurn<T>(read: () => T): () => T {
  let kept: { readonly value: T } | undefined
  return () => {
    if (kept === undefined) {
      kept = { value: read() }
      queueMicrotask(() => {
        kept = undefined
      })
    }
    return kept.value
  }
}
