import { type Colour, parseTenantId } from '../tenants/tenant.ts'

/** canonical is a tenant's id as it is written everywhere. @throws TypeError when it is no UUID */
export function canonical(tenantId: string): string {
  const id = parseTenantId(tenantId)
  if (id === undefined) throw new TypeError('"tenantId" must be a UUID')
  return id
}

/** hexOf is the tenant's id in the names of its roles, schema and database: 32 hexadecimal digits. */
export function hexOf(tenantId: string): string {
  return canonical(tenantId).replaceAll('-', '')
}

/** loginName is the role by which a tenant logs in: `tb_<32 hex digits>` (blue) or `tg_<32 hex digits>` (green). */
export function loginName(tenantId: string, colour: Colour): string {
  return `${colour === 'blue' ? 'tb' : 'tg'}_${hexOf(tenantId)}`
}

/** ownerName is the role that owns the tables in a tenant's own schema or database; it cannot log in. */
export function ownerName(tenantId: string): string {
  return `to_${hexOf(tenantId)}`
}

/** userName is the role that has the verbs on a tenant's own tables; its logins inherit it, and it cannot log in. */
export function userName(tenantId: string): string {
  return `tu_${hexOf(tenantId)}`
}

/** spaceName is what a tenant's own schema is called, and a tenant's own database. */
export function spaceName(tenantId: string): string {
  return `t_${hexOf(tenantId)}`
}

/** migratorPrefix begins the names of the logins by which a tenant's own tables are migrated. */
export function migratorPrefix(tenantId: string): string {
  return `tm_${hexOf(tenantId)}_`
}

/**
 * TENANT_LOGIN is the pattern, for `~` in PostgreSQL, of the names of all logins that a tenant may have: its own two,
 * its visitors' and its migrators'. The tenant's id is the 32 hexadecimal digits in it. The login that the tenants of
 * placement `row` have in common is the service's and not among them.
 */
export const TENANT_LOGIN = '^(t[bg]_[0-9a-f]{32}|tc_[0-9a-f]{8}_[0-9a-f]{32}|tm_[0-9a-f]{32}_[0-9a-f]+)$'
