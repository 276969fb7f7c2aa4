import type { Rows } from '../pool/contract.ts'
import type { DriverConnection } from '../pool/open-connection.ts'
import type { Statement } from '../pool/statement.ts'

/** Longest wait for the server to hang up after the goodbye. */
const GOODBYE_MS = 1_000

/**
 * Lane is one connection to a database of the service's own. It is never made anew: what is lost stays
 * lost. (The driver would reconnect by itself, and then postgres.js 3.4 hands the error that ended the old
 * session to the next statement, which was never sent; lets a statement wait for ever when the server
 * refuses the login; and throws past all callers when a transaction goes on. See `errorResponse`, `closed`
 * and `nextWrite` in its src/connection.js.)
 */
export class Lane {
  readonly #connection: DriverConnection
  /** Whoever has not answered by then never will; undefined when statements have no limit. */
  readonly #patienceMs: number | undefined
  #isLost = false

  constructor(connection: DriverConnection, patienceMs: number | undefined) {
    this.#connection = connection
    this.#patienceMs = patienceMs
    void connection.lost.then(() => {
      this.#isLost = true
    })
  }

  /** True when the connection is gone, for whatever reason. */
  get isLost(): boolean {
    return this.#isLost
  }

  /**
   * send resolves with the answer. A connection can fall silent for good, as when a firewall forgets it:
   * the server itself would have ended the statement long before our patience does.
   */
  async send(statement: Statement): Promise<Rows> {
    const timer = this.#patienceMs && setTimeout(() => this.destroy(), this.#patienceMs).unref()
    try {
      return await this.#connection.run(statement).result
    } finally {
      if (timer !== undefined) clearTimeout(timer)
    }
  }

  /** script may take as long as it takes. */
  script(text: string): Promise<void> {
    return this.#connection.script(text)
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
