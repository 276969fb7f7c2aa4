import type { Rows, TransactionCommand } from './contract.ts'
import { type Db, ident, type Statement, sql } from './statement.ts'
import { refusal } from './statement-kind.ts'

/** Session is the connection that a transaction has to itself until it is over. */
export interface Session {
  send(statement: Statement): Promise<Rows>
  command(command: TransactionCommand): Promise<Rows>
}

/** Transaction runs statements on a connection of its own, in order; a transaction inside is a savepoint. */
export class Transaction implements Db {
  readonly #session: Session
  #savepoints = 0
  #state: 'open' | 'over' | 'unknown' = 'open'

  constructor(session: Session) {
    this.#session = session
  }

  /** True when the server has confirmed the end, so that the connection is clean. */
  get isOver(): boolean {
    return this.#state === 'over'
  }

  async query<Row extends object>(statement: Statement): Promise<readonly Row[]> {
    this.assertOpen()
    const refused = refusal(statement)
    if (refused !== undefined) throw refused
    // Row is the caller's word for what its own SQL returns.
    return (await this.#session.send(statement)) as readonly Row[]
  }

  /** run runs `fn` between BEGIN and COMMIT, or ROLLBACK when it throws. */
  async run<T>(fn: (tx: this) => Promise<T>): Promise<T> {
    let result: T
    try {
      await this.#session.command('begin')
      result = await fn(this)
    } catch (error) {
      this.#state = 'unknown'
      // The error of fn is the one that counts; a rollback that fails costs the connection, no more.
      await this.#session.command('rollback').then(
        () => {
          this.#state = 'over'
        },
        () => {},
      )
      throw error
    }
    this.#state = 'unknown'
    const { command } = await this.#session.command('commit')
    this.#state = 'over'
    // PostgreSQL answers the COMMIT of a failed transaction with ROLLBACK, not with an error.
    if (command === 'ROLLBACK') {
      throw new Error('The transaction was rolled back: a statement in it failed and its error was ignored.')
    }
    return result
  }

  async transaction<T>(fn: (tx: this) => Promise<T>): Promise<T> {
    this.#savepoints += 1
    const savepoint = ident(`lessor_${this.#savepoints}`)
    await this.query(sql`savepoint ${savepoint}`)
    try {
      const result = await fn(this)
      await this.query(sql`release savepoint ${savepoint}`)
      return result
    } catch (error) {
      // The error of fn is the one that counts. Where there is nothing to go back to, the COMMIT says so.
      await this.query(sql`rollback to savepoint ${savepoint}`).catch(() => {})
      throw error
    }
  }

  /** @throws Error when the transaction has ended */
  protected assertOpen(): void {
    if (this.#state !== 'open') throw new Error('bug: a transaction was used after its end')
  }
}
