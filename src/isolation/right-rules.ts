import { type Statement, sql } from '../pool/statement.ts'
import { HOMES, IS_TENANT_ROLE, type Rule, SYSTEM_SCHEMA, sharedAnd } from './rule.ts'

/** Rights on relations and on their columns, but the owner's. */
const GRANTS = sql`
  select c.oid, c.relkind, c.relispartition, c.relnamespace, c.relowner, a.privilege_type, a.is_grantable, a.grantee
  from pg_class c
  cross join lateral aclexplode(coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))) a
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and a.grantee <> c.relowner
  union all
  select c.oid, c.relkind, c.relispartition, c.relnamespace, c.relowner, a.privilege_type, a.is_grantable, a.grantee
  from pg_class c join pg_attribute t on t.attrelid = c.oid and not t.attisdropped cross join lateral aclexplode(t.attacl) a
  where a.grantee <> c.relowner`

const VERBS = sql`('SELECT', 'INSERT', 'UPDATE', 'DELETE')`

/** Rights of PUBLIC and of tenants on whatever has an owner and a list of rights. */
function rightsOfTenants(what: Statement): Statement {
  return sql`
    select object.name as object, format('%s has %s', coalesce(g.rolname, 'PUBLIC'), string_agg(a.privilege_type, ', ')) as problem
    from (${what}) object (name, acl, kind, owner)
    cross join lateral aclexplode(coalesce(object.acl, acldefault(object.kind, object.owner))) a
    left join pg_roles g on g.oid = a.grantee
    where a.grantee <> object.owner and ${IS_TENANT_ROLE}
    group by object.name, g.rolname`
}

/** rightRules is what grants may say; on a tenant's own tables, for the tenants in `own`. */
export function rightRules(own: readonly string[]): readonly Rule[] {
  const homes = sharedAnd(own)
  return [
    {
      name: 'grants name select, insert, update and delete, and nothing else',
      broken: sql`
      select a.oid::regclass::text as object,
        format('%s has %s%s', coalesce(g.rolname, 'PUBLIC'), a.privilege_type,
          case when a.is_grantable then ' and may pass it on' end) as problem
      from (${GRANTS}) a join (${homes}) home on home.oid = a.relnamespace
      left join pg_roles g on g.oid = a.grantee
      -- A role that is nobody's here, such as one for reports, is not bound by tenants' grants.
      where (${IS_TENANT_ROLE} or g.rolname = 'lessor_keeper') and (a.is_grantable or not coalesce(case
        when a.relispartition or a.relkind in ('m', 'f') then false
        when g.rolname in ('lessor_tenant', 'lessor_row') then
          home.shared and a.relkind in ('r', 'p', 'v') and a.privilege_type in ${VERBS}
        when g.rolname = 'lessor_keeper' then
          home.shared and a.relkind in ('r', 'p') and a.privilege_type in ('SELECT', 'DELETE')
        when g.rolname = 'tu_' || home.hex then
          a.relkind in ('r', 'p', 'v') and a.privilege_type in ${VERBS} or a.relkind = 'S' and a.privilege_type = 'USAGE'
        else false end, false))`,
    },
    {
      name: 'a table’s grants are the same for every placement, and the keeper may read and delete',
      broken: sql`
        with home as (${homes}), verbs as (
          select c.oid, c.relname, home.shared, wanted.rolname,
            array(select a.privilege_type from aclexplode(c.relacl) a
              where a.grantee = wanted.oid and a.privilege_type in ${VERBS} order by 1) as verbs
          from pg_class c join home on home.oid = c.relnamespace
          join pg_roles wanted on wanted.rolname = any (case
            when home.shared then array['lessor_tenant', 'lessor_row', 'lessor_keeper'] else array['tu_' || home.hex] end)
          where c.relkind in ('r', 'p') and not c.relispartition
        )
        select v.oid::regclass::text as object, format('%s has %s', v.rolname, array_to_string(v.verbs, ', ')) as problem
        from verbs v
        -- A table that is not shared as well is of a tenant's own making.
        left join verbs w on w.shared and w.relname = v.relname and w.rolname = 'lessor_tenant'
        where case when v.rolname = 'lessor_keeper' then v.verbs <> array['DELETE', 'SELECT'] else v.verbs <> w.verbs end`,
    },
    {
      name: 'tenants have no rights on partitions, wherever they lie',
      broken: sql`
      select a.oid::regclass::text as object, format('%s has %s', coalesce(g.rolname, 'PUBLIC'), a.privilege_type) as problem
      from (${GRANTS}) a left join pg_roles g on g.oid = a.grantee
      where a.relispartition and (${IS_TENANT_ROLE} or g.rolname = 'lessor_keeper')`,
    },
    {
      name: 'tenants have no rights on relations outside of their schemas',
      broken: sql`
      select a.oid::regclass::text as object, format('%s has %s', coalesce(g.rolname, 'PUBLIC'), a.privilege_type) as problem
      from (${GRANTS}) a join pg_namespace n on n.oid = a.relnamespace
      left join pg_roles g on g.oid = a.grantee
      where not ${SYSTEM_SCHEMA} and n.oid not in (select oid from (${HOMES}) home) and ${IS_TENANT_ROLE}
        -- What PUBLIC may in a schema that tenants may not use.
        and (g.rolname is not null or has_schema_privilege('lessor_tenant', n.oid, 'usage'))`,
    },
    {
      name: 'a schema with tenants’ tables can be used by them and changed by its owner alone',
      broken: sql`
      select home.nspname as object, format('%s has %s', coalesce(g.rolname, 'PUBLIC'), a.privilege_type) as problem
      from (${HOMES}) home
      cross join lateral aclexplode(coalesce(home.nspacl, acldefault('n', home.nspowner))) a
      left join pg_roles g on g.oid = a.grantee
      where a.grantee <> home.nspowner and (${IS_TENANT_ROLE} or g.rolname = 'lessor_keeper')
        and (a.is_grantable or not coalesce(case
          when home.shared then
            a.privilege_type = 'USAGE' and g.rolname in ('lessor_tenant', 'lessor_row', 'lessor_keeper')
          when a.privilege_type = 'USAGE' then g.rolname in ('tu_' || home.hex, 'to_' || home.hex)
          else g.rolname = 'to_' || home.hex end, false))`,
    },
    {
      name: 'no other schema can be used or changed by tenants',
      broken: sql`
      select n.nspname as object, format('%s has %s', coalesce(g.rolname, 'PUBLIC'), a.privilege_type) as problem
      from pg_namespace n
      cross join lateral aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
      left join pg_roles g on g.oid = a.grantee
      where not ${SYSTEM_SCHEMA} and n.oid not in (select oid from (${HOMES}) home) and a.grantee <> n.nspowner
        and ${IS_TENANT_ROLE}
        -- Whoever makes tables of his own protects them as all are protected (lessor.protect).
        and not coalesce(n.nspname = 'lessor' and g.rolname = 'lessor_ddl' and a.privilege_type = 'USAGE', false)`,
    },
    {
      name: 'only tenants’ logins connect to the database, and none makes temporary tables or schemas',
      broken: sql`
      select datname as object, format('%s has %s', coalesce(g.rolname, 'PUBLIC'), a.privilege_type) as problem
      from pg_database d
      cross join lateral aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
      left join pg_roles g on g.oid = a.grantee
      where d.datname = current_database() and a.grantee <> d.datdba and ${IS_TENANT_ROLE}
        and (g.rolname is null or a.privilege_type <> 'CONNECT' or a.is_grantable
          or substring(d.datname from '^t_([0-9a-f]{32})$') <> substring(g.rolname from '[0-9a-f]{32}'))`,
    },
    {
      name: 'a tenant’s own database lets in its own logins alone',
      broken: sql`
      select datname as object, format('%s has %s', coalesce(g.rolname, 'PUBLIC'), a.privilege_type) as problem
      from pg_database d
      cross join lateral aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
      left join pg_roles g on g.oid = a.grantee
      -- One that is being made takes no connection until its rights are right.
      where d.datname ~ '^t_[0-9a-f]{32}$' and d.datallowconn and a.grantee <> d.datdba and ${IS_TENANT_ROLE}
        and (a.privilege_type <> 'CONNECT'
          or substring(d.datname from 3) is distinct from substring(g.rolname from '[0-9a-f]{32}'))`,
    },
    {
      name: 'no function runs with its owner’s rights for tenants',
      broken: sql`
      select p.oid::regprocedure::text as object, format('%s may run it', coalesce(g.rolname, 'PUBLIC')) as problem
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
      left join pg_roles g on g.oid = a.grantee
      where p.prosecdef and a.grantee <> p.proowner and ${IS_TENANT_ROLE} and not ${SYSTEM_SCHEMA}
        -- What a tenant makes in its own schema can be reached by nobody else.
        and n.oid not in (select oid from (${HOMES}) home where not home.shared)
        -- They look at the ledger of the session's own tenant.
        and not coalesce(n.nspname = 'lessor' and p.proname in ('own_migrations', 'claim_own_migration')
          and g.rolname = 'lessor_ddl', false)`,
    },
    {
      name: 'no trigger on a tenants’ table runs with its function’s owner’s rights',
      broken: sql`
      select format('%s on %s', t.tgname, t.tgrelid::regclass) as object, format('it runs %s', p.oid::regprocedure) as problem
      from pg_trigger t join pg_class c on c.oid = t.tgrelid join (${homes}) home on home.oid = c.relnamespace
      join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace
      where p.prosecdef and n.nspname <> 'lessor'`,
    },
    {
      name: 'no function of schema lessor is open to tenants',
      broken: sql`
      select p.oid::regprocedure::text as object, format('%s may run it', coalesce(g.rolname, 'PUBLIC')) as problem
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
      left join pg_roles g on g.oid = a.grantee
      where n.nspname = 'lessor' and a.grantee <> p.proowner and ${IS_TENANT_ROLE}
        and g.rolname is distinct from 'lessor_ddl'
        -- The check of a default partition asks it of each new row.
        and not coalesce(p.proname = 'stays' and g.rolname in ('lessor_tenant', 'lessor_row') and not p.prosecdef, false)`,
    },
    {
      name: 'what is made later is not open to tenants by itself',
      broken: sql`
      select format('default privileges of %s', r.rolname) as object,
        format('%s gets %s on %s', coalesce(g.rolname, 'PUBLIC'), a.privilege_type, d.defaclobjtype) as problem
      from pg_default_acl d join pg_roles r on r.oid = d.defaclrole
      cross join lateral aclexplode(d.defaclacl) a
      left join pg_roles g on g.oid = a.grantee
      where a.grantee <> d.defaclrole and d.defaclobjtype in ('r', 'S', 'n') and r.rolname !~ '^t[bgmo]_[0-9a-f]{32}'
        and (${IS_TENANT_ROLE} or g.rolname = 'lessor_keeper')`,
    },
    {
      name: 'tenants have no foreign servers, and no language that reaches beyond the database',
      broken: sql`
      ${rightsOfTenants(sql`select srvname, srvacl, 'S'::"char", srvowner from pg_foreign_server`)}
      union all
      ${rightsOfTenants(sql`select fdwname, fdwacl, 'F'::"char", fdwowner from pg_foreign_data_wrapper`)}
      union all
      ${rightsOfTenants(sql`select lanname, lanacl, 'l'::"char", lanowner from pg_language where not lanpltrusted and lanname not in ('internal', 'c')`)}`,
    },
    {
      name: 'no large object but a tenant’s own is open to tenants',
      broken: sql`
      ${rightsOfTenants(sql`
        select l.oid::text, l.lomacl, 'L'::"char", l.lomowner from pg_largeobject_metadata l
        where pg_get_userbyid(l.lomowner) !~ '^t[bgo]_[0-9a-f]{32}'`)}
      union all
      select 'lo_compat_privileges', 'it is on, so that nobody is asked' where current_setting('lo_compat_privileges')::boolean`,
    },
  ]
}
