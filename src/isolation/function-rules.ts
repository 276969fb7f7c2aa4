import { type Statement, sql } from '../pool/statement.ts'
import type { Rule } from './rule.ts'

/**
 * Functions of PostgreSQL that everybody may run unless a superuser revokes it, and that hurt others: in every
 * database of tenants, and beside those in the databases that tenants share (sql/walls/000005, 000007).
 */
const HARMFUL = sql`
  select p.oid, p.proname, p.proacl, p.proowner from pg_proc p
  where p.pronamespace = 'pg_catalog'::regnamespace and (
    p.proname in ('pg_logical_emit_message', 'pg_export_snapshot')
    or current_database() !~ '^t_[0-9a-f]{32}$'
      and (p.proname in ('lo_create', 'lo_creat', 'lo_from_bytea')
        or p.proname ~ '^pg_(try_)?advisory_(xact_)?(lock|unlock)'))`

/** Those of them that tenants with a schema or a database of their own keep. */
const IS_KEPT_FOR_OWNERS = sql`f.proname ~ '^(lo_|pg_(try_)?advisory_)'`

/** Whether the administrator who asks could revoke them. Without that they are told as open and break no rule. */
const IS_SUPERUSER = sql`(select rolsuper from pg_roles where rolname = current_user)`

/** FUNCTION_RULES is what of PostgreSQL's own functions tenants may not run. */
export const FUNCTION_RULES: readonly Rule[] = [
  {
    name: 'no function of PostgreSQL that hurts others is open to everybody',
    broken: sql`
      select f.oid::regprocedure::text as object, 'PUBLIC may run it' as problem
      from (${HARMFUL}) f cross join lateral aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
      where a.grantee = 0 and ${IS_SUPERUSER}`,
  },
]

/** FUNCTION_NOTICES say which of them tenants may run: since the administrator could not revoke it, or by a GRANT of the team's. */
export const FUNCTION_NOTICES: Statement = sql`
  select format('tenants may run %s, which a superuser closes by lessor.close_functions()', string_agg(distinct f.proname, ', ' order by f.proname)) as notice
  from (${HARMFUL}) f cross join lateral aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
  where a.grantee = 0 and not ${IS_SUPERUSER}
  having count(*) > 0
  union all
  select format('%s was granted to %s, and hurts other tenants', f.oid::regprocedure, g.rolname)
  from (${HARMFUL}) f cross join lateral aclexplode(f.proacl) a join pg_roles g on g.oid = a.grantee
  where g.rolname in ('lessor_tenant', 'lessor_row')
    or (g.rolname in ('lessor_schema', 'lessor_ddl') and not ${IS_KEPT_FOR_OWNERS}) or g.rolname ~ '^(t[bgmcuo]_[0-9a-f]{32}|lessor_row_)'`
