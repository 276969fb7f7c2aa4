import type { ScriptDb, Statement } from '../pool/statement.ts'
import { Announcer } from './announcer.ts'
import { answerWithin } from './answer-within.ts'
import { parseDatabaseUrl } from './database-url.ts'
import { PostgresDatabase } from './postgres-database.ts'

export interface ControlDatabaseOptions {
  /** `postgres://user:password@host:port/database`; see parseDatabaseUrl. */
  readonly url: string
  readonly maxConnections?: number
  readonly connectTimeoutMs?: number
  readonly statementTimeoutMs?: number
  /** Called once when an announcement failed, until one has succeeded again. */
  readonly onUnannounced?: (error: unknown) => void
}

/** ControlDb is a Db of the control database, or of a transaction in it. */
export interface ControlDb extends ScriptDb {
  transaction<T>(fn: (tx: ControlDb) => Promise<T>): Promise<T>
  /**
   * announce tells the other processes that there is something to read (NOTIFY), without waiting and without a word
   * of failure; in a transaction, once that has committed, and never within it: see Announcer. Of several for one
   * channel the last one counts.
   */
  announce(channel: string, payload: string): void
}

/** Longest wait at the end for announcements that are still to be sent. */
const LAST_WORDS_MS = 1_000

/**
 * ControlDatabase is the handle to the database that holds Lessor's own tables (schema `lessor`).
 * @throws LessorError CONTROL_UNAVAILABLE, from every method, when the database cannot be used
 */
export class ControlDatabase extends PostgresDatabase implements ControlDb {
  readonly #announcer: Announcer
  #closing: Promise<void> | undefined

  constructor(options: ControlDatabaseOptions) {
    super({
      address: parseDatabaseUrl(options.url),
      applicationName: 'lessor control',
      maxConnections: options.maxConnections ?? 10,
      connectTimeoutMs: options.connectTimeoutMs ?? 5_000,
      statementTimeoutMs: options.statementTimeoutMs ?? 15_000,
      idleMs: 300_000,
      closeTimeoutMs: 5_000,
      unavailable: 'CONTROL_UNAVAILABLE',
    })
    this.#announcer = new Announcer({ db: this, onFailure: options.onUnannounced ?? (() => {}) })
  }

  /** Announcements that failed since the start. */
  get unannounced(): number {
    return this.#announcer.failures
  }

  override async transaction<T>(fn: (tx: ControlDb) => Promise<T>): Promise<T> {
    const announcements = new Map<string, string>()
    const result = await super.transaction((tx) => fn(new ControlTransaction(tx, announcements)))
    for (const [channel, payload] of announcements) this.announce(channel, payload)
    return result
  }

  announce(channel: string, payload: string): void {
    this.#announcer.announce(channel, payload)
  }

  /** close sends what is still to be announced, then closes as PostgresDatabase does. Memoised. */
  override close(): Promise<void> {
    this.#closing ??= answerWithin(this.#announcer.settled(), LAST_WORDS_MS)
      .catch(() => {})
      .then(() => super.close())
    return this.#closing
  }
}

/** ControlTransaction keeps announcements until its transaction has committed. */
class ControlTransaction implements ControlDb {
  readonly #tx: ScriptDb
  readonly #announcements: Map<string, string>

  constructor(tx: ScriptDb, announcements: Map<string, string>) {
    this.#tx = tx
    this.#announcements = announcements
  }

  query<Row extends object = Record<string, unknown>>(statement: Statement): Promise<readonly Row[]> {
    return this.#tx.query<Row>(statement)
  }

  script(text: string): Promise<void> {
    return this.#tx.script(text)
  }

  /** What is announced in a savepoint that is rolled back is announced all the same: it is a hint and no more. */
  transaction<T>(fn: (tx: ControlDb) => Promise<T>): Promise<T> {
    return this.#tx.transaction(() => fn(this))
  }

  announce(channel: string, payload: string): void {
    this.#announcements.set(channel, payload)
  }
}
