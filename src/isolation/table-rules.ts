import { sql } from '../pool/statement.ts'
import { HOMES, type Rule, sharedAnd, tablesOf } from './rule.ts'
import { STATISTICS_RULES } from './statistics-rules.ts'

/** The two forms that a policy may have, as PostgreSQL prints them. Neither holds a subquery. */
const BY_ROLE = `(tenant_id = ("right"((CURRENT_USER)::text, 32))::uuid)`
const BY_SETTING = `(tenant_id = (current_setting('rls.tenant_id'::text))::uuid)`

/** tableRules is what holds for each shared table, and for the own tables of the tenants in `own`. */
export function tableRules(own: readonly string[]): readonly Rule[] {
  const homes = sharedAnd(own)
  const tables = tablesOf(homes)
  return [
    {
      name: 'a schema with tenants’ tables belongs to a role that cannot log in',
      broken: sql`
      select home.nspname as object, format('it belongs to %s', r.rolname) as problem
      from (${HOMES}) home join pg_roles r on r.oid = home.nspowner
      where r.rolname not in ('lessor_owner', home.owner_name)`,
    },
    {
      name: 'tables, views and sequences belong to that role as well',
      broken: sql`
      select c.oid::regclass::text as object, format('it belongs to %s, not to %s', r.rolname, home.owner_name) as problem
      from pg_class c join (${homes}) home on home.oid = c.relnamespace join pg_roles r on r.oid = c.relowner
      where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and not c.relispartition and r.rolname <> home.owner_name`,
    },
    {
      name: 'row level security is enabled and forced on every table',
      broken: sql`
      select c.oid::regclass::text as object,
        concat_ws(' and ', case when not c.relrowsecurity then 'it is not enabled' end,
          case when not c.relforcerowsecurity then 'it is not forced' end) as problem
      from (${tables}) c
      where not c.leaf and not (c.relrowsecurity and c.relforcerowsecurity)`,
    },
    {
      name: 'every policy has a known form, for using and for check',
      broken: sql`
      select format('%s on %s', p.polname, c.oid::regclass) as object,
        format('%s using %s with check %s', case when p.polcmd <> '*' then 'for some verbs,' end,
          coalesce(pg_get_expr(p.polqual, p.polrelid), '(all rows)'),
          coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '(what using says)')) as problem
      from pg_policy p join (${tables}) c on c.oid = p.polrelid
      where p.polpermissive and (p.polcmd <> '*'
        or coalesce(pg_get_expr(p.polqual, p.polrelid), '') not in (${BY_ROLE}, ${BY_SETTING})
        or pg_get_expr(p.polwithcheck, p.polrelid) is distinct from pg_get_expr(p.polqual, p.polrelid))`,
    },
    {
      name: 'no policy holds a subquery',
      broken: sql`
      select format('%s on %s', p.polname, p.polrelid::regclass) as object, 'it hides statistics, and may look at other rows' as problem
      from pg_policy p join (${tables}) c on c.oid = p.polrelid
      where concat(p.polqual::text, p.polwithcheck::text) ~ '\\{SUBLINK'`,
    },
    {
      name: 'a policy that trusts rls.tenant_id is for the service’s own logins alone, and one by role for tenants’',
      broken: sql`
      select format('%s on %s', p.polname, c.oid::regclass) as object,
        format('it is for %s', coalesce(g.rolname, 'everybody')) as problem
      from pg_policy p join (${tables}) c on c.oid = p.polrelid
      cross join unnest(p.polroles) as role_oid left join pg_roles g on g.oid = role_oid
      where p.polpermissive and not coalesce(case pg_get_expr(p.polqual, p.polrelid)
        when ${BY_SETTING} then c.shared and g.rolname in ('lessor_row', 'lessor_keeper')
        when ${BY_ROLE} then g.rolname = 'lessor_tenant' and c.shared or g.rolname in ('tu_' || c.hex, 'to_' || c.hex)
        -- Of another form: the rule of forms reports it.
        else true end, false)`,
    },
    {
      name: 'whoever has rights on a table has a policy there',
      broken: sql`
      select c.oid::regclass::text as object, format('there is none for %s', coalesce(g.rolname, 'PUBLIC')) as problem
      from (${tables}) c
      cross join lateral (
        select distinct grantee from aclexplode(c.relacl) where grantee <> c.relowner) privilege
      left join pg_roles g on g.oid = privilege.grantee
      where not c.leaf and not exists (
        select from pg_policy p
        where p.polrelid = c.oid and p.polpermissive and privilege.grantee = any (p.polroles))`,
    },
    {
      name: 'every table can be used by the logins of its placement',
      broken: sql`
      select c.oid::regclass::text as object, format('%s may nothing', wanted) as problem
      from (${tables}) c
      cross join lateral unnest(case when c.shared then array['lessor_tenant', 'lessor_row', 'lessor_keeper']
        else array['tu_' || c.hex] end) as wanted
      where not c.leaf and to_regrole(wanted) is not null
        and not has_table_privilege(wanted, c.oid, 'select, insert, update, delete')`,
    },
    {
      name: 'tenant_id is a uuid that is never null and comes from rls.tenant_id',
      broken: sql`
      select c.oid::regclass::text as object,
        case when a.attnum is null then 'there is no such column'
          else format('it is %s%s, default %s', format_type(a.atttypid, a.atttypmod),
            case when a.attnotnull then ' not null' end, coalesce(pg_get_expr(d.adbin, d.adrelid), 'none')) end as problem
      from (${tables}) c
      left join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
      left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
      where not c.leaf and not coalesce(a.atttypid = 'uuid'::regtype and a.attnotnull
        and pg_get_expr(d.adbin, d.adrelid) = '(current_setting(''rls.tenant_id''::text))::uuid', false)`,
    },
    {
      name: 'tenant_id stands first in every key and index',
      broken: sql`
      select coalesce(i.indexrelid::regclass, c.oid::regclass)::text as object,
        case when i.indexrelid is null then 'it has no primary key' else 'it starts with another column' end as problem
      from (${tables}) c
      left join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
      left join pg_index i on i.indrelid = c.oid
      where (i.indexrelid is null and not c.leaf) or i.indkey[0] is distinct from a.attnum and i.indexrelid is not null
      union all
      select c.oid::regclass::text, 'it has no primary key' from (${tables}) c
      where not c.leaf and exists (select from pg_index where indrelid = c.oid)
        and not exists (select from pg_index where indrelid = c.oid and indisprimary)`,
    },
    {
      name: 'every foreign key pairs tenant_id with tenant_id first',
      broken: sql`
      select format('%s on %s', k.conname, c.oid::regclass) as object, 'it tells which keys another tenant has' as problem
      from pg_constraint k join (${tables}) c on c.oid = k.conrelid
      left join pg_attribute own on own.attrelid = k.conrelid and own.attnum = k.conkey[1] and own.attname = 'tenant_id'
      left join pg_attribute other on other.attrelid = k.confrelid and other.attnum = k.confkey[1] and other.attname = 'tenant_id'
      where k.contype = 'f' and (own.attnum is null or other.attnum is null)`,
    },
    {
      name: 'no table inherits but a partition, and no rule rewrites what is done to one',
      broken: sql`
      select c.oid::regclass::text as object, 'it inherits' as problem
      from (${tables}) c join pg_inherits i on i.inhrelid = c.oid where not c.leaf
      union all
      select c.oid::regclass::text, format('the rule %s works with its owner’s rights', w.rulename)
      from (${tables}) c join pg_rewrite w on w.ev_class = c.oid`,
    },
    {
      name: 'every view shows what its reader may see',
      broken: sql`
      select c.oid::regclass::text as object, 'it is not security_invoker, and shows what its owner may see' as problem
      from pg_class c join (${homes}) home on home.oid = c.relnamespace
      where c.relkind = 'v' and not coalesce(
        (select option_value::boolean from pg_options_to_table(c.reloptions) where option_name = 'security_invoker'), false)`,
    },
    ...STATISTICS_RULES,
  ]
}
