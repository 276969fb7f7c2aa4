import { type ScriptDb, sql } from '../pool/statement.ts'
import { afterClashes } from './after-clashes.ts'
import { distributeTables } from './citus.ts'
import type { DataFiles } from './data-files.ts'
import { ensureGroupRoles, KEEPER, OWNER, ROW_RUNTIME, TENANTS } from './group-roles.ts'
import { requireSafeVersion } from './server-version.ts'

/** SHARED_SCHEMA holds the tables that tenants share. */
export const SHARED_SCHEMA = 'app'

const SCHEMA_SCRIPT = `
do $$
declare
  role_name text;
begin
  if to_regnamespace('${SHARED_SCHEMA}') is null then
    create schema ${SHARED_SCHEMA} authorization ${OWNER};
    revoke all on schema ${SHARED_SCHEMA} from public;
  end if;
  foreach role_name in array array['${TENANTS}', '${ROW_RUNTIME}', '${KEEPER}'] loop
    if not has_schema_privilege(role_name, '${SHARED_SCHEMA}', 'usage') then
      execute format('grant usage on schema ${SHARED_SCHEMA} to %I', role_name);
    end if;
  end loop;
end $$`

/**
 * prepareSharedTables makes a data server ready for the placements whose tables are shared. Safe from several
 * starters at once.
 * @throws LessorError PLACEMENT_UNAVAILABLE when the server cannot keep tenants apart
 */
export async function prepareSharedTables(admin: ScriptDb, files: DataFiles): Promise<void> {
  await requireSafeVersion(admin)
  await ensureGroupRoles(admin)
  await afterClashes(() => admin.script(SCHEMA_SCRIPT))
  await files.walls(admin)
  await files.sharedTables(admin)
  await afterClashes(() => protectAgain(admin))
  await distributeTables(admin)
}

/** Tables of the first release let the runtime login of `row` in once they are protected again, for the same verbs. */
async function protectAgain(admin: ScriptDb): Promise<void> {
  await admin.query(sql`
    select lessor.protect(c.oid::regclass, (
      select array_agg(lower(privilege_type)) from aclexplode(c.relacl)
      where grantee = to_regrole(${TENANTS}) and privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')))
    from pg_policy p
    join pg_class c on c.oid = p.polrelid
    where c.relnamespace = to_regnamespace(${SHARED_SCHEMA}) and p.polname = 'tenant_by_setting'
      and not to_regrole(${ROW_RUNTIME})::oid = any (p.polroles)
      and exists (select from aclexplode(c.relacl) where grantee = to_regrole(${TENANTS}))`)
}
