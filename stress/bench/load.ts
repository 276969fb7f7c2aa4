import autocannon from 'autocannon'
import { cpuTimeMs } from './cpu-time.ts'
import { type Load, quantile } from './figures.ts'

/** What goes by before counting: connections are made and pools grow. */
const SETTLE_MS = 500
const SAMPLE_MS = 100

/** Target is a server whose users can be listed. */
export interface Target {
  readonly name: string
  readonly url: string
  readonly pid: number
  readonly headers: Readonly<Record<string, string>>
}

export interface LoadOptions {
  readonly connections: number
  readonly seconds: number
  /** Users whose change takes a second; one more caller for each. */
  readonly slowUsers: readonly string[]
  /** Path and query of the fast requests. */
  readonly path: string
}

/**
 * putLoad has callers ask for one thing again and again, each its next as soon as it has its answer,
 * and resolves with how the fast requests fared.
 * @throws Error when an answer was not 2xx
 */
export async function putLoad(target: Target, options: LoadOptions): Promise<Load> {
  const { connections, seconds, slowUsers, path } = options
  const { url, headers, pid, name } = target
  const duration = seconds + SETTLE_MS / 1000 + SAMPLE_MS / 1000
  const slow = slowUsers.map((id) =>
    autocannon({
      url: `${url}/v1/users/${id}`,
      method: 'PATCH',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ confirmed: true }),
      connections: 1,
      duration: 2 * duration,
      sampleInt: SAMPLE_MS,
    }),
  )
  const fast = autocannon({ url: url + path, headers, connections, duration, sampleInt: SAMPLE_MS })
  const from = performance.now() + SETTLE_MS
  const until = from + 1000 * seconds
  const times: number[] = []
  let cpuBefore: number | undefined
  let cpuAfter: number | undefined
  const timers = [
    setTimeout(() => {
      cpuBefore = cpuTimeMs(pid)
    }, SETTLE_MS),
    setTimeout(
      () => {
        cpuAfter = cpuTimeMs(pid)
      },
      SETTLE_MS + 1000 * seconds,
    ),
  ]
  fast.on('response', (_client, _status, _bytes, milliseconds) => {
    const now = performance.now()
    if (now >= from && now < until) times.push(milliseconds)
  })
  const result = await fast
  for (const timer of timers) clearTimeout(timer)
  for (const each of slow) each.stop()
  const slowResults = await Promise.all(slow)
  for (const { errors, non2xx } of [result, ...slowResults]) {
    if (errors + non2xx > 0) throw new Error(`${name} failed ${errors + non2xx} requests`)
  }
  const sorted = Float64Array.from(times).sort()
  return {
    requestsPerSecond: times.length / seconds,
    p50: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
    max: quantile(sorted, 1),
    cpuMicros:
      cpuBefore === undefined || cpuAfter === undefined
        ? undefined
        : (1000 * (cpuAfter - cpuBefore)) / times.length,
  }
}
