import { setTimeout as sleep } from 'node:timers/promises'
import type { DatabaseAddress } from '../control/database-url.ts'
import { PostgresDatabase, type Watch } from '../control/postgres-database.ts'
import { Turns } from '../control/turns.ts'
import { isLessorError } from '../errors.ts'
import type { AdminDb, OtherLogin } from '../placement/placement.ts'
import { errorCode } from '../pool/driver-errors.ts'
import type { ScriptDb, Statement } from '../pool/statement.ts'
import { Clearing } from './clearing.ts'

export interface ServerAdminOptions {
  readonly address: DatabaseAddress
  readonly maxConnections?: number
  /** Connections for work elsewhere (`inDatabase`, `asLogin`), besides the others. */
  readonly maxElsewhere?: number
  readonly connectTimeoutMs?: number
  readonly statementTimeoutMs?: number
  /** How long the service lets a tenant's statement run; a transaction that is older does not hold up an administrator. */
  readonly ordinaryMs?: number
  /** How long a statement waits for a lock; a little longer than `ordinaryMs` by default. */
  readonly lockTimeoutMs?: number
  /** What the server shows of its sessions; `lessor admin` by default. */
  readonly applicationName?: string
  /** How long an unused connection stays open; 10 s by default. */
  readonly idleMs?: number
}

const MAX_ELSEWHERE = 4
const ORDINARY_MS = 15_000
/** How much longer than an ordinary statement runs an administrator waits for a lock. */
const LOCK_MARGIN_MS = 5_000

const OUT_OF_SHARED_MEMORY = '53200'
/** Together longer than the watchdog takes to find out who fills the table of locks. */
const PAUSES_MS = [50, 200, 500, 1_000, 2_000]

/**
 * ServerAdmin is an administrator's door to a data server: it makes and drops logins and removes
 * rows. Its few connections are made when they are needed and closed soon after. Sessions of tenants' logins that
 * hold up its statements are ended (Clearing), but for those of `asLogin`.
 * @throws LessorError SERVER_UNAVAILABLE, from every method, when the server cannot be used; SERVER_BUSY when a
 *   session of another holds what is needed
 */
export class ServerAdmin extends PostgresDatabase implements AdminDb {
  readonly #options: ServerAdminOptions
  readonly #elsewhere: Turns
  readonly #clearing: Clearing
  readonly #ownsClearing: boolean

  constructor(
    options: ServerAdminOptions,
    elsewhere?: { readonly clearing: Clearing; readonly isWatched: boolean },
  ) {
    const { address, connectTimeoutMs = 5_000, ordinaryMs = ORDINARY_MS } = options
    const { lockTimeoutMs = ordinaryMs + LOCK_MARGIN_MS } = options
    const clearing =
      elsewhere?.clearing ?? new Clearing({ address, connectTimeoutMs, ordinaryMs, lockTimeoutMs })
    const watch: Watch = (pid, statement) => clearing.watch(pid, statement)
    super({
      address,
      applicationName: options.applicationName ?? 'lessor admin',
      maxConnections: options.maxConnections ?? 3,
      connectTimeoutMs,
      statementTimeoutMs: options.statementTimeoutMs ?? 60_000,
      idleMs: options.idleMs ?? 10_000,
      closeTimeoutMs: 5_000,
      unavailable: 'SERVER_UNAVAILABLE',
      parameters: { lock_timeout: String(lockTimeoutMs) },
      ...(elsewhere?.isWatched !== false && { watch }),
    })
    this.#options = options
    this.#elsewhere = new Turns(options.maxElsewhere ?? MAX_ELSEWHERE)
    this.#clearing = clearing
    this.#ownsClearing = elsewhere === undefined
  }

  override query<Row extends object = Record<string, unknown>>(
    statement: Statement,
  ): Promise<readonly Row[]> {
    return this.#withRoom(() => super.query<Row>(statement))
  }

  /** script is one transaction of the server's, so that one which found no room for its locks has done nothing. */
  override script(text: string): Promise<void> {
    return this.#withRoom(() => super.script(text))
  }

  override transaction<T>(fn: (tx: ScriptDb) => Promise<T>): Promise<T> {
    let hasBegun = false
    return this.#withRoom(
      () =>
        super.transaction((tx) => {
          hasBegun = true
          return fn(tx)
        }),
      () => !hasBegun,
    )
  }

  /** inDatabase waits for its turn; work inside must not ask for another one. */
  inDatabase<T>(database: string, fn: (db: ScriptDb) => Promise<T>): Promise<T> {
    return this.#elsewhere.run(() => this.#connected({ database }, true, fn))
  }

  /** asLogin waits for its turn as inDatabase does. */
  asLogin<T>(login: OtherLogin, fn: (db: ScriptDb) => Promise<T>): Promise<T> {
    return this.#elsewhere.run(() => this.#connected(login, false, fn))
  }

  override async close(): Promise<void> {
    await super.close()
    if (this.#ownsClearing) await this.#clearing.close()
  }

  async #connected<T>(
    address: Partial<DatabaseAddress>,
    isWatched: boolean,
    fn: (db: ScriptDb) => Promise<T>,
  ): Promise<T> {
    const { address: own, ...options } = this.#options
    const db = new ServerAdmin(
      { ...options, address: { ...own, ...address }, maxConnections: 1 },
      { clearing: this.#clearing, isWatched },
    )
    try {
      return await fn(db)
    } finally {
      await db.close()
    }
  }

  /**
   * Runs `work`, and again when the server had no room for its locks because tenants' sessions filled the table.
   * @throws what `work` throws last
   */
  async #withRoom<T>(work: () => Promise<T>, mayRepeat: () => boolean = () => true): Promise<T> {
    for (const pauseMs of PAUSES_MS) {
      try {
        return await work()
      } catch (error) {
        if (!hasNoRoom(error)) throw error
        const found = await this.#clearing.relieve()
        if (found === 'roomy' || !mayRepeat()) throw error
      }
      await sleep(pauseMs)
    }
    return work()
  }
}

/** In a statement, or while a session was opened. */
function hasNoRoom(error: unknown): boolean {
  const cause = isLessorError(error, 'SERVER_UNAVAILABLE') ? error.cause : error
  return errorCode(cause) === OUT_OF_SHARED_MEMORY
}
