import { TENANT_LOGIN } from '../../placement/tenant-names.ts'
import { parseTenantId } from '../../tenants/tenant.ts'

const LOGIN = new RegExp(TENANT_LOGIN)
const MIGRATOR = /^tm_[0-9a-f]{32}_/
const VISITOR = /^tc_/
const SPACE = /^t_([0-9a-f]{32})$/
const HEX = /[0-9a-f]{32}/

/** isLogin says whether a role's name is that of a tenant's login. */
export function isLogin(name: string): boolean {
  return LOGIN.test(name)
}

/** isMigrator says whether a tenant's login migrates its own tables. */
export function isMigrator(login: string): boolean {
  return MIGRATOR.test(login)
}

/** isVisitor says whether a tenant's login was made for a person. */
export function isVisitor(login: string): boolean {
  return VISITOR.test(login)
}

/** tenantOf is the id of the tenant that a login is of. @throws Error for a name that is no tenant's login */
export function tenantOf(login: string): string {
  const id = isLogin(login) ? parseTenantId(HEX.exec(login)?.[0] ?? '') : undefined
  if (id === undefined) throw new Error('bug: the login is not of a tenant')
  return id
}

/** spaceTenant is the id of the tenant that a schema or a database is of; undefined when it is of none. */
export function spaceTenant(name: string): string | undefined {
  return parseTenantId(SPACE.exec(name)?.[1] ?? '')
}
