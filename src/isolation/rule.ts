import type { Statement } from '../pool/statement.ts'
import { sql } from '../pool/statement.ts'

/** Rule is one thing that the catalog of a data database must say, so that tenants stay apart. */
export interface Rule {
  /** What holds, as a sentence. */
  readonly name: string
  /** Finds what breaks it: rows of `object` and `problem`. */
  readonly broken: Statement
}

/** BrokenRule is one place where a rule does not hold. */
export interface BrokenRule {
  readonly server: string
  readonly database: string
  readonly rule: string
  readonly object: string
  readonly problem: string
}

/**
 * HOMES is the schemas that hold tenants' rows: shared ones, and those that are one tenant's own, with the `hex`
 * digits of its id. Found by name as well as by owner, so that one with a wrong owner is seen.
 */
export const HOMES = sql`
  select n.oid, n.nspname, n.nspowner, n.nspacl, tenant.hex, tenant.hex is null as shared,
    coalesce('to_' || tenant.hex, 'lessor_owner') as owner_name
  from pg_namespace n
  join pg_roles owner on owner.oid = n.nspowner
  cross join lateral (select coalesce(
    substring(n.nspname from '^t_([0-9a-f]{32})$'),
    substring(current_database() from '^t_([0-9a-f]{32})$')) as hex) tenant
  where n.nspname in ('app') or n.nspname ~ '^t_[0-9a-f]{32}$'
    or owner.rolname = 'lessor_owner' or owner.rolname ~ '^to_[0-9a-f]{32}$'`

/**
 * sharedAnd is the HOMES whose tables are looked at: the shared ones, and those of the tenants in `own`. What else
 * tenants make of their own tables, which they may change, is no matter of others.
 */
export function sharedAnd(own: readonly string[]): Statement {
  return sql`
    select * from (${HOMES}) each_home
    where each_home.shared or each_home.hex = any (string_to_array(${own.join(',')}, ','))`
}

/** tablesOf is the tables of some of the HOMES; a leaf is a partition, wherever it lies. */
export function tablesOf(homes: Statement): Statement {
  return sql`
    select c.*, home.hex, home.shared, home.owner_name, c.relispartition as leaf
    from pg_class c
    left join pg_class top on top.oid = pg_partition_root(c.oid)
    join (${homes}) home on home.oid = coalesce(top.relnamespace, c.relnamespace)
    where c.relkind in ('r', 'p')`
}

/**
 * TENANT_LOGINS is the roles that serve tenants' statements. By name, and by membership for those that somebody
 * made beside; an administrator is a member too, of all roles that he made.
 */
export const TENANT_LOGINS = sql`
  select r.* from pg_roles r
  where r.rolname ~ '^t[bgmc]_[0-9a-f]{32}' or r.rolname ~ '^lessor_row_[0-9a-f]{12}$'
    or (r.rolcanlogin and not r.rolsuper and not r.rolcreaterole and exists (
      select from pg_auth_members m join pg_roles g on g.oid = m.roleid
      where m.member = r.oid
        and (g.rolname in ('lessor_tenant', 'lessor_row') or g.rolname ~ '^t[uo]_[0-9a-f]{32}$')))`

/** SYSTEM_SCHEMA tells the schemas of PostgreSQL itself, of a pg_namespace `n`. */
export const SYSTEM_SCHEMA = sql`(n.nspname in ('pg_catalog', 'information_schema') or n.nspname ~ '^pg_(toast|temp)')`

/** IS_TENANT_ROLE tells the grantees that tenants act as, of a pg_roles `g`; no row means PUBLIC. */
export const IS_TENANT_ROLE = sql`(g.rolname is null or g.rolname in ('lessor_tenant', 'lessor_row', 'lessor_ddl', 'lessor_schema')
  or g.rolname ~ '^t[bgmcuo]_[0-9a-f]{32}' or g.rolname ~ '^lessor_row_[0-9a-f]{12}$')`
