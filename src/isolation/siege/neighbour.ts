import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PlacementName } from '../../tenants/tenant.ts'

/** Longer than the service lets any request take. */
const ANSWER_TIMEOUT_MS = 60_000
/** Between two requests of one caller. */
const PAUSE_MS = 20

/** NeighbourFigures is what one tenant felt. Times are milliseconds, of all requests, also of those that were lost. */
export interface NeighbourFigures {
  readonly placement: PlacementName
  readonly requests: number
  /** Requests without an answer of status 2xx. */
  readonly lost: number
  /** What they were answered, by how many. */
  readonly reasons: Readonly<Record<string, number>>
  readonly p50Ms: number
  readonly p99Ms: number
  readonly longestMs: number
}

export interface NeighbourOptions {
  readonly id: string
  readonly key: string
  readonly placement: PlacementName
  /** The service, without a path. */
  readonly url: string
  /** A name that its rows have. */
  readonly lastName: string
}

/** Neighbour is a tenant that only wants to work: it reads and writes through the service. */
export class Neighbour {
  readonly #options: NeighbourOptions

  constructor(options: NeighbourOptions) {
    this.#options = options
  }

  get id(): string {
    return this.#options.id
  }

  /** load sends requests, one after the other for each caller, until `signal` aborts and the last answer is there. */
  async load(callers: number, signal: AbortSignal): Promise<NeighbourFigures> {
    const times: number[] = []
    const reasons: Record<string, number> = {}
    const send = async (method: string, path: string, body?: object): Promise<unknown> => {
      const begun = performance.now()
      const { reason, json } = await this.#request(method, path, body)
      times.push(performance.now() - begun)
      if (reason !== undefined) reasons[reason] = (reasons[reason] ?? 0) + 1
      await sleep(PAUSE_MS)
      return json
    }
    await Promise.all(
      Array.from({ length: callers }, async () => {
        while (!signal.aborted) await this.#turn(send)
      }),
    )
    times.sort((a, b) => a - b)
    return {
      placement: this.#options.placement,
      requests: times.length,
      lost: Object.values(reasons).reduce((sum, count) => sum + count, 0),
      reasons,
      p50Ms: percentile(times, 0.5),
      p99Ms: percentile(times, 0.99),
      longestMs: times.at(-1) ?? 0,
    }
  }

  /** answers says whether a write and a read are answered as they should be. */
  async answers(): Promise<boolean> {
    let isWell = true
    await this.#turn(async (...request) => {
      const { reason, json } = await this.#request(...request)
      isWell &&= reason === undefined
      return json
    })
    return isWell
  }

  async #turn(send: (method: string, path: string, body?: object) => Promise<unknown>): Promise<void> {
    const made = await send('POST', '/v1/users', { first_name: 'Ada', last_name: this.#options.lastName })
    await send('GET', '/v1/users?page_size=5')
    const id = (made as { id?: unknown } | undefined)?.id
    if (typeof id !== 'string') return
    await send('GET', `/v1/users/${id}`)
    await send('PATCH', `/v1/users/${id}`, { confirmed: true })
    await send('DELETE', `/v1/users/${id}`)
  }

  async #request(
    method: string,
    path: string,
    body?: object,
  ): Promise<{ readonly reason?: string; readonly json?: unknown }> {
    const { url, key } = this.#options
    return request({
      url: `${url}${path}`,
      method,
      key,
      body,
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    })
  }
}

export interface HttpRequest {
  readonly url: string
  readonly method: string
  readonly key: string
  readonly body?: object | undefined
  readonly signal: AbortSignal
}

/** request resolves with the answer's body, and with a reason when its status is not 2xx or there was none. */
export async function request({ url, method, key, body, signal }: HttpRequest): Promise<{
  readonly reason?: string
  readonly json?: unknown
}> {
  try {
    const response = await fetch(url, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal,
    })
    const text = await response.text()
    const json: unknown = text === '' ? undefined : JSON.parse(text)
    if (response.ok) return { json }
    const { code } = json as { readonly code?: string }
    return { reason: `${response.status} ${code ?? ''}`.trim(), json }
  } catch {
    return { reason: signal.aborted ? 'no answer in time' : 'no answer' }
  }
}

/** percentile is the value below or at which the part `p` of the sorted values lies; 0 when there is none. */
export function percentile(sorted: readonly number[], p: number): number {
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? 0
}
