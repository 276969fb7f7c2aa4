import type { DatabaseAddress } from '../../control/database-url.ts'
import { Lane } from '../../control/lane.ts'
import { type Statement, sql } from '../../pool/statement.ts'

/** WATCH_NAME is what a data server shows of the session by which it is watched. */
export const WATCH_NAME = 'lessor watchdog'

const CONNECT_TIMEOUT_MS = 5_000
const STATEMENT_TIMEOUT_MS = 5_000
/** The server itself ends a statement before that. */
const PATIENCE_MS = STATEMENT_TIMEOUT_MS + CONNECT_TIMEOUT_MS
const TIMED = { isTimed: true } as const
/** A transaction that is open for longer alarms those who look for forgotten ones. Not a fixed time: it is not to be waited for. */
const OLDEST_MS = { least: 60_000, most: 240_000 }

/**
 * WatchSession is the session by which a data server is watched. Its transaction stays open from look to look, with the
 * locks that a look needs, so that it can look when the table of locks is full; and each statement is undone by itself
 * when it fails. Such a transaction has no snapshot between two statements and holds up no VACUUM.
 */
export class WatchSession {
  readonly #lane: Lane
  #renewAt = 0
  /** False while the locks are not there: the table was full when they were last asked for. */
  #isReady = false

  /** open logs in. A session that leaves a statement without an answer for `patienceMs` is lost. @throws what the driver throws */
  static async open(
    address: DatabaseAddress,
    { patienceMs = PATIENCE_MS }: { readonly patienceMs?: number | undefined } = {},
  ): Promise<WatchSession> {
    const target = {
      ...address,
      server: WATCH_NAME,
      parameters: {
        application_name: WATCH_NAME,
        DateStyle: 'ISO',
        statement_timeout: String(STATEMENT_TIMEOUT_MS),
        lock_timeout: '1000',
        idle_in_transaction_session_timeout: '0',
      },
    }
    const lane = await Lane.open(target, { connectTimeoutMs: CONNECT_TIMEOUT_MS, patienceMs })
    const session = new WatchSession(lane)
    try {
      // Since PostgreSQL 17. Not by way of pg_settings, which every role may lock, since PUBLIC has UPDATE on it.
      await lane.send(sql`
        select set_config(name, '0', false) from (values ('transaction_timeout')) setting (name)
        where current_setting(name, true) is not null`)
      await session.renew()
    } catch (error) {
      lane.destroy()
      throw error
    }
    return session
  }

  private constructor(lane: Lane) {
    this.#lane = lane
  }

  get isLost(): boolean {
    return this.#lane.isSpent
  }

  /** Whether the transaction is so old that it is to be renewed when the table of locks has room. */
  get isOld(): boolean {
    return performance.now() >= this.#renewAt
  }

  /** query runs one statement, which sees what the sessions of the server do now. What it has locked is unlocked when it fails. */
  async query<Row extends object>(statement: Statement): Promise<readonly Row[]> {
    return this.#guarded('release savepoint look', async () => this.#send<Row>(statement))
  }

  /** queryAs does so with what `script` changes, which is undone in any case. */
  async queryAs<Row extends object>(script: string, statement: Statement): Promise<readonly Row[]> {
    return this.#guarded('rollback to savepoint look; release savepoint look', async () => {
      await this.#lane.script(script, TIMED)
      // What has changed something keeps VACUUM from what has died since.
      this.#renewAt = 0
      return this.#send<Row>(statement)
    })
  }

  /** renew begins another transaction and takes the locks again. @throws what the server throws */
  async renew(): Promise<void> {
    this.#isReady = false
    await this.#lane.command('rollback')
    await this.#lane.command('begin')
    await this.#lane.send(LOOKED_AT)
    this.#isReady = true
    this.#renewAt = performance.now() + OLDEST_MS.least + Math.random() * OLDEST_MS.most
  }

  /** close ends the session. Never rejects. */
  close(): Promise<void> {
    return this.#lane.close()
  }

  async #guarded<T>(end: string, work: () => Promise<T>): Promise<T> {
    if (!this.#isReady) await this.renew()
    await this.#lane.script('savepoint look', TIMED)
    try {
      const result = await work()
      await this.#lane.script(end, TIMED)
      return result
    } catch (error) {
      if (!this.isLost) {
        await this.#lane.script('rollback to savepoint look; release savepoint look', TIMED).catch(() => {
          this.#isReady = false
        })
      }
      throw error
    }
  }

  async #send<Row extends object>(statement: Statement): Promise<readonly Row[]> {
    // Within a transaction what is seen of sessions stays the same otherwise.
    await this.#lane.send(sql`select pg_stat_clear_snapshot()`)
    // Row is the caller's word for what its own SQL returns.
    return (await this.#lane.send(statement)) as readonly Row[]
  }
}

/**
 * Locks what a look reads, and the catalogs in which the server looks for what statements name, with their indexes.
 * Locks that a transaction has need no room in the table when they are asked for again. Those that it has not may need none
 * either: a session keeps some apart, 16 before PostgreSQL 18 and max_locks_per_transaction since (lmgr/README, "Fast Path
 * Locking"), which the first of these use up. pg_stats, since not all administrators may read pg_statistic, which the planner reads.
 */
const LOOKED_AT = sql`
  select from pg_stat_activity, pg_locks, pg_prepared_xacts, pg_stat_progress_analyze where false
  union all select from pg_roles, pg_database, pg_auth_members where false
  union all select from pg_class, pg_attribute, pg_index where false
  union all select from pg_type, pg_proc, pg_operator, pg_cast where false
  union all select from pg_opclass, pg_opfamily, pg_am, pg_amop, pg_amproc where false
  union all select from pg_aggregate, pg_namespace, pg_rewrite, pg_collation, pg_language, pg_range where false
  union all select from pg_stats, pg_constraint, pg_attrdef, pg_inherits, pg_tablespace where false`
