import type { DatabaseAddress } from '../control/database-url.ts'
import { PostgresDatabase } from '../control/postgres-database.ts'
import { Turns } from '../control/turns.ts'
import type { AdminDb, OtherLogin } from '../placement/placement.ts'
import type { ScriptDb } from '../pool/statement.ts'

export interface ServerAdminOptions {
  readonly address: DatabaseAddress
  readonly maxConnections?: number
  /** Connections for work elsewhere (`inDatabase`, `asLogin`), besides the others. */
  readonly maxElsewhere?: number
  readonly connectTimeoutMs?: number
  readonly statementTimeoutMs?: number
}

const MAX_ELSEWHERE = 4

/**
 * ServerAdmin is an administrator's door to a data server: it makes and drops logins and removes
 * rows. Its few connections are made when they are needed and closed soon after.
 * @throws LessorError SERVER_UNAVAILABLE, from every method, when the server cannot be used
 */
export class ServerAdmin extends PostgresDatabase implements AdminDb {
  readonly #options: ServerAdminOptions
  readonly #elsewhere: Turns

  constructor(options: ServerAdminOptions) {
    super({
      address: options.address,
      applicationName: 'lessor admin',
      maxConnections: options.maxConnections ?? 3,
      connectTimeoutMs: options.connectTimeoutMs ?? 5_000,
      statementTimeoutMs: options.statementTimeoutMs ?? 60_000,
      idleMs: 10_000,
      closeTimeoutMs: 5_000,
      unavailable: 'SERVER_UNAVAILABLE',
    })
    this.#options = options
    this.#elsewhere = new Turns(options.maxElsewhere ?? MAX_ELSEWHERE)
  }

  /** inDatabase waits for its turn; work inside must not ask for another one. */
  inDatabase<T>(database: string, fn: (db: ScriptDb) => Promise<T>): Promise<T> {
    return this.#elsewhere.run(() => this.#connected({ database }, fn))
  }

  /** asLogin waits for its turn as inDatabase does. */
  asLogin<T>(login: OtherLogin, fn: (db: ScriptDb) => Promise<T>): Promise<T> {
    return this.#elsewhere.run(() => this.#connected(login, fn))
  }

  async #connected<T>(address: Partial<DatabaseAddress>, fn: (db: ScriptDb) => Promise<T>): Promise<T> {
    const { address: own, ...options } = this.#options
    const db = new ServerAdmin({ ...options, address: { ...own, ...address }, maxConnections: 1 })
    try {
      return await fn(db)
    } finally {
      await db.close()
    }
  }
}
