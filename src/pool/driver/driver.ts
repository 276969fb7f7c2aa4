import { EventEmitter } from 'node:events'
import postgres, { type Sql } from 'postgres'
import { columnName } from './columns.ts'
import { backendMessage, HEADER_BYTES, MESSAGE } from './protocol.ts'
import type { DriverQuery } from './query.ts'

/** DriverOutput gets what the driver writes. */
export interface DriverOutput {
  /** Called with the type of each message that the driver wants to write; false when it must not be written. */
  wrote(type: number): boolean
  write(bytes: Buffer): void
}

/** Driver is postgres.js as a codec: queries go in and bytes come out, bytes go in and queries are settled. */
export interface Driver {
  /** open says where the output goes; nothing is written before. */
  open(output: DriverOutput): void
  /** send hands over a query. It goes out behind those before it. */
  send(query: DriverQuery): void
  /** deliver hands over a part of an answer. */
  deliver(bytes: Buffer): void
  /** typed is an argument of a declared type (an OID). */
  typed(value: string | null, type: number): unknown
}

/**
 * What postgres.js makes of its options (3.4.9, parseOptions in src/index.js). It takes options in this form as they
 * are, by their field `shared`; any others it fills up from the environment (PGTARGETSESSIONATTRS, PGIDLE_TIMEOUT,
 * ...), which is not the engine's, and gives each handle a second one inside for logical replication, half of a
 * connection's memory.
 */
const OPTIONS = {
  host: ['localhost'],
  port: [5432],
  database: '',
  user: '',
  // The log-in is Session's; the driver never knows a password.
  pass: null,
  max: 1,
  ssl: false,
  // The engine decides when a connection ends, and no query waits for the answers of others.
  max_lifetime: null,
  idle_timeout: 0,
  connect_timeout: 0,
  max_pipeline: Number.POSITIVE_INFINITY,
  keep_alive: null,
  backoff: false,
  prepare: true,
  debug: false,
  fetch_types: false,
  target_session_attrs: undefined,
  no_subscribe: true,
  connection: {},
  types: {},
  // Parameters are text when they come here, and values stay text: encode.ts and decode.ts turn them.
  serializers: {},
  parsers: {},
  transform: { undefined: undefined, column: { from: columnName }, value: {}, row: {} },
  onnotice() {},
} as const

/**
 * startDriver resolves with a driver whose session is open. It believes to have logged in by itself: its start-up
 * packet goes nowhere, and what it waits for is told to it here.
 */
export async function startDriver(): Promise<Driver> {
  const socket = new DriverSocket()
  // Not in the driver's types: see OPTIONS. What a handle writes to must be its own.
  const own: object = {
    ...OPTIONS,
    parameters: {},
    shared: { retries: 0, typeArrayMap: {} },
    socket: () => socket.take(),
  }
  const handle: Sql = postgres(own)
  // A query of the driver's own, never sent, for what it would be sent by.
  const { handler } = handle`` as unknown as { readonly handler: (query: object) => void }
  await new Promise((resolve, reject) => handler(greeting(resolve, reject)))
  return {
    open: (output) => socket.open(output),
    send: handler,
    deliver: (bytes) => void socket.emit('data', bytes),
    typed: (value, type) => handle.typed(value as never, type),
  }
}

/** greeting is the query that the driver opens its session for. */
function greeting(resolve: (value: unknown) => void, reject: (error: Error) => void): object {
  return { strings: [''], args: [], options: { simple: true }, origin: '', resolve, reject }
}

const AUTHENTICATED = backendMessage(MESSAGE.authentication, Buffer.alloc(4))
const READY = backendMessage(MESSAGE.readyForQuery, Buffer.from('I'))
const EMPTY_ANSWER = Buffer.concat([backendMessage(MESSAGE.emptyQuery), READY])

/**
 * DriverSocket is what the driver takes for its socket (postgres.js 3.4, src/connection.js). It never fails, never is
 * full and never ends: those are the session's matters, and the engine's.
 */
class DriverSocket extends EventEmitter {
  readonly readyState = 'open'
  #output: DriverOutput | undefined
  #isTaken = false
  /** What is told to the driver as it opens its session, an answer for each of its first writes. */
  readonly #greetings = [Buffer.concat([AUTHENTICATED, READY]), EMPTY_ANSWER]

  /** @throws Error the second time: the driver must not open a second session by itself */
  take(): this {
    if (this.#isTaken) throw new Error('bug: the driver opens a second session')
    this.#isTaken = true
    return this
  }

  open(output: DriverOutput): void {
    this.#output = output
  }

  write(bytes: Buffer): boolean {
    const output = this.#output
    if (output === undefined) {
      const answer = this.#greetings.shift()
      // Not at once: the driver is in the midst of writing.
      if (answer !== undefined) queueMicrotask(() => this.emit('data', answer))
      return true
    }
    for (let at = 0; at + HEADER_BYTES <= bytes.length; at += 1 + bytes.readUInt32BE(at + 1)) {
      if (!output.wrote(bytes[at] ?? 0)) return true
    }
    output.write(bytes)
    return true
  }

  end(): void {}

  destroy(): void {}

  pause(): void {}

  resume(): void {}
}
