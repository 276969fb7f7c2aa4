import { setTimeout as delay } from 'node:timers/promises'
import { errorCode } from '../pool/driver-errors.ts'
import { type Db, type ScriptDb, type Statement, sql } from '../pool/statement.ts'
import { BusyError, LOCK_PATIENCE, type LockPatience, withLockRetries } from './lock-retries.ts'
import { ownPartitions, partitionTable, sharedTables } from './partitions.ts'

/** MoveStep is what is being done to one table. */
export type MoveStep = 'partition' | 'copy' | 'verify' | 'switch' | 'return'

/** MoveProgress is how far a move has come in one table. */
export interface MoveProgress {
  readonly table: string
  /** Rows copied so far. */
  readonly rows: number
}

export interface MoveOptions {
  readonly signal: AbortSignal
  /** Hears what comes next, and after each batch how far it is; what it throws ends the move. */
  readonly note: (step: MoveStep, progress: MoveProgress) => Promise<void>
  /** Rows of one batch. */
  readonly batchRows?: number
  readonly patience?: LockPatience
}

/** Rows that one transaction copies, so that none holds back what others would clean up. */
const BATCH_ROWS = 5_000
/** So few changes are applied while the table's writers wait. */
const FEW_CHANGES = 200
const CATCH_UP_ROUNDS = 20
const INTEGRITY_VIOLATION = '23000'
const FRESH_STARTS = 3
/** Longest wait, while the table's writers wait, for transactions that would miss what was copied last, or hold up the switch. */
const LOOKERS_WAIT_MS = 500
const LOOKERS_POLL_MS = 5

/**
 * moveOut gives a tenant a partition of its own in every shared table, one table after the other, while all
 * tenants go on. Rows are copied in batches, what changes meanwhile is noted and applied, count and checksum
 * are compared, and one transaction puts the copy in the place of the rows. Run again after a failure it begins
 * the table that it was at anew.
 * @throws SQLSTATE 42P16 when a table cannot be partitioned, 55P03 when a table is never free for the switch
 */
export async function moveOut(
  admin: ScriptDb,
  tenantId: string,
  options: MoveOptions & { readonly tablespace: string | undefined },
): Promise<void> {
  const move = new TenantMove(admin, tenantId, options)
  for (const { name } of await sharedTables(admin)) await move.out(name, options.tablespace)
}

/**
 * moveBack puts a tenant's rows back to everybody else's, one table after the other, and drops its partitions. A
 * table stands still for the time that inserting the rows takes.
 * @throws SQLSTATE 54000 when a table holds more than `rowLimit` rows of the tenant
 */
export async function moveBack(
  admin: ScriptDb,
  tenantId: string,
  options: MoveOptions & { readonly rowLimit: number },
): Promise<void> {
  const move = new TenantMove(admin, tenantId, options)
  for (const table of await ownPartitions(admin, tenantId)) await move.back(table, options.rowLimit)
}

class TenantMove {
  readonly #admin: ScriptDb
  readonly #tenantId: string
  readonly #options: MoveOptions
  readonly #patience: LockPatience

  constructor(admin: ScriptDb, tenantId: string, options: MoveOptions) {
    this.#admin = admin
    this.#tenantId = tenantId
    this.#options = options
    this.#patience = options.patience ?? LOCK_PATIENCE
  }

  async out(table: string, tablespace: string | undefined): Promise<void> {
    const { note, signal } = this.#options
    await note('partition', { table, rows: 0 })
    await partitionTable(this.#admin, table, signal, this.#patience)
    if (await this.#hasOwn(table)) return
    for (let start = 1; ; start++) {
      try {
        await this.#copyAndSwitch(table, tablespace)
        return
      } catch (error) {
        // Nothing has moved yet, and the copy can be made again.
        if (errorCode(error) !== INTEGRITY_VIOLATION || start === FRESH_STARTS) throw error
      }
    }
  }

  async back(table: string, rowLimit: number): Promise<void> {
    await this.#options.note('return', { table, rows: 0 })
    await this.#alone(async (tx) => {
      await tx.query(sql`select lessor.abandon_move(${table}::text::regclass, ${this.#tenantId}::uuid)`)
      await runScript(
        tx,
        sql`
        format('select lessor.return_rows(%L, %L, %s)', ${table}::text, ${this.#tenantId}::text, ${rowLimit}::bigint)`,
      )
    })
  }

  async #copyAndSwitch(table: string, tablespace: string | undefined): Promise<void> {
    const { note } = this.#options
    const [target, tenant] = [sql`${table}::text::regclass`, sql`${this.#tenantId}::uuid`]
    await note('copy', { table, rows: 0 })
    await this.#alone((tx) =>
      tx.query(sql`select lessor.begin_move(${target}, ${tenant}, ${tablespace ?? null}::text)`),
    )
    const batchRows = this.#options.batchRows ?? BATCH_ROWS
    for (let rows = batchRows; await this.#copyBatch(table, batchRows); rows += batchRows) {
      await note('copy', { table, rows })
    }
    const [named] = await this.#admin.query<{ analyze: string }>(
      sql`select 'analyze ' || lessor.partition_name(${target}, ${tenant}) as analyze`,
    )
    await this.#admin.script(named?.analyze ?? '')
    await note('verify', { table, rows: 0 })
    await this.#compareEverything(table)
    for (let round = 0; round < CATCH_UP_ROUNDS; round++) {
      if ((await this.#applyChanges(table)) < FEW_CHANGES) break
    }
    await note('switch', { table, rows: 0 })
    await this.#alone((tx) => this.#switch(tx, table))
  }

  /** False when there was nothing left to copy. */
  async #copyBatch(table: string, batchRows: number): Promise<boolean> {
    this.#options.signal.throwIfAborted()
    const [row] = await this.#admin.query<{ more: boolean }>(sql`
      select lessor.copy_rows(${table}::text::regclass, ${this.#tenantId}::uuid, ${batchRows}::integer) as more`)
    return row?.more === true
  }

  async #applyChanges(table: string): Promise<number> {
    return this.#inSnapshot(async (tx) => {
      const [row] = await tx.query<{ changes: number }>(sql`
        select lessor.apply_changes(${table}::text::regclass, ${this.#tenantId}::uuid)::integer as changes`)
      return row?.changes ?? 0
    })
  }

  #compareEverything(table: string): Promise<void> {
    return this.#inSnapshot((tx) =>
      runScript(
        tx,
        sql`format('select lessor.apply_changes(%L, %L, true)', ${table}::text, ${this.#tenantId}::text)`,
      ),
    )
  }

  #inSnapshot<T>(fn: (tx: ScriptDb) => Promise<T>): Promise<T> {
    return this.#admin.transaction(async (tx) => {
      await tx.query(sql`set transaction isolation level repeatable read`)
      await tx.query(sql`set local statement_timeout = 0`)
      return fn(tx)
    })
  }

  /**
   * Readers go on until the last moment; writers wait from the start. The last changes are applied in another
   * transaction, and whoever looks at the database as it was before that is waited for: he will read the copy.
   */
  async #switch(tx: ScriptDb, table: string): Promise<void> {
    await runScript(tx, sql`lessor.switch_locks(${table}::text::regclass)`)
    const [own] = await tx.query<{ pid: number }>(sql`select pg_backend_pid() as pid`)
    await this.#applyChanges(table)
    await this.#lookersEnd(table, own?.pid ?? 0)
    await runScript(
      tx,
      sql`format('select lessor.finish_move(%L, %L)', ${table}::text, ${this.#tenantId}::text)`,
    )
  }

  async #lookersEnd(table: string, ownPid: number): Promise<void> {
    const deadline = performance.now() + LOOKERS_WAIT_MS
    let older = await lookers(this.#admin, table, ownPid)
    while (older.length > 0) {
      this.#options.signal.throwIfAborted()
      if (performance.now() > deadline) {
        throw new BusyError(`${older.length} transactions look at the table ${table} as it was.`)
      }
      await delay(LOOKERS_POLL_MS)
      const now = new Set(await lookers(this.#admin, table, ownPid))
      older = older.filter((id) => now.has(id))
    }
  }

  async #hasOwn(table: string): Promise<boolean> {
    const [row] = await this.#admin.query<{ found: boolean }>(sql`
      select lessor.partition_of(${table}::text::regclass, ${this.#tenantId}::uuid) is not null as found`)
    return row?.found === true
  }

  #alone<T>(fn: (tx: ScriptDb) => Promise<T>): Promise<T> {
    return withLockRetries(this.#admin, this.#patience, this.#options.signal, fn)
  }
}

/** Runs the statement that an expression makes, without a limit to the time that its answer takes. */
async function runScript(tx: ScriptDb, made: Statement): Promise<void> {
  const [row] = await tx.query<{ script: string | null }>(sql`select ${made} as script`)
  await tx.script(row?.script ?? '')
}

/**
 * Names the transactions that look at the database as it was at some moment, or use the table; all
 * transactions of the database, where the administrator may not see more of them than that they are there. Who
 * waits for us looks again after that.
 */
async function lookers(admin: Db, table: string, ownPid: number): Promise<readonly string[]> {
  const rows = await admin.query<{ id: string }>(sql`
    select distinct l.virtualtransaction as id
    from pg_locks l
    join pg_stat_activity a on a.pid = l.pid
    join pg_partitioned_table p on p.partrelid = ${table}::text::regclass
    where l.granted and a.datname = current_database() and l.pid not in (${ownPid}::integer, pg_backend_pid())
      and (l.relation in (p.partrelid, p.partdefid) or l.locktype = 'virtualxid' and l.mode = 'ExclusiveLock'
        and (a.backend_xmin is not null or not pg_has_role('pg_read_all_stats', 'usage'))
        and not ${ownPid}::integer = any (pg_blocking_pids(l.pid)))`)
  return rows.map((row) => row.id)
}
