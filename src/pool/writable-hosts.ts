import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { type Connection, type HostAddress, hostsOf, type ServerWay, type Standing } from './contract.ts'
import { errorCode, isRefusal } from './driver-errors.ts'

/**
 * standingOf reads it from what the server has reported at the login (ParameterStatus; PostgreSQL 14 and later
 * report both). What is not reported, as by a pooler, counts as writable: the first write will tell.
 */
export function standingOf(reported: Readonly<Record<string, string | undefined>>): Standing {
  if (reported.in_hot_standby === 'on') return 'standby'
  return reported.default_transaction_read_only === 'on' ? 'read-only' : 'writable'
}

/** Endpoint is one address of one host; `address` is undefined for a socket directory. */
export interface Endpoint extends HostAddress {
  readonly address?: string
}

/** Opened is a connection that was logged in. */
export interface Opened extends Pick<Connection, 'close' | 'destroy' | 'lost'> {
  readonly standing: Standing
}

/** Open logs in at one endpoint; when `signal` aborts it rejects and leaves no socket. */
export type Open<C extends Opened> = (endpoint: Endpoint, signal: AbortSignal) => Promise<C>

/** Resolve resolves with all addresses of a host name. */
export type Resolve = (host: string) => Promise<readonly string[]>

export interface WritableHostsOptions {
  readonly resolve?: Resolve
  /** How long an endpoint has, where there are others, before the next one is tried; twice as long in each round. */
  readonly firstMs?: number
}

const FIRST_MS = 1_000
/** Longest wait for the end of a connection that is not used. */
const GOODBYE_MS = 1_000
/** More ways than a process has data servers are not remembered. */
const MAX_REMEMBERED = 1_000

/**
 * READ_ONLY_MS is how old a connection is when it is given up because it takes no writes. Where no host does, the next
 * one is no better, and neither statements nor time may open connections without end; but what is read there may be old.
 */
export const READ_ONLY_MS = 5_000

/** NO_PRIMARY is the code of the error that says that no host takes writes. */
export const NO_PRIMARY = 'NO_PRIMARY'

/**
 * WritableHosts finds the host of a server that takes writes, as libpq does by `target_session_attrs=read-write`.
 * Names are resolved at each opening and every address is tried, one after the other, since each login takes a
 * connection of the server; the one that took writes last comes first. A session that is read only by
 * configuration is used when there is no better one: reads work there.
 */
export class WritableHosts {
  readonly #resolve: Resolve
  readonly #firstMs: number
  /** The endpoint that took writes last, by the way's hosts. Only the order hangs on it. */
  readonly #last = new Map<string, string>()

  constructor({ resolve = resolveName, firstMs = FIRST_MS }: WritableHostsOptions = {}) {
    this.#resolve = resolve
    this.#firstMs = firstMs
  }

  /**
   * open resolves with a connection; what else it has opened is closed then.
   * @throws `signal.reason`; what `open` threw, of a server with one address; else an Error that names what was
   *   tried, with code NO_PRIMARY when one was a standby, or the code of a login that was refused, or of the first failure
   */
  async open<C extends Opened>(way: ServerWay, open: Open<C>, signal: AbortSignal): Promise<C> {
    const hosts = hostsOf(way)
    const key = JSON.stringify(hosts)
    const { endpoints, failures } = await this.#find(hosts, signal)
    const last = this.#last.get(key)
    const ordered = endpoints.toSorted((a, b) => Number(keyOf(b) === last) - Number(keyOf(a) === last))
    const search = new Search(open, signal, failures)
    const connection = await search.run(ordered, this.#firstMs)
    if (connection.standing === 'writable') this.#remember(key, search.at)
    return connection
  }

  #remember(key: string, endpoint: Endpoint | undefined): void {
    if (endpoint === undefined) return
    if (!this.#last.has(key) && this.#last.size >= MAX_REMEMBERED) this.#last.clear()
    this.#last.set(key, keyOf(endpoint))
  }

  async #find(hosts: readonly HostAddress[], signal: AbortSignal) {
    const failures: Failure[] = []
    const found = await Promise.all(
      hosts.map(async ({ host, port }): Promise<readonly Endpoint[]> => {
        if (host.startsWith('/')) return [{ host, port }]
        if (isIP(host) !== 0) return [{ host, port, address: host }]
        try {
          const addresses = await unlessAborted(this.#resolve(host), signal)
          return [...new Set(addresses)].map((address) => ({ host, port, address }))
        } catch (error) {
          signal.throwIfAborted()
          failures.push({ endpoint: { host, port }, error })
          return []
        }
      }),
    )
    return { endpoints: found.flat(), failures }
  }
}

interface Failure {
  readonly endpoint: Endpoint
  readonly error: unknown
}

/** Search is one go through the endpoints of a server. */
class Search<C extends Opened> {
  readonly #open: Open<C>
  readonly #signal: AbortSignal
  readonly #failures: Failure[]
  /** Where the connection was opened. */
  at: Endpoint | undefined

  constructor(open: Open<C>, signal: AbortSignal, failures: Failure[]) {
    this.#open = open
    this.#signal = signal
    this.#failures = failures
  }

  async run(endpoints: readonly Endpoint[], firstMs: number): Promise<C> {
    let left = endpoints
    let readOnly: Endpoint | undefined
    const isOnly = endpoints.length === 1 && this.#failures.length === 0
    for (let ms = firstMs; left.length > 0 && readOnly === undefined; ms *= 2) {
      const slow: Endpoint[] = []
      for (const endpoint of left) {
        // The last one that may still answer has all the time there is.
        const isLast = endpoint === left.at(-1) && slow.length === 0 && readOnly === undefined
        const limitMs = isLast ? undefined : ms
        const connection = await this.#attempt(endpoint, limitMs)
        if (connection === 'slow') slow.push(endpoint)
        if (typeof connection !== 'object') continue
        if (connection.standing === 'writable' || (connection.standing === 'read-only' && isOnly)) {
          return connection
        }
        if (connection.standing === 'read-only') readOnly ??= endpoint
        else this.#failures.push({ endpoint, error: standby() })
        await dismiss(connection)
        this.#signal.throwIfAborted()
      }
      left = slow
    }
    const connection = readOnly && (await this.#attempt(readOnly, undefined))
    if (typeof connection === 'object') {
      if (connection.standing !== 'standby') return connection
      await dismiss(connection)
    }
    throw failureOfAll(this.#failures)
  }

  async #attempt(endpoint: Endpoint, limitMs: number | undefined): Promise<C | 'slow' | 'failed'> {
    const limit = new AbortController()
    const timer = limitMs === undefined ? undefined : setTimeout(() => limit.abort(), limitMs)
    try {
      const connection = await this.#open(endpoint, AbortSignal.any([this.#signal, limit.signal]))
      this.at = endpoint
      return connection
    } catch (error) {
      this.#signal.throwIfAborted()
      if (limit.signal.aborted) return 'slow'
      this.#failures.push({ endpoint, error })
      return 'failed'
    } finally {
      clearTimeout(timer)
    }
  }
}

/** dismiss resolves when the connection is gone, so that it counts no longer at its server. */
async function dismiss(connection: Opened): Promise<void> {
  const timer = setTimeout(() => connection.destroy(), GOODBYE_MS)
  try {
    await connection.close().catch(() => connection.destroy())
    await connection.lost
  } finally {
    clearTimeout(timer)
  }
}

function standby(): Error {
  return Object.assign(new Error('It is a standby, which takes no writes.'), { code: NO_PRIMARY })
}

/** A refused login counts most: the credential is to be read again. Then a standby, since its primary is what is missed. */
function failureOfAll(failures: readonly Failure[]): unknown {
  const [first] = failures
  if (first === undefined) return withCode('The host has no address.', 'ENOTFOUND')
  if (failures.length === 1 && errorCode(first.error) !== NO_PRIMARY) return first.error
  const chosen =
    failures.find(({ error }) => isRefusal(errorCode(error))) ??
    failures.find(({ error }) => errorCode(error) === NO_PRIMARY) ??
    first
  const tried = failures.map(({ endpoint, error }) => `${nameOf(endpoint)} ${whatOf(error)}`)
  return withCode(
    `No host of the server takes writes: ${tried.join('; ')}.`,
    errorCode(chosen.error),
    chosen.error,
  )
}

function withCode(message: string, code: string | undefined, cause?: unknown): Error {
  return Object.assign(new Error(message, { cause }), code !== undefined && { code })
}

/** An error with a code is told by that alone; the others are those of openSocket, which name no secret. */
function whatOf(error: unknown): string {
  const code = errorCode(error)
  if (code === NO_PRIMARY) return 'is a standby'
  if (code !== undefined) return `failed (${code})`
  return error instanceof Error ? `failed: ${error.message.replace(/\.$/, '')}` : 'failed'
}

function nameOf({ host, port, address = host }: Endpoint): string {
  return address === host ? `${host}:${port}` : `${host}:${port} (${address})`
}

function keyOf({ host, port, address }: Endpoint): string {
  return JSON.stringify([host, port, address])
}

async function resolveName(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address)
}

function unlessAborted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const abort = () => reject(signal.reason)
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort, { once: true })
  return Promise.race([answer, promise]).finally(() => signal.removeEventListener('abort', abort))
}
