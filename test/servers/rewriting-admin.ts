import type { AdminDb } from '../../src/placement/placement.ts'
import type { ScriptDb, Statement } from '../../src/pool/statement.ts'

/** Rewrite changes a script on its way to the server. */
export type Rewrite = (text: string) => string

/** rewritingAdmin stands before an administrator's connection as an engine would that does otherwise than PostgreSQL. */
export function rewritingAdmin(admin: AdminDb, rewrite: Rewrite): AdminDb {
  return {
    ...rewriting(admin, rewrite),
    inDatabase: (database, fn) => admin.inDatabase(database, (db) => fn(rewriting(db, rewrite))),
    asLogin: (login, fn) => admin.asLogin(login, (db) => fn(rewriting(db, rewrite))),
  }
}

function rewriting(db: ScriptDb, rewrite: Rewrite): ScriptDb {
  return {
    query: <Row extends object>(statement: Statement) => db.query<Row>(statement),
    // Some of them throw.
    script: async (text) => db.script(rewrite(text)),
    transaction: (fn) => db.transaction((tx) => fn(rewriting(tx, rewrite))),
  }
}
