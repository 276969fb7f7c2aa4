import { type ScriptDb, sql } from '../pool/statement.ts'
import { hexOf, loginName, migratorPrefix } from './tenant-names.ts'

/**
 * loginsOf lists the logins that a tenant has on a data server: its own, its visitors' and its migrators'. A server may
 * have very many roles, so that these are looked up by index as far as the names allow.
 */
export async function loginsOf(admin: ScriptDb, tenantId: string): Promise<readonly string[]> {
  const prefix = migratorPrefix(tenantId)
  const rows = await admin.query<{ name: string }>(sql`
    select rolname::text as name from pg_roles
    where rolname in (${loginName(tenantId, 'blue')}, ${loginName(tenantId, 'green')})
    union all
    select rolname::text from pg_roles where rolname >= ${prefix} and rolname < ${`${prefix}g`}
    union all
    select rolname::text from pg_roles
    where rolname >= 'tc_' and rolname < 'td' and rolname ~ ('^tc_[0-9a-f]{8}_' || ${hexOf(tenantId)}::text || '$')`)
  return rows.map(({ name }) => name)
}
