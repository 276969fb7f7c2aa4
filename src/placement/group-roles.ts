import { LessorError } from '../errors.ts'
import { type ScriptDb, sql } from '../pool/statement.ts'
import { afterClashes } from './after-clashes.ts'

/** OWNER owns the shared tables. Row level security binds it as well, and no policy lets it in. */
export const OWNER = 'lessor_owner'

/**
 * TENANTS is the role that every login of placement `role` is a member of. Grants and policies name it
 * and no login, so that the access lists do not grow with the tenants.
 */
export const TENANTS = 'lessor_tenant'

/** ROW_RUNTIME is what the one login of placement `row` is a member of; it is the tenant that `rls.tenant_id` names. */
export const ROW_RUNTIME = 'lessor_row'

/** KEEPER reads and deletes the rows of one tenant at a time, the one that `rls.tenant_id` names. */
export const KEEPER = 'lessor_keeper'

/** SCHEMAS lets the tenants of placement `schema` connect; what each may use there is its own. */
export const SCHEMAS = 'lessor_schema'

/** BUILDERS is what every tenant's owner role is a member of: it may call lessor.protect on tables that it owns. */
export const BUILDERS = 'lessor_ddl'

const ALL = [OWNER, TENANTS, ROW_RUNTIME, KEEPER, SCHEMAS, BUILDERS]

/**
 * Roles belong to the whole server, so that another database may have made them already; privileges
 * on the database do not travel with a dump or a template. So this runs at every start and changes
 * only what is not yet as it should be.
 */
const SCRIPT = `
do $$
declare
  role_name text;
begin
  foreach role_name in array array['${ALL.join("', '")}'] loop
    if to_regrole(role_name) is null then
      execute format('create role %I nologin', role_name);
    end if;
  end loop;

  -- An administrator who is no superuser works as the owner and as the keeper by membership. Since
  -- PostgreSQL 16 the maker of a role may grant it, and has no other part in it.
  foreach role_name in array array['${OWNER}', '${KEEPER}'] loop
    if not pg_has_role(role_name, 'usage') then
      execute format('grant %I to current_user', role_name);
    end if;
  end loop;

  -- Grantee 0 is PUBLIC; a null list stands for the default, which lets everybody in.
  if exists (
    select from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) privilege
    where datname = current_database() and privilege.grantee = 0
  ) then
    execute format('revoke all on database %I from public', current_database());
  end if;
  foreach role_name in array array['${TENANTS}', '${ROW_RUNTIME}', '${SCHEMAS}'] loop
    if not has_database_privilege(role_name, current_database(), 'connect') then
      execute format('grant connect on database %I to %I', current_database(), role_name);
    end if;
  end loop;
  if exists (
    select from pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) privilege
    where nspname = 'public' and privilege.grantee = 0
  ) then
    revoke all on schema public from public;
  end if;
end $$`

/**
 * ensureGroupRoles makes the roles that all tenants of a server have in common, and takes from
 * PUBLIC what it may by default: to connect, to make temporary tables and to use schema public.
 * @throws LessorError PLACEMENT_UNAVAILABLE when the administrator may not do so, or when a role of
 *   such a name could get past the walls
 */
export async function ensureGroupRoles(admin: ScriptDb): Promise<void> {
  await afterClashes(() => admin.script(SCRIPT))
  const problems = await admin.query<{ problem: string }>(sql`
    select format('role %s may more than it should', rolname) as problem
    from pg_roles
    where rolname = any (${ALL}::text[])
      and (rolcanlogin or rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)
    union all
    select format('everybody may connect, or make temporary tables, since %s does not own the database', current_user)
    from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) privilege
    where datname = current_database() and privilege.grantee = 0
    group by datname
    union all
    select format('everybody may use schema public, since %s does not own it', current_user)
    from pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) privilege
    where nspname = 'public' and privilege.grantee = 0
    group by nspname`)
  if (problems.length === 0) return
  const list = problems.map((row) => row.problem).join('; ')
  throw new LessorError('PLACEMENT_UNAVAILABLE', `The data server cannot keep tenants apart: ${list}.`)
}
