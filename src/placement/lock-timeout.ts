import { type ScriptDb, sql } from '../pool/statement.ts'
import type { AdminDb } from './placement.ts'

/**
 * withLockTimeout is the administrator's door with a bound on each wait for a lock in its transactions: a
 * statement that waits for a table makes everybody wait who comes after it.
 */
export function withLockTimeout(admin: AdminDb, lockTimeoutMs: number): AdminDb {
  return {
    ...bounded(admin, lockTimeoutMs),
    inDatabase: (database, fn) => admin.inDatabase(database, (db) => fn(bounded(db, lockTimeoutMs))),
    asLogin: (login, fn) => admin.asLogin(login, (db) => fn(bounded(db, lockTimeoutMs))),
  }
}

function bounded(db: ScriptDb, lockTimeoutMs: number): ScriptDb {
  return {
    query: (statement) => db.query(statement),
    script: (text) => db.script(text),
    transaction: (fn) =>
      db.transaction(async (tx) => {
        await tx.query(sql`select set_config('lock_timeout', ${String(lockTimeoutMs)}, true)`)
        return fn(tx)
      }),
  }
}
