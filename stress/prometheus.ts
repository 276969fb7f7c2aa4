/** Sample is one line of a metric: its labels and its value. */
interface Sample {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const LINE = /^(\w+)(?:\{(.*)\})? (\S+)/
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g

/**
 * MetricsText is one scrape in the Prometheus text format
 * (https://prometheus.io/docs/instrumenting/exposition_formats/).
 */
export class MetricsText {
  readonly #metrics = new Map<string, Sample[]>()

  constructor(text: string) {
    for (const line of text.split('\n')) {
      const [, name, labels = '', value] = LINE.exec(line) ?? []
      if (name === undefined) continue
      const samples = this.#metrics.get(name) ?? []
      const pairs = [...labels.matchAll(LABEL)].map(([, label = '', text = '']) => [label, text] as const)
      samples.push({ labels: Object.fromEntries(pairs), value: Number(value) })
      this.#metrics.set(name, samples)
    }
  }

  /** sum adds up a metric over its labels. @throws Error when there is no such metric */
  sum(name: string): number {
    return this.#samples(name).reduce((sum, { value }) => sum + value, 0)
  }

  /** by returns a metric's values by one of its labels. @throws Error when there is no such metric */
  by(name: string, label: string): Record<string, number> {
    const values: Record<string, number> = {}
    for (const { labels, value } of this.#samples(name)) {
      const key = labels[label] ?? ''
      values[key] = (values[key] ?? 0) + value
    }
    return values
  }

  /**
   * quantile returns the upper bound of the histogram's bucket in which the quantile lies;
   * undefined when nothing was observed, Infinity past the last bound.
   */
  quantile(name: string, quantile: number): number | undefined {
    const buckets = Object.entries(this.by(`${name}_bucket`, 'le'))
      .map(([bound, count]) => ({
        bound: bound === '+Inf' ? Number.POSITIVE_INFINITY : Number(bound),
        count,
      }))
      .sort((a, b) => a.bound - b.bound)
    const total = buckets.at(-1)?.count ?? 0
    if (total === 0) return undefined
    return buckets.find(({ count }) => count >= quantile * total)?.bound
  }

  #samples(name: string): readonly Sample[] {
    const samples = this.#metrics.get(name)
    if (samples === undefined) throw new Error(`the service has no metric ${name}`)
    return samples
  }
}
