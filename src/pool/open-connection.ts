import type { Socket } from 'node:net'
import postgres, { type Sql } from 'postgres'
import { ARRAY_TYPES } from './array-types.ts'
import { BoundRun, beginBound } from './bound.ts'
import type { Connection, ConnectionTarget, Running } from './contract.ts'
import { commandText, type DriverQuery, type DriverSeam, PlainRun } from './driver-query.ts'
import { openSocket } from './open-socket.ts'
import { type Statement, sql } from './statement.ts'
import { statementText } from './statement-text.ts'

const BACKEND_PID = sql`select pg_backend_pid() as pid`

/**
 * openConnection logs in and resolves with one server connection: a postgres.js handle of `max: 1`
 * whose socket is ours, so that closing it can be awaited to the end and a lost connection is never
 * reopened behind the engine's back.
 *
 * @param onNotify hears the notifications of channels that the session listens to
 * @throws the server's PostgresError, the socket's error, or `signal.reason`; no socket is left then, and
 *   the server has hung up, so that its backend counts no longer, unless it keeps silent for a second
 */
export async function openConnection(
  target: ConnectionTarget,
  signal: AbortSignal,
  onNotify?: OnNotify,
): Promise<DriverConnection> {
  signal.throwIfAborted()
  const sockets = new SocketSource(target)
  const abort = () => sockets.abandon()
  signal.addEventListener('abort', abort, { once: true })
  const handle = openHandle(target, sockets, onNotify)
  try {
    const driver = new Driver(handle, sockets)
    const [row] = (await driver.run(BACKEND_PID).result) as readonly { pid: number }[]
    signal.throwIfAborted()
    return new DriverConnection(driver, sockets, Number(row?.pid))
  } catch (error) {
    const reason = signal.aborted ? signal.reason : error
    sockets.abandon()
    await sockets.gone
    throw reason
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** OnNotify is told what was sent to a channel by NOTIFY. */
export type OnNotify = (channel: string, payload: string) => void

/** Longest wait for the server to hang up on a login that was given up. */
const GOODBYE_MS = 1_000
/** Longest life of a cancel request's socket; the server hangs up as soon as it has read the request. */
const CANCEL_MS = 5_000

/**
 * What the driver makes of the options that all handles have in common. It takes options that it has
 * parsed as they are, `no_subscribe` among them, which it would drop of all others: without that each
 * handle has a second one inside, for logical replication. Half of a connection's memory goes by this.
 */
const PARSED = postgres({
  // TLS is negotiated by openSocket; the driver would drop our listeners on the socket.
  ssl: false,
  max: 1,
  // The engine decides when a connection ends; the driver's own limits would end it under a statement.
  max_lifetime: null,
  idle_timeout: 0,
  connect_timeout: 0,
  backoff: false,
  fetch_types: false,
  types: ARRAY_TYPES,
  onnotice: () => {},
}).options

function openHandle(target: ConnectionTarget, sockets: SocketSource, onNotify?: OnNotify): Sql {
  // Not in the driver's types: its form of options that are parsed (postgres.js 3.4, parseOptions in
  // src/index.js), in which what a handle writes to must be its own.
  const options: object = {
    ...PARSED,
    host: [target.host],
    port: [target.port],
    database: target.database,
    user: target.user,
    // A function, so that the driver's options object does not hold the plain password.
    pass: () => target.password.reveal(),
    connection: { application_name: 'lessor', TimeZone: 'UTC', ...target.parameters },
    parameters: {},
    shared: { retries: 0, typeArrayMap: {} },
    socket: () => sockets.open(),
    no_subscribe: true,
    // Not in the driver's types either: what its own `listen` uses.
    ...(onNotify && { onnotify: onNotify }),
  }
  return postgres(options)
}

/**
 * SocketSource makes the sockets of one driver handle: the first is the session, later ones carry
 * cancel requests. A second session is refused, because the driver would reconnect on its own.
 */
class SocketSource {
  readonly #target: ConnectionTarget
  readonly #session: Socket[] = []
  /** The session's socket when it is ready for the start-up packet. */
  #ready: Socket | undefined
  #abandoned = false
  #opened = false
  /** Becomes true with the socket's first failure, some turns before it is closed. */
  isBroken = false
  #resolveClosed: () => void = () => {}
  /** Resolves when the session's socket is closed. */
  readonly closed = new Promise<void>((resolve) => {
    this.#resolveClosed = resolve
  })
  /** Cancel requests about to ask for a socket; only DriverConnection.cancel raises it. */
  cancelling = 0

  readonly #fail = () => {
    this.isBroken = true
  }
  readonly #end = () => {
    this.isBroken = true
    this.#resolveClosed()
  }

  constructor(target: ConnectionTarget) {
    this.#target = target
  }

  async open(): Promise<Socket> {
    if (this.cancelling > 0) {
      this.cancelling -= 1
      return openSocket(this.#target, endInTime)
    }
    if (this.#opened || this.#abandoned) throw connectionClosed()
    this.#opened = true
    const socket = await openSocket(this.#target, (each) => {
      this.#session.push(each)
    })
    this.#ready = socket
    socket.once('error', this.#fail)
    // A socket that closed already has emitted its event; the driver finds out when it writes.
    if (socket.closed) this.#end()
    else socket.once('close', this.#end)
    return socket
  }

  /** Resolves when nothing is left of the session. */
  get gone(): Promise<void> {
    return this.#ready === undefined ? Promise.resolve() : this.closed
  }

  /**
   * abandon ends a session that is being opened. The server is to hang up: it may be counting a backend
   * by now, which it ends when it reads that we have gone.
   */
  abandon(): void {
    if (this.#abandoned) return
    this.#abandoned = true
    if (this.#ready === undefined || this.isBroken) {
      this.destroy()
      return
    }
    this.#ready.end()
    const timer = setTimeout(() => this.destroy(), GOODBYE_MS)
    void this.closed.then(() => clearTimeout(timer))
  }

  destroy(): void {
    this.#abandoned = true
    for (const socket of this.#session) socket.destroy()
  }
}

/** Nobody waits for a cancel request in a network that has fallen silent, so its socket must end by itself. */
function endInTime(socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), CANCEL_MS)
  socket.once('close', () => clearTimeout(timer))
}

/** Driver is the driver's handle of one connection, and the way around its own queries; see DriverQuery. */
class Driver {
  readonly handle: Sql
  readonly #sockets: SocketSource
  readonly #seam: DriverSeam
  readonly #quote: (name: string) => unknown

  constructor(handle: Sql, sockets: SocketSource) {
    this.handle = handle
    this.#sockets = sockets
    this.#quote = (name) => handle(name)
    // A query of the driver's own, never sent, for what it would be sent and cancelled by.
    const { handler, canceller } = handle`` as unknown as OwnQuery
    this.#seam = { send: handler, cancel: (query) => this.#cancel(query, canceller) }
  }

  run(statement: Statement, binding?: string): Running {
    const text = statementText(statement, this.#quote)
    return binding === undefined ? new PlainRun(this.#seam, text) : new BoundRun(this.#seam, text, binding)
  }

  command(text: string): Running {
    return new PlainRun(this.#seam, commandText(text))
  }

  async #cancel(query: DriverQuery, canceller: OwnQuery['canceller']): Promise<void> {
    if (!query.active) return
    this.#sockets.cancelling += 1
    await canceller(query)
  }
}

/** The parts of the driver's Query class that its types leave out (postgres.js 3.4, src/query.js). */
interface OwnQuery {
  readonly handler: (query: object) => void
  readonly canceller: (query: object) => Promise<void>
}

/** DriverConnection is a {@link Connection} that can also run scripts, for the service's own databases. */
export class DriverConnection implements Connection {
  readonly #driver: Driver
  readonly #sockets: SocketSource
  readonly pid: number
  readonly lost: Promise<void>

  constructor(driver: Driver, sockets: SocketSource, pid: number) {
    this.#driver = driver
    this.#sockets = sockets
    this.pid = pid
    this.lost = sockets.closed
    // Statements that wait in the driver's own queue, behind one that is being described, would never be
    // settled (postgres.js 3.4, `onclose` in src/index.js: it reconnects, which SocketSource refuses).
    void this.lost.then(() => driver.handle.end({ timeout: 0 }))
  }

  run(statement: Statement, binding?: string): Running {
    return this.#sockets.isBroken ? broken() : this.#driver.run(statement, binding)
  }

  begin(binding?: string): Running {
    if (this.#sockets.isBroken) return broken()
    const running = this.#driver.command(binding === undefined ? 'begin' : beginBound(binding))
    const result = running.result.then(() => Object.assign([], { command: 'BEGIN' }))
    return { result, cancel: () => running.cancel() }
  }

  /** script runs SQL text of several statements as one simple query; see ScriptDb. */
  async script(text: string): Promise<void> {
    if (this.#sockets.isBroken) throw connectionClosed()
    await this.#driver.handle.unsafe(text)
  }

  async close(): Promise<void> {
    // The driver never ends a handle whose statement was cut off by a reset (postgres.js 3.4, `end` in
    // src/connection.js), so only the socket tells.
    await Promise.race([this.#driver.handle.end(), this.#sockets.closed])
    await this.#sockets.closed
  }

  destroy(): void {
    this.#sockets.destroy()
  }
}

/**
 * Between a socket's `error` and its `close` the driver takes a statement and never settles it
 * (postgres.js 3.4, `closed` in src/connection.js).
 */
function broken(): Running {
  return { result: Promise.reject(connectionClosed()), cancel: async () => {} }
}

/** With the driver's own code for it, so that callers are told CONNECTION_LOST. */
function connectionClosed(): Error {
  return Object.assign(new Error('The connection was closed by the server.'), { code: 'CONNECTION_CLOSED' })
}
