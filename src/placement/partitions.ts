import { type Db, type ScriptDb, sql } from '../pool/statement.ts'
import { LOCK_PATIENCE, type LockPatience, withLockRetries } from './lock-retries.ts'
import { SHARED_SCHEMA } from './shared-tables.ts'

/** SharedTable is a protected table of schema app, as sql/walls/000002-partitions.sql sees it. */
export interface SharedTable {
  /** Quoted, with its schema, as PostgreSQL writes it. */
  readonly name: string
  readonly isPartitioned: boolean
  /** Why it cannot be partitioned by tenant; null when it can be. */
  readonly problem: string | null
  /** The tables that its foreign keys name, without itself. */
  readonly refersTo: readonly string[]
}

/** sharedTables lists the tables that tenants share; one that another one refers to comes before it. */
export async function sharedTables(admin: Db): Promise<readonly SharedTable[]> {
  const tables = await admin.query<SharedTable>(sql`
    select c.oid::regclass::text as name, lessor.is_partitioned(c.oid) as "isPartitioned",
      (select string_agg(problem, '; ') from lessor.partition_problems(c.oid) problem) as problem,
      coalesce((
        select json_agg(distinct f.confrelid::regclass::text) from pg_constraint f
        where f.conrelid = c.oid and f.contype = 'f' and f.confrelid <> c.oid
      ), '[]') as "refersTo"
    from pg_class c
    where c.relnamespace = to_regnamespace(${SHARED_SCHEMA}) and c.relkind in ('r', 'p') and not c.relispartition
      and exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'tenant_by_setting')
    order by c.relname`)
  const ordered: SharedTable[] = []
  let left = tables
  while (left.length > 0) {
    const names = new Set(left.map((table) => table.name))
    const free = left.filter((table) => !table.refersTo.some((name) => names.has(name)))
    if (free.length === 0) return [...ordered, ...left.map(inCircle)]
    ordered.push(...free)
    left = left.filter((table) => !free.includes(table))
  }
  return ordered
}

/** Foreign keys that refer to a partitioned table from another one cannot be turned without a look at all rows. */
function inCircle(table: SharedTable): SharedTable {
  if (table.isPartitioned) return table
  return { ...table, problem: table.problem ?? 'its foreign keys lead back to it, or to a circle' }
}

/** promotionProblems says, a sentence each, why no tenant can have partitions of its own here. */
export async function promotionProblems(
  admin: Db,
  tablespace: string | undefined,
): Promise<readonly string[]> {
  const problems = (await sharedTables(admin)).flatMap(({ name, problem }) =>
    problem === null ? [] : [`The table ${name} cannot be partitioned: ${problem}.`],
  )
  if (tablespace === undefined) return problems
  const [found] = await admin.query<{ usable: boolean }>(sql`
    select has_tablespace_privilege(oid, 'create') and spcname <> 'pg_global' as usable
    from pg_tablespace where spcname = ${tablespace}`)
  if (found === undefined) return [...problems, `There is no tablespace "${tablespace}".`]
  return found.usable
    ? problems
    : [...problems, `The tablespace "${tablespace}" is not for tables of tenants.`]
}

/**
 * partitionTable makes a plain table a parent that is partitioned by tenant, whose default partition is the old
 * table; no row moves. All who use the table wait for as long as a few changes of the catalog take.
 * @throws SQLSTATE 42P16 that says why the table cannot be partitioned; 55P03 when it is never free
 */
export async function partitionTable(
  admin: ScriptDb,
  table: string,
  signal: AbortSignal,
  patience: LockPatience = LOCK_PATIENCE,
): Promise<void> {
  const [found] = await admin.query<{ isPartitioned: boolean }>(
    sql`select lessor.is_partitioned(${table}::text::regclass) as "isPartitioned"`,
  )
  if (found?.isPartitioned !== true) {
    await withLockRetries(admin, patience, signal, (tx) =>
      tx.query(sql`select lessor.fit_partition(${table}::text::regclass)`),
    )
    await validate(
      admin,
      sql`where conrelid = ${table}::text::regclass and conname = 'lessor_stays'`,
      signal,
      patience,
    )
    await withLockRetries(admin, patience, signal, (tx) =>
      tx.query(sql`select lessor.partition(${table}::text::regclass)`),
    )
  }
  await validate(
    admin,
    sql`where confrelid = ${table}::text::regclass and contype = 'f' and conparentid = 0`,
    signal,
    patience,
  )
}

/** Everybody goes on while a constraint is validated. */
async function validate(
  admin: ScriptDb,
  which: ReturnType<typeof sql>,
  signal: AbortSignal,
  patience: LockPatience,
): Promise<void> {
  const rows = await admin.query<{ script: string }>(sql`
    select format('alter table %s validate constraint %I', conrelid::regclass, conname) as script
    from pg_constraint ${which} and not convalidated`)
  for (const { script } of rows) await withLockRetries(admin, patience, signal, (tx) => tx.script(script))
}

/** ownPartitions lists the shared tables in which the tenant has a partition of its own, or the beginning of one. */
export async function ownPartitions(admin: Db, tenantId: string): Promise<readonly string[]> {
  const rows = await admin.query<{ name: string }>(sql`
    select p.partrelid::regclass::text as name from pg_partitioned_table p
    where lessor.is_partitioned(p.partrelid)
      and (lessor.partition_of(p.partrelid, ${tenantId}::uuid) is not null
        or to_regclass(lessor.partition_name(p.partrelid, ${tenantId}::uuid)) is not null)
    order by 1`)
  return rows.map((row) => row.name)
}

/** OwnRows is a table and how many rows of a tenant its partition holds. */
export interface OwnRows {
  readonly table: string
  readonly rows: number
}

/** countOwnRows counts the rows in each of the tenant's own partitions, up to a limit. */
export async function countOwnRows(admin: Db, tenantId: string, limit: number): Promise<readonly OwnRows[]> {
  const counts: OwnRows[] = []
  for (const table of await ownPartitions(admin, tenantId)) {
    const [row] = await admin.query<{ rows: number }>(sql`
      select lessor.count_rows(${table}::text::regclass, ${tenantId}::uuid, ${limit}::bigint)::integer as rows`)
    counts.push({ table, rows: row?.rows ?? 0 })
  }
  return counts
}

/** dropPartitions drops the partitions of a tenant whose rows have been removed; a tenant that has none costs one look. */
export async function dropPartitions(admin: ScriptDb, tenantId: string, signal: AbortSignal): Promise<void> {
  for (const table of await ownPartitions(admin, tenantId)) {
    await withLockRetries(admin, LOCK_PATIENCE, signal, (tx) =>
      tx.query(sql`select lessor.drop_partition(${table}::text::regclass, ${tenantId}::uuid)`),
    )
  }
}
