import type { Socket } from 'node:net'
import type { ConnectionTarget } from '../../pool/contract.ts'
import { frontendMessage, MESSAGE, serverError } from '../../pool/driver/protocol.ts'
import { Session } from '../../pool/driver/session.ts'
import { errorCode } from '../../pool/driver-errors.ts'
import { openSocket } from '../../pool/open-socket.ts'

/** Cells is a row of an answer, as the text that the server sent. */
export type Cells = readonly (string | null)[]

interface Pending {
  readonly rows: Cells[]
  error: Error | undefined
  resolve(rows: readonly Cells[]): void
  reject(error: Error): void
}

/**
 * RaidSession is a plain session by a tenant's login, as any client could open it. It sends what it is told as simple queries
 * and keeps nothing tidy: transactions stay open, settings stay set.
 */
export class RaidSession {
  readonly #socket: Socket
  readonly #session: Session
  #pending: Pending | undefined
  /** What the server said before it hung up. */
  #last: Error | undefined
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>

  private constructor(socket: Socket, session: Session) {
    this.#socket = socket
    this.#session = session
    this.closed = session.closed.then(() => this.#lost())
    session.hear({
      verdict: (type) => {
        if (type === MESSAGE.dataRow) return 'whole'
        return type === MESSAGE.errorResponse || type === MESSAGE.readyForQuery || type === MESSAGE.copyIn
          ? 'read'
          : 'drop'
      },
      pass() {},
      cut() {},
      read: (type, body) => this.#read(type, body),
    })
  }

  /** open logs in. @throws the server's or the socket's error, or `signal.reason`; no socket is left then */
  static async open(target: ConnectionTarget, signal: AbortSignal): Promise<RaidSession> {
    signal.throwIfAborted()
    const sockets: Socket[] = []
    const abandon = () => {
      for (const socket of sockets) socket.destroy()
    }
    signal.addEventListener('abort', abandon, { once: true })
    try {
      const socket = await openSocket(target, (each) => sockets.push(each))
      const session = new Session(socket)
      await session.logIn(target)
      return new RaidSession(socket, session)
    } catch (error) {
      abandon()
      throw signal.aborted ? signal.reason : error
    } finally {
      signal.removeEventListener('abort', abandon)
    }
  }

  get isUsable(): boolean {
    return !this.#session.isBroken
  }

  /** SQLSTATE with which the server ended the session; undefined when it said none. */
  get endedBy(): string | undefined {
    return errorCode(this.#last)
  }

  /**
   * run sends statements as one simple query and resolves with the rows of all of them; one at a time.
   * @throws the server's first error; Error with code CONNECTION_CLOSED
   */
  run(text: string): Promise<readonly Cells[]> {
    if (!this.isUsable) return Promise.reject(this.#closedError())
    if (this.#pending !== undefined) throw new Error('bug: a raid session runs one query at a time')
    const { promise, resolve, reject } = Promise.withResolvers<readonly Cells[]>()
    this.#pending = { rows: [], error: undefined, resolve, reject }
    this.#session.write(frontendMessage('Q', `${text}\0`))
    return promise
  }

  /** send sends statements whose answer is not awaited, for a session that hears nothing any more. */
  send(text: string): void {
    this.#session.write(frontendMessage('Q', `${text}\0`))
  }

  /** deafen stops reading, so that the server cannot get rid of what it has to say. */
  deafen(): void {
    this.#socket.pause()
  }

  destroy(): void {
    this.#session.destroy()
  }

  #read(type: number, body: Buffer): void {
    const pending = this.#pending
    if (type === MESSAGE.errorResponse) {
      const error = serverError(body)
      this.#last = error
      if (pending !== undefined) pending.error ??= error
    } else if (type === MESSAGE.copyIn) {
      this.#session.write(frontendMessage('f', 'nothing to copy\0'))
    } else if (type === MESSAGE.dataRow) {
      pending?.rows.push(cellsOf(body))
    } else if (pending !== undefined) {
      this.#pending = undefined
      if (pending.error === undefined) pending.resolve(pending.rows)
      else pending.reject(pending.error)
    }
  }

  #lost(): void {
    this.#pending?.reject(this.#last ?? this.#closedError())
    this.#pending = undefined
  }

  #closedError(): Error {
    return Object.assign(new Error('The session is closed.'), { code: 'CONNECTION_CLOSED' })
  }
}

/** cellsOf reads a DataRow's body: the number of values, and each with its length, -1 for NULL. */
function cellsOf(body: Buffer): Cells {
  const cells: (string | null)[] = []
  let at = 2
  for (let left = body.readUInt16BE(0); left > 0; left--) {
    const length = body.readInt32BE(at)
    at += 4
    cells.push(length < 0 ? null : body.toString('utf8', at, at + length))
    at += Math.max(0, length)
  }
  return cells
}
