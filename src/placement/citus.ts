import { LessorError } from '../errors.ts'
import { type Db, type ScriptDb, type Statement, sql } from '../pool/statement.ts'
import { afterClashes } from './after-clashes.ts'
import { KEEPER, ROW_RUNTIME, SCHEMAS, TENANTS } from './group-roles.ts'

// Citus spreads a table over worker servers by the hash of one column. Owners, row level security, policies,
// grants and roles reach the workers by themselves, and a statement that names its tenant goes to the one
// worker that has the tenant's rows (docs/scale-out.md).

/**
 * CITUS_PARAMETERS are the settings that a login of the placement `row` carries: with them SET LOCAL reaches the
 * workers. Other servers take them for settings of somebody else's.
 */
export const CITUS_PARAMETERS = { 'citus.propagate_set_commands': 'local' } as const

/**
 * CITUS_KEEPER is the keeper where tables are distributed. The workers are reached as the role that asks, so it
 * must be one that can log in; it has no password, and the keeper's rights are all that it has.
 */
export const CITUS_KEEPER = 'lessor_keeper_login'

const KEEPER_SCRIPT = `
do $$
begin
  if to_regrole('${CITUS_KEEPER}') is null then
    create role ${CITUS_KEEPER} login;
  end if;
  if not pg_has_role('${CITUS_KEEPER}', '${KEEPER}', 'usage') then
    grant ${KEEPER} to ${CITUS_KEEPER};
  end if;
  if not has_database_privilege('${CITUS_KEEPER}', current_database(), 'connect') then
    execute format('grant connect on database %I to ${CITUS_KEEPER}', current_database());
  end if;
  if not pg_has_role('${CITUS_KEEPER}', 'usage') then
    grant ${CITUS_KEEPER} to current_user;
  end if;
  -- Again, for workers that have joined since.
  execute format('revoke all on database %I from public', current_database());
  execute format('grant connect on database %I to ${TENANTS}, ${ROW_RUNTIME}, ${SCHEMAS}', current_database());
  revoke all on schema public from public;
  -- What Citus says of its columnar tables is open to everybody.
  if has_schema_privilege('public', to_regnamespace('columnar'), 'usage') then
    revoke all on schema columnar from public;
    revoke all on all tables in schema columnar from public;
  end if;
end $$`

interface SharedTable {
  readonly name: string
  readonly isDistributed: boolean
  /** The tables that its foreign keys name, without itself. */
  readonly refersTo: readonly string[]
}

/** isCitus says whether this database can spread tables over several servers. */
export async function isCitus(db: Db): Promise<boolean> {
  const [row] = await db.query<{ found: boolean }>(
    sql`select to_regproc('pg_catalog.create_distributed_table') is not null as found`,
  )
  return row?.found === true
}

/**
 * distributeTables spreads the protected tables of schema app by tenant_id, those that are not yet, with the rows
 * that they have, and resolves with their names; all rows of a tenant come to lie on one server. Does nothing
 * where the database cannot do so. Safe from several starters at once.
 * @throws LessorError PLACEMENT_UNAVAILABLE when tables refer to each other in a circle
 */
export async function distributeTables(admin: ScriptDb): Promise<readonly string[]> {
  if (!(await isCitus(admin))) return []
  await afterClashes(() => admin.script(KEEPER_SCRIPT))
  return admin.transaction(async (tx) => {
    // What lies there is copied; a second starter waits as long and finds it done.
    await tx.script('set local statement_timeout = 0')
    await tx.script('lock table lessor.app_migrations in share row exclusive mode')
    const ordered = inOrder(await sharedTables(tx))
    let together = ordered.find((table) => table.isDistributed)?.name ?? 'default'
    const wanting = ordered.filter((table) => !table.isDistributed)
    for (const { name } of wanting) {
      await runLong(
        tx,
        sql`select format('select create_distributed_table(%L, ''tenant_id'', colocate_with => %L)',
          ${name}::text, ${together}::text) as script`,
      )
      together = name
    }
    return wanting.map((table) => table.name)
  })
}

/**
 * keeperScripts are the texts, to be sent one by one, that make a transaction the keeper's, bound to one tenant.
 * SET takes no parameters; the id was parsed, so that it is hexadecimal digits and hyphens. Workers are sent the
 * whole text in which a SET LOCAL came, so on Citus each comes alone.
 */
export function keeperScripts(tenantId: string, isDistributed: boolean): readonly string[] {
  const bind = `set local rls.tenant_id = '${tenantId}'`
  if (!isDistributed) return [`set local role ${KEEPER}; ${bind}`]
  return [`set local role ${CITUS_KEEPER}`, `set local citus.propagate_set_commands = 'local'`, bind]
}

/**
 * runLong runs the text that a statement makes, however long it takes: with a script nobody loses patience, as with
 * a query.
 */
export async function runLong(tx: ScriptDb, maker: Statement): Promise<void> {
  const [row] = await tx.query<{ script: string }>(maker)
  if (row === undefined) throw new Error('bug: a statement that makes a script has one row')
  await tx.script('set local statement_timeout = 0')
  await tx.script(row.script)
}

async function sharedTables(db: Db): Promise<readonly SharedTable[]> {
  return db.query<SharedTable>(sql`
    select c.oid::regclass::text as name,
      exists (select from pg_dist_partition d where d.logicalrelid = c.oid) as "isDistributed",
      coalesce((
        select json_agg(distinct f.confrelid::regclass::text) from pg_constraint f
        where f.conrelid = c.oid and f.contype = 'f' and f.confrelid <> c.oid
      ), '[]') as "refersTo"
    from pg_class c
    where c.relnamespace = to_regnamespace('app') and c.relkind in ('r', 'p') and not c.relispartition
      and exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'tenant_by_setting')
    order by c.relname`)
}

/** A table that another one refers to comes before it. */
function inOrder(tables: readonly SharedTable[]): readonly SharedTable[] {
  const ordered: SharedTable[] = []
  let left = tables
  while (left.length > 0) {
    const names = new Set(left.map((table) => table.name))
    const free = left.filter((table) => !table.refersTo.some((name) => names.has(name)))
    if (free.length === 0) {
      throw new LessorError(
        'PLACEMENT_UNAVAILABLE',
        `Citus cannot distribute tables that refer to each other in a circle: ${[...names].join(', ')}.`,
      )
    }
    ordered.push(...free)
    left = left.filter((table) => !free.includes(table))
  }
  return ordered
}
