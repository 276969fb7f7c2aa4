import { LessorError } from '../errors.ts'
import { type Db, ident, type Statement, sql } from '../pool/statement.ts'
import { TENANTS } from './group-roles.ts'
import { tenantTables } from './tenant-tables.ts'

/**
 * checkWalls proves over a session of a tenant's login of placement `role` that it is this tenant's and that nothing
 * lets it out: no attribute, membership or grant beyond the tenants' own, row level security active
 * on every table that it may use, and no row of another tenant in sight.
 * @throws LessorError INTERNAL that names the rules that do not hold
 */
export async function checkWalls(db: Db, tenantId: string): Promise<void> {
  let broken = await brokenRules(
    db,
    TENANTS,
    sql`
      ('the role is named after another tenant',
        right(current_user, 32) = replace(${tenantId}::uuid::text, '-', '')),
      ('rls.tenant_id names another tenant', current_setting('rls.tenant_id', true) = ${tenantId})`,
  )
  if (broken.length === 0) broken = await tablesWithForeignRows(db, tenantId)
  if (broken.length > 0) throw notWalledIn(`The login of tenant ${tenantId}`, broken)
}

/** notWalledIn is the error for a login that could get out. */
export function notWalledIn(who: string, broken: readonly string[]): LessorError {
  return new LessorError('INTERNAL', `${who} is not walled in: ${broken.join('; ')}.`)
}

/** brokenRules names the rules about logins that share tables, a member of `group`, and the rules of `own`, that do not hold. */
export async function brokenRules(db: Db, group: string, own: Statement): Promise<readonly string[]> {
  const rows = await db.query<{ rule: string }>(sql`
    with relation as (
      select oid, relkind, reloptions from pg_class
      where relnamespace = to_regnamespace('app') and relkind in ('r', 'p', 'v', 'm', 'f')
    ), usable as (
      select * from relation where has_any_column_privilege(oid, 'select, insert, update')
    )
    select rule
    from (values
      ${own},
      ${SESSION_RULES},
      ('the role is a member of other roles',
        (select coalesce(bool_and(roleid = to_regrole(${group}) and not admin_option), false)
         from pg_auth_members where member = to_regrole(quote_ident(current_user)))),
      ('the role may create objects',
        not has_database_privilege(current_database(), 'create, temporary')
        and not exists (select from pg_namespace where has_schema_privilege(oid, 'create'))),
      ('the role may use schema lessor',
        not exists (select from pg_namespace where nspname = 'lessor' and has_schema_privilege(oid, 'usage'))),
      ('the role may truncate, refer to or put triggers on tables',
        not exists (select from relation where has_table_privilege(oid, 'truncate, references, trigger'))),
      ('row level security is not active on every table',
        not exists (select from usable where relkind <> 'v' and not row_security_active(oid))),
      ('a view shows what its owner sees',
        not exists (
          select from usable where relkind = 'v' and not coalesce(
            (select option_value::boolean from pg_options_to_table(reloptions)
             where option_name = 'security_invoker'), false)))
    ) as rules (rule, holds)
    where holds is not true`)
  return rows.map((row) => row.rule)
}

/** SESSION_RULES hold for every login of every placement; rows of VALUES (rule, whether it holds). */
export const SESSION_RULES = sql`
      ('the session can return to another role', session_user = current_user),
      ('row_security is off', current_setting('row_security') = 'on'),
      ('the role has attributes beyond login',
        (select not (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)
         from pg_roles where rolname = current_user))`

/** tablesWithForeignRows names the shared tables in which the session sees another tenant's rows. */
export async function tablesWithForeignRows(db: Db, tenantId: string): Promise<readonly string[]> {
  const broken: string[] = []
  for (const { name, readable } of await tenantTables(db)) {
    if (!readable) continue
    const rows = await db.query(
      sql`select 1 from app.${ident(name)} where tenant_id <> ${tenantId}::uuid limit 1`,
    )
    if (rows.length > 0) broken.push(`rows of other tenants show in ${name}`)
  }
  return broken
}
