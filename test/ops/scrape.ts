import type { TestApp } from '../support/app.ts'
import { type Matcher, readExpression } from './promql.ts'

/** Labels that Prometheus itself puts on what it scrapes. */
const SCRAPE_LABELS: readonly string[] = ['job', 'instance']
/** Labels whose values come with the traffic or from the configuration. */
const OPEN_LABELS: readonly string[] = [...SCRAPE_LABELS, 'server', 'route', 'method', 'status', 'version']

const LINE = /^(\w+)(?:\{(.*)\})? \S+/
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g

/** Scrape is one answer of `/metrics`: the labels of each sample, by metric. */
export class Scrape {
  readonly #metrics = new Map<string, Map<string, Set<string>>>()

  constructor(text: string) {
    for (const line of text.split('\n')) {
      const [, name, labels = ''] = LINE.exec(line) ?? []
      if (name === undefined) continue
      const metric = this.#metrics.get(name) ?? new Map<string, Set<string>>()
      this.#metrics.set(name, metric)
      for (const [, label = '', value = ''] of labels.matchAll(LABEL)) {
        metric.set(label, (metric.get(label) ?? new Set()).add(value))
      }
    }
  }

  get names(): readonly string[] {
    return [...this.#metrics.keys()]
  }

  /** problems says what an expression names that a scrape of the service does not have. */
  problems(expression: string): string[] {
    const { selectors, grouping } = readExpression(expression)
    if (selectors.length === 0) return [`no metric in ${expression}`]
    const known = new Set(SCRAPE_LABELS)
    const found: string[] = []
    for (const { metric, matchers } of selectors) {
      // Prometheus makes it.
      if (metric === 'up') continue
      const labels = this.#metrics.get(metric)
      if (labels === undefined) {
        found.push(`there is no metric ${metric}`)
        continue
      }
      for (const label of labels.keys()) known.add(label)
      for (const matcher of matchers) found.push(...this.#mismatches(metric, labels, matcher))
    }
    const unknown = grouping.filter((label) => !known.has(label))
    return [...found, ...unknown.map((label) => `no metric of it has the label ${label}`)]
  }

  #mismatches(metric: string, labels: ReadonlyMap<string, Set<string>>, matcher: Matcher): string[] {
    const { label, operator, value } = matcher
    const values = labels.get(label)
    if (values === undefined) return SCRAPE_LABELS.includes(label) ? [] : [`${metric} has no label ${label}`]
    if (OPEN_LABELS.includes(label)) return []
    const named = operator.endsWith('~') ? value.split('|') : [value]
    return named.filter((each) => !values.has(each)).map((each) => `${metric} has no ${label} "${each}"`)
  }
}

/** scrapeService uses a service a little, so that every metric has samples, and scrapes it. */
export async function scrapeService(app: TestApp): Promise<Scrape> {
  const tenant = await app.onboard()
  const answer = await tenant.inject({ url: '/v1/users' })
  if (answer.statusCode !== 200) throw new Error(`the service answers ${answer.statusCode}: ${answer.body}`)
  return new Scrape((await app.operator({ url: '/metrics' })).body)
}
