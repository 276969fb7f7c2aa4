import { LessorError } from '../errors.ts'
import type { Locate } from '../pool/contract.ts'
import type { Db } from '../pool/statement.ts'
import { findLogin } from './credential-store.ts'
import { type LoginOptions, openLogin } from './login.ts'
import { assertUsable } from './tenant-status.ts'

export interface LocateOptions extends LoginOptions {
  readonly db: Db
}

/**
 * makeLocate makes the pool engine's way to a tenant's login. It reads the control database itself,
 * so that a tenant suspended a moment ago gets no new pool, whatever a cache says.
 */
export function makeLocate(options: LocateOptions): Locate {
  return async ({ tenantId }, signal) => {
    signal.throwIfAborted()
    const sealed = await findLogin(options.db, tenantId)
    if (sealed === undefined) throw new LessorError('TENANT_NOT_FOUND')
    assertUsable(sealed)
    const target = await openLogin(options, sealed)
    signal.throwIfAborted()
    return target
  }
}
