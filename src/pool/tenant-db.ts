import type { Caller, Lease, Rows } from './contract.ts'
import { errorCode } from './driver-errors.ts'
import type { Entry } from './entry.ts'
import type { Slot } from './slot.ts'
import { type Db, ident, type Statement, sql } from './statement.ts'
import type { TenantPool } from './tenant-pool.ts'

const COMMIT = sql`commit`
const ROLLBACK = sql`rollback`

/** TenantLease is one holder's handle on an entry: the second release does nothing, and never frees another's lease. */
export class TenantLease implements Lease, Db {
  readonly #entry: Entry
  readonly #caller: Caller | undefined
  readonly #onRelease: (entry: Entry) => void
  #released = false

  constructor(entry: Entry, caller: Caller | undefined, onRelease: (entry: Entry) => void) {
    this.#entry = entry
    this.#caller = caller
    this.#onRelease = onRelease
  }

  get tenantId(): string {
    return this.#entry.tenantId
  }

  get db(): Db {
    return this
  }

  release(): void {
    if (this.#released) return
    this.#released = true
    this.#onRelease(this.#entry)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release()
  }

  query<Row extends object>(statement: Statement): Promise<readonly Row[]> {
    // Row is the caller's word for what its own SQL returns.
    return this.#pool().run(statement, this.#caller) as Promise<readonly Row[]>
  }

  async transaction<T>(fn: (tx: Db) => Promise<T>): Promise<T> {
    const pool = this.#pool()
    const slot = await pool.hold(this.#caller)
    const tx = new Transaction(pool, slot, this.#caller)
    try {
      return await tx.run(fn)
    } finally {
      pool.release(slot, tx.isOver ? 'clean' : 'unknown')
    }
  }

  #pool(): TenantPool {
    if (this.#released) throw new Error('bug: the database was used after its lease was released')
    const { pool } = this.#entry
    if (pool === undefined) throw new Error('bug: a lease was given before the pool was open')
    return pool
  }
}

/** Transaction runs statements on a connection of its own, in order; a transaction inside is a savepoint. */
class Transaction implements Db {
  readonly #pool: TenantPool
  readonly #slot: Slot
  readonly #caller: Caller | undefined
  #savepoints = 0
  #state: 'open' | 'over' | 'unknown' = 'open'

  constructor(pool: TenantPool, slot: Slot, caller: Caller | undefined) {
    this.#pool = pool
    this.#slot = slot
    this.#caller = caller
  }

  /** True when the server has confirmed the end, so that the connection is clean. */
  get isOver(): boolean {
    return this.#state === 'over'
  }

  query<Row extends object>(statement: Statement): Promise<readonly Row[]> {
    if (this.#state !== 'open') {
      return Promise.reject(new Error('bug: a transaction was used after its end'))
    }
    return this.#send(statement) as Promise<readonly Row[]>
  }

  async run<T>(fn: (tx: Db) => Promise<T>): Promise<T> {
    let result: T
    try {
      await this.#pool.begin(this.#slot, this.#caller)
      result = await fn(this)
    } catch (error) {
      this.#state = 'unknown'
      // The error of fn is the one that counts; a rollback that fails costs the connection, no more.
      await this.#send(ROLLBACK).then(
        () => {
          this.#state = 'over'
        },
        () => {},
      )
      throw error
    }
    this.#state = 'unknown'
    const { command } = await this.#send(COMMIT)
    this.#state = 'over'
    // PostgreSQL answers the COMMIT of a failed transaction with ROLLBACK, not with an error.
    if (command === 'ROLLBACK') {
      throw new Error('The transaction was rolled back: a statement in it failed and its error was ignored.')
    }
    return result
  }

  async transaction<T>(fn: (tx: Db) => Promise<T>): Promise<T> {
    this.#savepoints += 1
    const savepoint = ident(`lessor_${this.#savepoints}`)
    await this.query(sql`savepoint ${savepoint}`)
    try {
      const result = await fn(this)
      await this.query(sql`release savepoint ${savepoint}`)
      return result
    } catch (error) {
      // With the connection gone there is nothing to go back to; the error itself says so.
      if (errorCode(error) !== 'CONNECTION_LOST') await this.query(sql`rollback to savepoint ${savepoint}`)
      throw error
    }
  }

  #send(statement: Statement): Promise<Rows> {
    return this.#pool.runHeld(this.#slot, statement, this.#caller)
  }
}
