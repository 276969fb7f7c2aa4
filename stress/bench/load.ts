import { setTimeout as sleep } from 'node:timers/promises'
import { cpuTimeMs, cpuTimesMs } from './cpu-time.ts'
import { type Load, quantile } from './figures.ts'
import { HttpCaller } from './http-caller.ts'

/** What goes by before counting: connections are made and pools grow. */
const SETTLE_MS = 500

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
  /** Headers of other tenants; callers are theirs in turn, and none is the target's own. */
  readonly tenants?: readonly Target['headers'][]
  /** The processes that serve at the database, once all connections are there. */
  readonly sessions?: () => Promise<readonly number[]>
}

/**
 * putLoad has callers ask for one thing again and again, each its next as soon as it has its answer,
 * and resolves with how the fast requests fared.
 * @throws Error when an answer was not 2xx
 */
export async function putLoad(target: Target, options: LoadOptions): Promise<Load> {
  const { connections, seconds, slowUsers, path, tenants = [], sessions } = options
  const { url, headers, pid, name } = target
  const times: number[] = []
  let isCounting = false
  const answered = (milliseconds: number) => {
    if (isCounting) times.push(milliseconds)
  }
  const patch = { method: 'PATCH', headers: { ...headers, 'content-type': 'application/json' } }
  const body = JSON.stringify({ confirmed: true })
  const callers = await Promise.all([
    ...slowUsers.map((id) => HttpCaller.start({ ...patch, url: `${url}/v1/users/${id}`, body }, () => {})),
    ...Array.from({ length: connections }, (_, i) =>
      HttpCaller.start(
        { method: 'GET', url: url + path, headers: tenants[i % tenants.length] ?? headers },
        answered,
      ),
    ),
  ])
  await sleep(SETTLE_MS)
  const backends = await sessions?.()
  const cpuBefore = cpuTimeMs(pid)
  const backendsBefore = backends && cpuTimesMs(backends)
  const from = performance.now()
  isCounting = true
  await sleep(1000 * seconds)
  isCounting = false
  const counted = (performance.now() - from) / 1000
  const cpuAfter = cpuTimeMs(pid)
  const backendsAfter = backends && cpuTimesMs(backends)
  try {
    await Promise.all(callers.map((caller) => caller.stop()))
  } catch (error) {
    throw new Error(`${name} failed a request`, { cause: error })
  }
  const sorted = Float64Array.from(times).sort()
  return {
    requestsPerSecond: times.length / counted,
    p50: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
    max: quantile(sorted, 1),
    cpuMicros: perRequest(cpuBefore, cpuAfter, times.length),
    ...(backends && { sessionCpuMicros: perRequest(backendsBefore, backendsAfter, times.length) }),
  }
}

function perRequest(
  beforeMs: number | undefined,
  afterMs: number | undefined,
  requests: number,
): number | undefined {
  return beforeMs === undefined || afterMs === undefined
    ? undefined
    : (1000 * (afterMs - beforeMs)) / requests
}
