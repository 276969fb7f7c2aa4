import type { Connection, ConnectionTarget, Rows, Running, TransactionCommand } from '../pool/contract.ts'
import { isReadOnly } from '../pool/driver-errors.ts'
import { type DriverConnection, type OnNotify, openConnection } from '../pool/open-connection.ts'
import type { Statement } from '../pool/statement.ts'
import { READ_ONLY_MS } from '../pool/writable-hosts.ts'

/** Longest wait for the server to hang up after the goodbye. */
const GOODBYE_MS = 1_000

export interface LaneOptions {
  readonly connectTimeoutMs: number
  /** Whoever has not answered by then never will; undefined when statements have no limit. */
  readonly patienceMs: number | undefined
  /** Ends the login. */
  readonly signal?: AbortSignal
  readonly onNotify?: OnNotify
}

/**
 * Lane is one connection to a database of the service's own. It is never made anew: what is lost stays
 * lost. (The driver would reconnect by itself, and then postgres.js 3.4 hands the error that ended the old
 * session to the next statement, which was never sent; lets a statement wait for ever when the server
 * refuses the login; and throws past all callers when a transaction goes on. See `errorResponse`, `closed`
 * and `nextWrite` in its src/connection.js.)
 */
export class Lane {
  readonly #connection: Connection & Pick<DriverConnection, 'script' | 'pid'>
  readonly #patienceMs: number | undefined
  #isLost = false
  #isSpent = false
  readonly #openedAt = performance.now()
  readonly #wasReadOnly: boolean

  /**
   * open logs in.
   * @throws what openConnection throws; Error CONNECT_TIMEOUT when the server does not answer in time
   */
  static async open(target: ConnectionTarget, options: LaneOptions): Promise<Lane> {
    const { connectTimeoutMs, patienceMs, signal, onNotify } = options
    const deadline = AbortSignal.timeout(connectTimeoutMs)
    const either = signal === undefined ? deadline : AbortSignal.any([deadline, signal])
    try {
      return new Lane(await openConnection(target, either, { ...(onNotify && { onNotify }) }), patienceMs)
    } catch (error) {
      throw error === deadline.reason ? connectTimeout(connectTimeoutMs) : error
    }
  }

  private constructor(connection: DriverConnection, patienceMs: number | undefined) {
    this.#connection = connection
    this.#patienceMs = patienceMs
    this.#wasReadOnly = this.#connection.standing === 'read-only'
    void connection.lost.then(() => {
      this.#isLost = true
    })
  }

  /** Process id of the session's backend. */
  get pid(): number {
    return this.#connection.pid
  }

  /** Resolves when the connection is gone, for whatever reason. */
  get lost(): Promise<void> {
    return this.#connection.lost
  }

  /** True when the connection is gone, or about to be. */
  get isLost(): boolean {
    return this.#isLost
  }

  /** True when it is lost, or its server takes no writes any more, so that another one is to be found. */
  get isSpent(): boolean {
    return this.#isSpent || this.#isLost
  }

  /** Looks, after a statement, whether another connection would be better than one that takes no writes. */
  #look(): void {
    if (this.#connection.standing !== 'read-only') return
    const isOld = performance.now() - this.#openedAt >= READ_ONLY_MS
    if (!this.#wasReadOnly || isOld) this.#isSpent = true
  }

  /**
   * send resolves with the answer. A connection can fall silent for good, as when a firewall forgets it:
   * the server itself would have ended the statement long before our patience does.
   */
  send(statement: Statement): Promise<Rows> {
    return this.#answer(this.#connection.run(statement))
  }

  /** command begins or ends a transaction. */
  command(command: TransactionCommand): Promise<Rows> {
    return this.#answer(this.#connection.command(command))
  }

  async #answer({ result }: Running): Promise<Rows> {
    const timer = this.#patience()
    try {
      return await result
    } catch (error) {
      if (isReadOnly(error)) this.#isSpent = true
      throw error
    } finally {
      this.#look()
      clearTimeout(timer)
    }
  }

  #patience(): NodeJS.Timeout | undefined {
    return this.#patienceMs === undefined
      ? undefined
      : setTimeout(() => this.destroy(), this.#patienceMs).unref()
  }

  /** script may take as long as it takes, unless it `isTimed` as `send` is. */
  async script(text: string, { isTimed = false }: { readonly isTimed?: boolean } = {}): Promise<void> {
    const timer = isTimed ? this.#patience() : undefined
    try {
      await this.#connection.script(text)
    } catch (error) {
      if (isReadOnly(error)) this.#isSpent = true
      throw error
    } finally {
      this.#look()
      clearTimeout(timer)
    }
  }

  /** close says goodbye; the socket is dropped when the server does not hang up soon. Never rejects. */
  async close(): Promise<void> {
    const timer = setTimeout(() => this.destroy(), GOODBYE_MS)
    await this.#connection.close().catch(() => this.destroy())
    clearTimeout(timer)
  }

  /** destroy drops the socket now; who waits for an answer is told that the connection was lost. */
  destroy(): void {
    this.#isLost = true
    this.#connection.destroy()
  }
}

/** With the driver's own code for it. */
function connectTimeout(ms: number): Error {
  return Object.assign(new Error(`The login was not answered within ${ms} ms.`), { code: 'CONNECT_TIMEOUT' })
}
