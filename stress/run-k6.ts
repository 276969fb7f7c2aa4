import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Exit, exitOf, inheritedEnvironment } from './server-process.ts'

/** k6's status when all ran, but a threshold was not kept (k6, errext/exitcodes). */
const THRESHOLDS_CROSSED = 99

/** The scripts' own metrics have names of this form; all others are k6's. */
const OWN = 'own_'

/** Trend is the distribution of a time, in milliseconds. */
interface Trend {
  readonly med: number
  readonly 'p(95)': number
  readonly 'p(99)': number
  readonly max: number
}

interface Metric<Values extends object> {
  readonly type: 'counter' | 'gauge' | 'rate' | 'trend'
  readonly values: Values
  readonly thresholds?: Readonly<Record<string, { readonly ok: boolean }>>
}

/** Summary is the part that we read of what k6 hands to handleSummary. */
interface Summary {
  readonly state: { readonly testRunDurationMs: number }
  readonly root_group: {
    readonly checks: readonly { readonly name: string; readonly passes: number; readonly fails: number }[]
  }
  readonly metrics: {
    readonly http_reqs: Metric<{ readonly count: number; readonly rate: number }>
    readonly http_req_failed: Metric<{ readonly rate: number }>
    readonly http_req_duration: Metric<Trend>
    readonly iterations?: Metric<{ readonly count: number }>
  }
}

/** Distribution is a time as the scripts' `TREND_STATS` have it, in milliseconds. */
export interface Distribution {
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

/** K6Figures is a run as k6 saw it. Times are in milliseconds. */
export interface K6Figures {
  readonly exit: Exit
  readonly seconds: number
  readonly requests: number
  readonly requestsPerSecond: number
  readonly failedRate: number
  readonly iterations: number
  readonly duration: Distribution
  /** The script's own metrics, by name. */
  readonly counters: Readonly<Record<string, number>>
  readonly gauges: Readonly<Record<string, number>>
  readonly trends: Readonly<Record<string, Distribution>>
  readonly checks: readonly { readonly name: string; readonly passes: number; readonly fails: number }[]
  /** `metric: condition` of each threshold that was not kept. */
  readonly crossed: readonly string[]
}

export interface K6Options {
  /** Path of k6. */
  readonly k6: string
  readonly script: string
  /** What the script reads from `__ENV`; secrets come this way and not by argv, which others can read. */
  readonly env: Readonly<Record<string, string>>
  /** Folder for the summary. */
  readonly folder: string
  readonly signal: AbortSignal
}

/**
 * runK6 runs a script to its end and resolves with its figures. k6 talks to nobody but the service:
 * neither its usage report nor its own server is on.
 * @throws Error when k6 did not get as far as a summary, AbortError when the signal aborts
 */
export async function runK6({ k6, script, env, folder, signal }: K6Options): Promise<K6Figures> {
  signal.throwIfAborted()
  const file = join(folder, 'k6-summary.json')
  const flags = ['--quiet', '--no-color', '--no-usage-report', '--address', '']
  const child = spawn(k6, ['run', ...flags, script], {
    cwd: folder,
    env: { ...inheritedEnvironment(), ...env, SUMMARY_FILE: file },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const exited = exitOf(child)
  await once(child, 'spawn')
  const stop = () => child.kill('SIGTERM')
  signal.addEventListener('abort', stop, { once: true })
  const exit = await exited.finally(() => signal.removeEventListener('abort', stop))
  signal.throwIfAborted()
  if (exit !== 0 && exit !== THRESHOLDS_CROSSED) throw new Error(`k6 ended with ${exit}, without a summary`)
  const summary: Summary = JSON.parse(await readFile(file, 'utf8'))
  return toFigures(exit, summary)
}

function toFigures(exit: Exit, { state, root_group, metrics }: Summary): K6Figures {
  const { http_reqs, http_req_failed, http_req_duration, iterations } = metrics
  const own = Object.entries<Metric<object>>(metrics).filter(([name]) => name.startsWith(OWN))
  return {
    exit,
    seconds: state.testRunDurationMs / 1000,
    requests: http_reqs.values.count,
    requestsPerSecond: http_reqs.values.rate,
    failedRate: http_req_failed.values.rate,
    iterations: iterations?.values.count ?? 0,
    duration: toDistribution(http_req_duration.values),
    counters: valuesOf(own, 'counter', ({ count }: { readonly count: number }) => count),
    gauges: valuesOf(own, 'gauge', ({ value }: { readonly value: number }) => value),
    trends: valuesOf(own, 'trend', toDistribution),
    checks: root_group.checks.map(({ name, passes, fails }) => ({ name, passes, fails })),
    crossed: Object.entries<Metric<object>>(metrics).flatMap(([metric, { thresholds = {} }]) =>
      Object.entries(thresholds)
        .filter(([, { ok }]) => !ok)
        .map(([condition]) => `${metric}: ${condition}`),
    ),
  }
}

function toDistribution(trend: Trend): Distribution {
  return { p50: trend.med, p95: trend['p(95)'], p99: trend['p(99)'], max: trend.max }
}

/** valuesOf reads the metrics of one type, whose values have the same form. */
function valuesOf<Values extends object, Value>(
  metrics: readonly (readonly [string, Metric<object>])[],
  type: Metric<object>['type'],
  read: (values: Values) => Value,
): Record<string, Value> {
  return Object.fromEntries(
    metrics
      .filter(([, metric]) => metric.type === type)
      .map(([name, { values }]) => [name.slice(OWN.length), read(values as Values)]),
  )
}
