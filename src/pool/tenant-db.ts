import type { Caller, Lease } from './contract.ts'
import type { Entry } from './entry.ts'
import type { Db, Statement } from './statement.ts'
import { refusal } from './statement-kind.ts'
import type { TenantPool } from './tenant-pool.ts'
import { Transaction } from './transaction.ts'

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
    const refused = refusal(statement)
    if (refused !== undefined) return Promise.reject(refused)
    // Row is the caller's word for what its own SQL returns.
    return this.#pool().run(statement, this.#caller) as Promise<readonly Row[]>
  }

  async transaction<T>(fn: (tx: Db) => Promise<T>): Promise<T> {
    const pool = this.#pool()
    const slot = await pool.hold(this.#caller)
    const tx = new Transaction({
      send: (statement) => pool.runHeld(slot, statement, this.#caller),
      command: (command) => pool.runHeld(slot, command, this.#caller),
    })
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
