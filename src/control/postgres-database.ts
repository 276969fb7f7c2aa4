import postgres from 'postgres'
import { type ErrorCode, LessorError } from '../errors.ts'
import { runStatement } from '../pool/run-statement.ts'
import type { ScriptDb, Statement } from '../pool/statement.ts'
import { ARRAY_TYPES } from './array-types.ts'
import type { DatabaseAddress } from './database-url.ts'
import { driverSocket, driverTls } from './driver-socket.ts'
import { isUnreachable } from './unreachable.ts'

export interface PostgresDatabaseOptions {
  readonly address: DatabaseAddress
  readonly applicationName: string
  readonly maxConnections: number
  readonly connectTimeoutMs: number
  /** Longest run of one statement, enforced by the server; 0 leaves the server's own limit. */
  readonly statementTimeoutMs: number
  /** How long an unused connection stays open. */
  readonly idleMs: number
  /** Longest wait for running statements in `close()`. */
  readonly closeTimeoutMs: number
  /** Code of the LessorError that stands for a server that cannot be used. */
  readonly unavailable: ErrorCode
}

/**
 * PostgresDatabase is the service's own door to a database, a small pool of the driver's. It
 * connects at the first statement. Tenants never go through it.
 */
export class PostgresDatabase implements ScriptDb {
  readonly #open: () => postgres.Sql
  // Never logged: `util.inspect` of the driver's handle prints the password.
  #handle: postgres.Sql
  /** Whoever has not answered by then never will; undefined when statements have no limit. */
  readonly #patienceMs: number | undefined
  readonly #unavailable: ErrorCode
  readonly #closeTimeoutMs: number
  #closing: Promise<void> | undefined

  constructor(options: PostgresDatabaseOptions) {
    const { address } = options
    this.#unavailable = options.unavailable
    this.#closeTimeoutMs = options.closeTimeoutMs
    const { connectTimeoutMs, statementTimeoutMs } = options
    this.#patienceMs = statementTimeoutMs === 0 ? undefined : statementTimeoutMs + connectTimeoutMs
    this.#open = () =>
      postgres({
        host: address.host,
        port: address.port,
        database: address.database,
        username: address.user,
        // A function, so that the driver's options do not hold the plain password.
        password: () => address.password.reveal(),
        ssl: driverTls(address),
        max: options.maxConnections,
        connect_timeout: options.connectTimeoutMs / 1000,
        idle_timeout: options.idleMs / 1000,
        // The driver waits up to 20 seconds before it tries again; a caller should hear at once.
        backoff: () => 0.05,
        onnotice: () => {},
        fetch_types: false,
        types: ARRAY_TYPES,
        connection: {
          application_name: options.applicationName,
          TimeZone: 'UTC',
          DateStyle: 'ISO',
          statement_timeout: options.statementTimeoutMs,
        },
        // Not in the driver's types: its `socket` option, and `no_subscribe`, which spares a second
        // set of options for logical replication.
        ...{ socket: () => driverSocket(address), no_subscribe: true },
      })
    this.#handle = this.#open()
  }

  async query<Row extends object = Record<string, unknown>>(statement: Statement): Promise<readonly Row[]> {
    return this.#reach(() => this.#watch(runQuery<Row>(this.#handle, statement)))
  }

  async script(text: string): Promise<void> {
    await this.#reach(() => runScript(this.#handle, text))
  }

  async transaction<T>(fn: (tx: ScriptDb) => Promise<T>): Promise<T> {
    const watch: Watch = (answer) => this.#watch(answer)
    return this.#reach(() => inTransaction((run) => this.#handle.begin(run), fn, watch))
  }

  /** ping resolves when the database answers. */
  async ping(): Promise<void> {
    await this.#reach(() => this.#watch(this.#handle`select 1`))
  }

  /** close lets running statements end, cuts them at the deadline, and closes the connections. Memoised. */
  close(): Promise<void> {
    this.#closing ??= this.#handle.end({ timeout: this.#closeTimeoutMs / 1000 })
    return this.#closing
  }

  /**
   * Resolves as `answer` does. A connection can fall silent for good, as when a firewall forgets it: the
   * server itself would have ended the statement long before our patience does. Then all connections are
   * dropped, and who waits on them is told.
   */
  async #watch<T>(answer: PromiseLike<T>): Promise<T> {
    const handle = this.#handle
    const timer = this.#patienceMs && setTimeout(() => this.#replace(handle), this.#patienceMs).unref()
    try {
      return await answer
    } finally {
      if (timer !== undefined) clearTimeout(timer)
    }
  }

  #replace(silent: postgres.Sql): void {
    if (this.#handle !== silent || this.#closing !== undefined) return
    this.#handle = this.#open()
    void silent.end({ timeout: 0 })
  }

  async #reach<T>(work: () => PromiseLike<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (isUnreachable(error)) {
        throw new LessorError(this.#unavailable, undefined, { cause: error, retryAfterSeconds: 1 })
      }
      throw error
    }
  }
}

/** Watch is PostgresDatabase.#watch. */
type Watch = <T>(answer: PromiseLike<T>) => Promise<T>

/** TransactionDb runs statements inside a transaction of the driver's; nested transactions are savepoints. */
class TransactionDb implements ScriptDb {
  readonly #handle: postgres.TransactionSql
  readonly #watch: Watch

  constructor(handle: postgres.TransactionSql, watch: Watch) {
    this.#handle = handle
    this.#watch = watch
  }

  async query<Row extends object = Record<string, unknown>>(statement: Statement): Promise<readonly Row[]> {
    return this.#watch(runQuery<Row>(this.#handle, statement))
  }

  async script(text: string): Promise<void> {
    await runScript(this.#handle, text)
  }

  async transaction<T>(fn: (tx: ScriptDb) => Promise<T>): Promise<T> {
    return inTransaction((run) => this.#handle.savepoint(run), fn, this.#watch)
  }
}

async function runQuery<Row extends object>(
  handle: postgres.Sql | postgres.TransactionSql,
  statement: Statement,
): Promise<readonly Row[]> {
  return (await runStatement(handle as postgres.Sql, statement)) as unknown as readonly Row[]
}

async function runScript(handle: postgres.Sql | postgres.TransactionSql, text: string): Promise<void> {
  await handle.unsafe(text)
}

/** Carries `fn`'s result past the driver, which would await the elements of an array. */
async function inTransaction<T>(
  begin: (run: (tx: postgres.TransactionSql) => Promise<void>) => Promise<unknown>,
  fn: (tx: ScriptDb) => Promise<T>,
  watch: Watch,
): Promise<T> {
  let outcome: { readonly value: T } | undefined
  await begin(async (tx) => {
    outcome = { value: await fn(new TransactionDb(tx, watch)) }
  })
  if (outcome === undefined) throw new Error('bug: the transaction committed without its work')
  return outcome.value
}
