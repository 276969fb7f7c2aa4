import { type Db, sql } from '../pool/statement.ts'
import { notWalledIn, SESSION_RULES } from './check-walls.ts'
import { BUILDERS, SCHEMAS } from './group-roles.ts'
import { hexOf, ownerName, spaceName, userName } from './tenant-names.ts'

/**
 * checkOwnWalls proves over a session of a tenant's login that has tables of its own that it is this tenant's and
 * that nothing lets it out of them. What lies inside its schema is not looked at, since the tenant may change it
 * as it likes: who else could get in is what counts, and that is decided by rights on schemas and databases.
 * @throws LessorError INTERNAL that names the rules that do not hold
 */
export async function checkOwnWalls(db: Db, tenantId: string, own: OwnSpace): Promise<void> {
  const [set] = await db.query<{ path: string }>(sql`select current_setting('search_path') as path`)
  const path = set?.path ?? ''
  // A function of the tenant's that fits its arguments better would stand in for the system's.
  await db.query(sql`select set_config('search_path', 'pg_catalog', false)`)
  const broken = await brokenOwnRules(db, tenantId, own)
  await db.query(sql`select set_config('search_path', ${path}, false)`)
  if (path !== own.schema) broken.push("search_path is not the tenant's own schema")
  if (broken.length > 0) throw notWalledIn(`The login of tenant ${tenantId}`, broken)
}

/** OwnSpace is where a tenant's own tables are. */
export interface OwnSpace {
  readonly schema: string
  readonly ownsDatabase: boolean
}

async function brokenOwnRules(db: Db, tenantId: string, own: OwnSpace): Promise<string[]> {
  const user = userName(tenantId)
  // A tenant with a database of its own may not connect to the server's.
  const connects = own.ownsDatabase ? user : SCHEMAS
  const rows = await db.query<{ rule: string }>(sql`
    with recursive role as (
      select oid from pg_roles where rolname = current_user
      union
      select roleid from pg_auth_members join role on member = role.oid
    ), space as (
      select oid, nspname as name from pg_namespace
      where nspname not in ('pg_catalog', 'information_schema', ${own.schema})
    ), server as (
      -- Before PostgreSQL 16 a login that may become a role has that role's privileges, of which creating is one.
      select current_setting('server_version_num')::integer >= 160000 as modern
    )
    select rule
    from (values
      ${SESSION_RULES},
      ('the role is named after another tenant', right(current_user, 32) = ${hexOf(tenantId)}),
      ('rls.tenant_id names another tenant', current_setting('rls.tenant_id', true) = ${tenantId}),
      ('the session is in another database',
        (current_database() = ${spaceName(tenantId)}) = ${own.ownsDatabase}),
      ('the role is a member of other roles',
        not exists (
          select from role join pg_roles using (oid)
          where rolname <> current_user and rolname not in (${user}, ${ownerName(tenantId)}, ${BUILDERS}, ${connects}))
        and not exists (select from pg_auth_members join role on member = role.oid where admin_option)),
      ('a role of the tenant has attributes beyond login',
        not exists (
          select from role join pg_roles using (oid)
          where rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication
            or (rolcanlogin and rolname <> current_user))),
      ('a role of the tenant may create objects elsewhere',
        not exists (
          select from role
          where has_database_privilege(role.oid, current_database(), 'create, temporary')
            or exists (select from space where has_schema_privilege(role.oid, space.oid, 'create')))),
      ('the login may create objects in its schema',
        not (select modern from server) or not has_schema_privilege(${own.schema}, 'create')),
      ('the login may use schema lessor',
        not (select modern from server)
        or not exists (select from space where name = 'lessor' and has_schema_privilege(oid, 'usage'))),
      ('a role of the tenant may use another tenant''s schema, or the shared one',
        not exists (
          select from space, role
          where name ~ '^(t_[0-9a-f]{32}|app)$' and has_schema_privilege(role.oid, space.oid, 'usage'))),
      ('a role of the tenant may use tables outside its schema',
        not exists (
          select from pg_class c join space on space.oid = c.relnamespace, role
          where c.relkind in ('r', 'p', 'v', 'm', 'f') and has_schema_privilege(role.oid, space.oid, 'usage')
            and has_any_column_privilege(role.oid, c.oid, 'select, insert, update, references')
            -- What extensions let everybody read is theirs to answer for.
            and not exists (
              select from pg_depend
              where classid = 'pg_class'::regclass and objid = c.oid and deptype = 'e'))),
      ('the tenant''s own schema belongs to a tenant',
        (select nspowner not in (select oid from role) from pg_namespace where nspname = ${own.schema})),
      ('others may use the tenant''s own schema',
        (select count(*) = 0 from pg_namespace, aclexplode(nspacl)
         where nspname = ${own.schema} and grantee <> nspowner
           and grantee not in (select oid from role))),
      ('a role of the tenant may connect to another tenant''s database',
        not exists (
          select from pg_database, role
          -- From the row itself: has_database_privilege may still know the rights of a database as it was made.
          where datname ~ '^t_[0-9a-f]{32}$' and datallowconn and datname <> ${spaceName(tenantId)} and exists (
            select from aclexplode(coalesce(datacl, acldefault('d', datdba))) acl
            where privilege_type = 'CONNECT' and (grantee = 0 or pg_has_role(role.oid, grantee, 'usage'))))),
      ('others may connect to the tenant''s database',
        not ${own.ownsDatabase} or (
          select count(*) = 0 from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
          where datname = current_database() and grantee <> datdba
            and grantee <> to_regrole(${user})))
    ) as rules (rule, holds)
    where holds is not true`)
  return rows.map((row) => row.rule)
}
