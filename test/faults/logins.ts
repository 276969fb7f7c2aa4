import type { Opening } from '../support/opening.ts'

/** TENANT_LOGIN is what tenants' roles are called in the placement `role`. */
export const TENANT_LOGIN = /^t[bg]_[0-9a-f]{32}$/

/** isTenant tells sessions of tenants. */
export function isTenant(opening: Opening): boolean {
  return opening.kind === 'session' && TENANT_LOGIN.test(opening.user)
}

/** isControl tells the service's sessions at the control database. */
export function isControl(opening: Opening): boolean {
  return opening.kind === 'session' && opening.application === 'lessor control'
}

/** isLoginOf returns what tells the sessions of one tenant. */
export function isLoginOf(tenantId: string): (opening: Opening) => boolean {
  const suffix = tenantId.replaceAll('-', '')
  return (opening) => isTenant(opening) && opening.kind === 'session' && opening.user.endsWith(suffix)
}
