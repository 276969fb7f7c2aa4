import { sql } from '../pool/statement.ts'
import { type Rule, TENANT_LOGINS } from './rule.ts'

/** ROLE_RULES is what tenants' roles may be. Roles are the whole server's. */
export const ROLE_RULES: readonly Rule[] = [
  {
    name: 'owners and groups cannot log in and have no attributes',
    broken: sql`
      select rolname as object, 'it can log in, or may more than it should' as problem from pg_roles
      where (rolname in ('lessor_owner', 'lessor_tenant', 'lessor_row', 'lessor_keeper', 'lessor_schema', 'lessor_ddl')
          or rolname ~ '^t[uo]_[0-9a-f]{32}$')
        and (rolcanlogin or rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)`,
  },
  {
    name: 'tenants’ logins have no attribute but the login',
    broken: sql`
      select rolname as object,
        concat_ws(', ', case when rolsuper then 'superuser' end, case when rolbypassrls then 'bypassrls' end,
          case when rolcreaterole then 'createrole' end, case when rolcreatedb then 'createdb' end,
          case when rolreplication then 'replication' end) as problem
      from (${TENANT_LOGINS}) login
      where rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication`,
  },
  {
    name: 'tenants’ logins are members of their own group and of nothing else',
    broken: sql`
      select login.rolname as object, format('it is a member of %s%s', g.rolname, case when m.admin_option then ', and may pass that on' end) as problem
      from (${TENANT_LOGINS}) login
      join pg_auth_members m on m.member = login.oid join pg_roles g on g.oid = m.roleid
      where m.admin_option or not coalesce(case
        when login.rolname ~ '^lessor_row_' then g.rolname = 'lessor_row'
        else g.rolname = 'lessor_tenant'
          or g.rolname in ('tu_' || substring(login.rolname from '[0-9a-f]{32}'), 'to_' || substring(login.rolname from '[0-9a-f]{32}')) end, false)`,
  },
  {
    name: 'no login is of two placements',
    broken: sql`
      select login.rolname as object, string_agg(g.rolname, ', ') as problem
      from (${TENANT_LOGINS}) login
      join pg_auth_members m on m.member = login.oid join pg_roles g on g.oid = m.roleid
      where g.rolname !~ '^to_'
      group by login.rolname having count(*) > 1`,
  },
  {
    name: 'owners and groups are members of nothing',
    broken: sql`
      select r.rolname as object, format('it is a member of %s', g.rolname) as problem
      from pg_auth_members m join pg_roles r on r.oid = m.member join pg_roles g on g.oid = m.roleid
      where (r.rolname in ('lessor_owner', 'lessor_tenant', 'lessor_row', 'lessor_keeper', 'lessor_schema', 'lessor_ddl')
          or r.rolname ~ '^t[uo]_[0-9a-f]{32}$')
        and (m.admin_option or not (r.rolname ~ '^to_' and g.rolname = 'lessor_ddl'
          or r.rolname ~ '^tu_' and g.rolname = 'lessor_schema'))`,
  },
  {
    name: 'roles, schemas and databases of tenants say nothing of them but their id',
    broken: sql`
      select r.rolname as object, 'it has a comment, which every login of the server can read' as problem
      from pg_shdescription d join pg_roles r on r.oid = d.objoid and d.classoid = 'pg_authid'::regclass
      where r.rolname ~ '^t[bgmcuo]_[0-9a-f]{32}'
      union all
      select b.datname, 'it has a comment, which every login of the server can read'
      from pg_shdescription d join pg_database b on b.oid = d.objoid and d.classoid = 'pg_database'::regclass
      where b.datname ~ '^t_[0-9a-f]{32}$'
      union all
      select n.nspname, 'it has a comment, which every login of the database can read'
      from pg_description d join pg_namespace n on n.oid = d.objoid and d.classoid = 'pg_namespace'::regclass
      where n.nspname ~ '^t_[0-9a-f]{32}$'`,
  },
]
