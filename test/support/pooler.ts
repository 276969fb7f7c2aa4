import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Scope is what ends: a tap test, or tap itself for a whole file. */
interface Scope {
  teardown(fn: () => Promise<void>): void
}

export interface PoolerOptions {
  /** How long a client keeps a server connection, as of PgBouncer's pool_mode. */
  readonly mode: 'session' | 'transaction' | 'statement'
  /**
   * What becomes of settings in the start-up packet that a pooler does not know: refused as PgBouncer does, left out
   * as by its ignore_startup_parameters, or set again on whatever server connection the client gets.
   */
  readonly startup: 'refuse' | 'ignore' | 'replay'
  /** Every login opens a server connection, and clients get them in turn; else the last one that came free. */
  readonly rotates?: boolean
  /** What the first statement of each login fails with. */
  readonly failure?: { readonly code: string; readonly message: string }
}

const LOOPBACK = '127.0.0.1'
const PROTOCOL_3 = 196_608
const SSL_REQUEST = 80_877_103
const KNOWN = new Set(['user', 'database', 'application_name', 'client_encoding', 'datestyle', 'timezone'])
/** PostgreSQL manual, "Message Formats": AuthenticationOk, BackendKeyData of no backend, ReadyForQuery. */
const AUTHENTICATED = Buffer.from('520000000800000000', 'hex')
const KEY = Buffer.from('4b0000000c0102030405060708', 'hex')
const READY = Buffer.from('5a0000000549', 'hex')
/** Messages of a client after which the server says ReadyForQuery: Query and Sync. */
const ENDS_UNIT = new Set(['Q', 'S'])

/** Pooler multiplexes clients over fewer server connections, as PgBouncer does, on a free port of 127.0.0.1. */
export class Pooler {
  readonly options: PoolerOptions
  readonly #target: { readonly host: string; readonly port: number }
  readonly #sockets = new Set<Socket>()
  readonly #idle: Backend[] = []
  readonly #waiting: ((backend: Backend) => void)[] = []
  #listener: Server | undefined
  #port = 0
  /** Server connections made so far. */
  backends = 0

  private constructor(target: { host: string; port: number }, options: PoolerOptions) {
    this.#target = target
    this.options = options
  }

  /** start resolves with a pooler that listens, closed with `t`. `url` is the server's. */
  static async start(t: Scope, url: string, options: PoolerOptions): Promise<Pooler> {
    const { hostname, port } = new URL(url)
    const pooler = new Pooler({ host: hostname, port: Number(port) }, options)
    const listener = createServer((socket) => {
      pooler.keep(socket)
      new Client(pooler, socket)
    })
    pooler.#listener = listener
    listener.listen(0, LOOPBACK)
    await once(listener, 'listening')
    pooler.#port = (listener.address() as AddressInfo).port
    t.teardown(() => pooler.close())
    return pooler
  }

  /** url is a database's URL by way of the pooler. */
  url(databaseUrl: string): string {
    const url = new URL(databaseUrl)
    url.hostname = LOOPBACK
    url.port = String(this.#port)
    return url.href
  }

  async close(): Promise<void> {
    const closed = [...this.#sockets].map((socket) => once(socket, 'close'))
    this.#listener?.close()
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all(closed)
  }

  keep(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => this.#sockets.delete(socket))
  }

  /** open makes a server connection; its client logs it in. */
  open(): Backend {
    this.backends += 1
    const socket = connect(this.#target)
    this.keep(socket)
    return new Backend(socket)
  }

  /** take hands out a server connection that is free; undefined when there is none. */
  take(): Backend | undefined {
    return this.options.rotates ? this.#idle.shift() : this.#idle.pop()
  }

  async wait(): Promise<Backend> {
    return this.take() ?? new Promise((resolve) => this.#waiting.push(resolve))
  }

  release(backend: Backend): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#idle.push(backend)
    else next(backend)
  }
}

/** Backend is a connection to the server; who has it hears its messages. */
class Backend {
  readonly socket: Socket
  /** What the server has said of itself: ParameterStatus messages. */
  readonly status: Buffer[] = []
  hears: (message: Buffer) => void = () => {}

  constructor(socket: Socket) {
    this.socket = socket
    const split = splitter(false)
    socket.on('data', (chunk) => {
      for (const message of split(chunk)) this.hears(message)
    })
  }

  /** ask runs a statement of the pooler's own. */
  ask(text: string): Promise<void> {
    const { hears } = this
    const done = Promise.withResolvers<void>()
    this.hears = (message) => {
      if (typeOf(message) === 'Z') done.resolve()
    }
    this.socket.write(packet('Q', `${text}\0`))
    return done.promise.finally(() => {
      this.hears = hears
    })
  }
}

/** Client is one who takes the pooler for the server. */
class Client {
  readonly #pooler: Pooler
  readonly #socket: Socket
  #backend: Backend | undefined
  #isLoggedIn = false
  /** Whether the next statement is to fail. */
  #hasFailed = false
  #fails: boolean
  /** Settings to be set again on each server connection. */
  #replay = ''
  /** The server's next ReadyForQuery. */
  #ready = Promise.withResolvers<void>()
  /** Whether that was outside a transaction. */
  #isFree = true
  /** Messages that wait for a server connection, in their order. */
  #work: Promise<void> = Promise.resolve()

  constructor(pooler: Pooler, socket: Socket) {
    this.#pooler = pooler
    this.#socket = socket
    this.#fails = pooler.options.failure !== undefined
    const split = splitter(true)
    socket.on('data', (chunk) => {
      for (const message of split(chunk)) this.#work = this.#work.then(() => this.#take(message))
    })
    socket.once('close', () => {
      this.#work = this.#work.then(() => this.#leave())
    })
  }

  async #take(message: Buffer): Promise<void> {
    if (this.#backend === undefined && !this.#isLoggedIn) return this.#start(message)
    const type = typeOf(message)
    // Terminate is the pooler's to hear.
    if (type === 'X') {
      this.#socket.end()
      return
    }
    if (this.#isLoggedIn && this.#fails) return this.#fail(type)
    if (this.#backend === undefined) await this.#use(await this.#pooler.wait())
    this.#backend?.socket.write(message)
    if (!this.#isLoggedIn || !ENDS_UNIT.has(type)) return
    await this.#ready.promise
    this.#ready = Promise.withResolvers()
    const { mode } = this.#pooler.options
    if (mode === 'statement' || (mode === 'transaction' && this.#isFree)) this.#leave()
  }

  #start(message: Buffer): void {
    if (message.readUInt32BE(4) === SSL_REQUEST) {
      this.#socket.write('N')
      return
    }
    const { startup, rotates } = this.#pooler.options
    const words = message.toString('utf8', 8).split('\0')
    const pairs = words.flatMap((word, i) => (i % 2 === 0 && word !== '' ? [[word, words[i + 1] ?? '']] : []))
    const unknown = pairs.filter(([name = '']) => !KNOWN.has(name.toLowerCase()))
    if (startup === 'refuse' && unknown[0] !== undefined) {
      this.#socket.end(failure('FATAL', '08P01', `unsupported startup parameter: ${unknown[0][0]}`))
      return
    }
    if (startup === 'replay') {
      this.#replay = unknown.map(([name, value]) => `set ${name} = '${value}';`).join(' ')
    }
    const free = rotates ? undefined : this.#pooler.take()
    if (free === undefined) {
      const known = pairs.filter((pair) => !unknown.includes(pair))
      const body = Buffer.from(`....${known.flat().join('\0')}\0\0`)
      body.writeUInt32BE(PROTOCOL_3, 0)
      this.#logIn(this.#pooler.open(), packet('', body))
      return
    }
    this.#socket.write(Buffer.concat([AUTHENTICATED, ...free.status, KEY, READY]))
    this.#isLoggedIn = true
    this.#work = this.#work.then(() => this.#rest(free))
  }

  /** The client's own password opens the server connection, which is the pooler's from then on. */
  #logIn(backend: Backend, opening: Buffer): void {
    this.#backend = backend
    backend.hears = (message) => {
      const type = typeOf(message)
      if (type === 'S') backend.status.push(message)
      this.#socket.write(type === 'K' ? KEY : message)
      if (type === 'E') this.#socket.end()
      if (type !== 'Z') return
      this.#isLoggedIn = true
      this.#work = this.#work.then(() => this.#rest(backend))
    }
    backend.socket.write(opening)
  }

  async #use(backend: Backend): Promise<void> {
    if (this.#replay !== '') await backend.ask(this.#replay)
    this.#backend = backend
    backend.hears = (message) => {
      this.#socket.write(message)
      if (typeOf(message) !== 'Z') return
      this.#isFree = message.toString('latin1', 5) === 'I'
      this.#ready.resolve()
    }
  }

  /** After the login: only a session keeps what it has. */
  async #rest(backend: Backend): Promise<void> {
    await this.#use(backend)
    if (this.#pooler.options.mode !== 'session') this.#leave()
  }

  #leave(): void {
    const backend = this.#backend
    this.#backend = undefined
    if (backend === undefined) return
    backend.hears = () => {}
    if (this.#isLoggedIn) this.#pooler.release(backend)
    else backend.socket.destroy()
  }

  /** As a server does: the error at once, and readiness when the unit ends. */
  #fail(type: string): void {
    if (!this.#hasFailed) {
      const { code = '', message = '' } = this.#pooler.options.failure ?? {}
      this.#socket.write(failure('ERROR', code, message))
      this.#hasFailed = true
    }
    if (!ENDS_UNIT.has(type)) return
    this.#fails = false
    this.#socket.write(READY)
  }
}

function failure(severity: string, code: string, message: string): Buffer {
  return packet('E', `S${severity}\0V${severity}\0C${code}\0M${message}\0\0`)
}

function packet(type: string, body: string | Buffer): Buffer {
  const bytes = Buffer.from(body)
  const head = Buffer.alloc(4)
  head.writeUInt32BE(bytes.length + 4)
  return Buffer.concat([Buffer.from(type), head, bytes])
}

function typeOf(message: Buffer): string {
  return String.fromCharCode(message[0] ?? 0)
}

/** splitter cuts a stream into messages; those of a client begin with packets that have no type. */
function splitter(isClient: boolean): (chunk: Buffer) => readonly Buffer[] {
  let left = Buffer.alloc(0)
  let isTyped = !isClient
  return (chunk) => {
    left = Buffer.concat([left, chunk])
    const messages: Buffer[] = []
    for (;;) {
      const at = isTyped ? 1 : 0
      if (left.length < at + 4) return messages
      const length = at + left.readUInt32BE(at)
      if (left.length < length) return messages
      const message = left.subarray(0, length)
      left = left.subarray(length)
      if (!isTyped) isTyped = message.readUInt32BE(4) !== SSL_REQUEST
      messages.push(message)
    }
  }
}
