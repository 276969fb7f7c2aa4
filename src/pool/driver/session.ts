import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import type { Secret } from '../../secret.ts'
import type { Standing } from '../contract.ts'
import { standingOf } from '../writable-hosts.ts'
import { Exchange, violation, withCode } from './exchange.ts'
import { MessageReader, type MessageSink } from './message-reader.ts'
import {
  type BackendKey,
  frontendMessage,
  MESSAGE,
  serverError,
  startupMessage,
  TERMINATE,
} from './protocol.ts'
import { MECHANISM, ScramClient } from './scram.ts'

/** LogIn is who logs in where, and with which settings. */
export interface LogIn {
  readonly user: string
  readonly password: Secret
  readonly database: string
  readonly parameters: Readonly<Record<string, string>>
}

/** Longest wait for the server to hang up on a login that was given up. */
const GOODBYE_MS = 1_000

/** The kinds of authentication that a server asks for (PostgreSQL manual, "Message Formats", Authentication...). */
const AUTHENTICATION = { ok: 0, cleartext: 3, md5: 5, sasl: 10, saslContinue: 11, saslFinal: 12 } as const

/**
 * Session is one session with a server on a socket of ours: the log-in, what is written and read, and the end.
 * The log-in is no matter of the driver's, which reads a server's numbers unchecked, hashes on the event loop, and
 * throws where no caller could catch it (postgres.js 3.4, SASLContinue in src/connection.js).
 */
export class Session {
  readonly #socket: Socket
  readonly #reader = new MessageReader(DROPPING)
  /** Becomes true with the socket's first failure or its end, some turns before it is closed. */
  isBroken = false
  /** The socket's error, if it had one. */
  failure: Error | undefined
  #isAbandoned = false
  #key: BackendKey = { pid: 0, secret: 0 }
  #reported: Readonly<Record<string, string>> = {}
  /** Whether the session takes writes, as the server has last reported it. */
  standing: Standing = 'writable'
  #resolveClosed: () => void = () => {}
  /** Resolves when the socket is closed. */
  readonly closed = new Promise<void>((resolve) => {
    this.#resolveClosed = resolve
  })

  /** `socket` is connected, and encrypted where that is wanted. */
  constructor(socket: Socket) {
    this.#socket = socket
    const broken = (error?: Error) => {
      this.isBroken = true
      this.failure ??= error
    }
    const closed = () => {
      this.isBroken = true
      this.#resolveClosed()
    }
    socket.on('error', broken)
    socket.on('end', () => {
      broken()
      // All that the server has sent is here; one that no longer reads would keep the socket open for good.
      socket.destroy()
    })
    socket.on('data', (chunk: Buffer) => this.#feed(chunk))
    // openSocket has paused it.
    socket.resume()
    // A socket that has closed already has emitted its event.
    if (socket.closed) closed()
    else socket.once('close', closed)
  }

  /** What a cancel request names this session by; zeros when the server has told none. */
  get key(): BackendKey {
    return this.#key
  }

  /**
   * logIn resolves when the server is ready for statements.
   * @throws the server's error, with `code`, its SQLSTATE, and `isAuthenticated`, whether the password was right by then; Error with code SCRAM_REFUSED,
   *   AUTHENTICATION_UNSUPPORTED, PROTOCOL_VIOLATION or CONNECTION_CLOSED
   */
  async logIn({ user, password, database, parameters }: LogIn): Promise<void> {
    const exchange = new Exchange(this.closed)
    this.#reader.sink = exchange
    const scram = new ScramClient(password)
    this.write(startupMessage({ user, database, client_encoding: 'UTF8', ...parameters }))
    for (;;) {
      const { type, body } = await exchange.next()
      switch (type) {
        case MESSAGE.errorResponse:
          throw Object.assign(serverError(body), { isAuthenticated: exchange.isAuthenticated })
        case MESSAGE.parameterStatus:
          this.note(body)
          break
        case MESSAGE.backendKeyData:
          if (body.length < 8) throw violation('its key for cancel requests is too short')
          this.#key = { pid: body.readUInt32BE(0), secret: body.readUInt32BE(4) }
          break
        case MESSAGE.readyForQuery:
          if (!exchange.isAuthenticated) throw violation('it is ready before the log-in was accepted')
          this.#reader.sink = DROPPING
          return
        default:
          await this.#authenticate(body, exchange, { user, password, scram })
      }
    }
  }

  /** hear gives all that comes from now on to `sink`. */
  hear(sink: MessageSink): void {
    this.#reader.sink = sink
  }

  write(bytes: Buffer): void {
    if (!this.isBroken && !this.#isAbandoned) this.#socket.write(bytes)
  }

  /** end says goodbye: the server hangs up as soon as it has read that. */
  end(): void {
    if (this.isBroken || this.#isAbandoned) return
    this.#isAbandoned = true
    this.#socket.end(TERMINATE)
  }

  /**
   * abandon ends a session that is being opened, and writes nothing more. The server is to hang up: it may be
   * counting a backend by now, which it ends when it reads that we have gone. A second later the socket is dropped.
   */
  abandon(): void {
    if (this.#isAbandoned) return
    this.#isAbandoned = true
    this.#reader.sink = DROPPING
    if (this.isBroken) {
      this.destroy()
      return
    }
    this.#socket.end()
    const timer = setTimeout(() => this.destroy(), GOODBYE_MS)
    void this.closed.then(() => clearTimeout(timer))
  }

  destroy(): void {
    this.isBroken = true
    this.#socket.destroy()
  }

  /** What goes wrong here has no caller: it ends the session, and nothing else. */
  #feed(chunk: Buffer): void {
    try {
      this.#reader.feed(chunk)
    } catch (error) {
      this.failure ??= error as Error
      this.destroy()
    }
  }

  /** note takes note of a setting that the server reports, from the body of a ParameterStatus. */
  note(body: Buffer): void {
    const [name = '', value = ''] = body.toString('utf8').split('\0')
    if (name === 'in_hot_standby' || name === 'default_transaction_read_only') {
      this.#reported = { ...this.#reported, [name]: value }
      this.standing = standingOf(this.#reported)
    }
  }

  async #authenticate(
    body: Buffer,
    exchange: Exchange,
    { user, password, scram }: { user: string; password: Secret; scram: ScramClient },
  ): Promise<void> {
    if (body.length < 4) throw violation('its request for authentication is too short')
    const kind = body.readUInt32BE(0)
    const data = body.subarray(4)
    switch (kind) {
      case AUTHENTICATION.ok:
        exchange.accept()
        return
      case AUTHENTICATION.cleartext:
        return this.write(frontendMessage('p', `${password.reveal()}\0`))
      case AUTHENTICATION.md5: {
        const hashed = md5(md5(`${password.reveal()}${user}`), data)
        return this.write(frontendMessage('p', `md5${hashed}\0`))
      }
      case AUTHENTICATION.sasl: {
        exchange.beginScram()
        const mechanisms = data.toString('latin1').split('\0')
        if (!mechanisms.includes(MECHANISM))
          throw unsupported(`SASL ${mechanisms.filter(Boolean).join(', ')}`)
        const first = Buffer.from(scram.first())
        const length = Buffer.alloc(4)
        length.writeInt32BE(first.length)
        return this.write(frontendMessage('p', Buffer.concat([Buffer.from(`${MECHANISM}\0`), length, first])))
      }
      case AUTHENTICATION.saslContinue:
        return this.write(frontendMessage('p', await scram.final(data.toString('utf8'))))
      case AUTHENTICATION.saslFinal:
        scram.verify(data.toString('utf8'))
        return exchange.proven()
      default:
        throw unsupported(`type ${kind}`)
    }
  }
}

/** DROPPING forgets all that comes. */
const DROPPING: MessageSink = {
  verdict: () => 'drop',
  pass() {},
  cut() {},
  read() {},
}

function md5(text: string, salt: Uint8Array = Buffer.alloc(0)): string {
  return createHash('md5').update(text).update(salt).digest('hex')
}

function unsupported(what: string): Error {
  return withCode(
    'AUTHENTICATION_UNSUPPORTED',
    `The server asks for an authentication that is not supported (${what}); use scram-sha-256.`,
  )
}
