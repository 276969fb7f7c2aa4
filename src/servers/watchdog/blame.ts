import { conflict, isOfRows } from './lock-modes.ts'
import { isLogin, tenantOf } from './offender.ts'
import type { Blocker, Sight, Wait } from './sight.ts'

/** BlameLimits is how long others may wait for a login that is not their tenant's. */
export interface BlameLimits {
  readonly blockingMs: number
  /** The same where ordinary statements are in the way: no request of the service takes so long. */
  readonly requestMs: number
}

/** Suspect is a blocker of a tenant's. */
export interface Suspect extends Blocker {
  readonly login: string
  /** Age of its transaction, or for how long it has been waited for. */
  readonly heldMs: number
  /** Whether it waits itself, for another tenant or for none. */
  readonly isHeldUp: boolean
}

/**
 * isGuilty says whether a wait is the fault of what blocks it. A tenant could make a neighbour look guilty by asking for a lock
 * that excludes the neighbour's ordinary statements; so what such statements take is never a fault where a tenant
 * waits, and elsewhere only once the transaction is older than any request of the service. Nor is a neighbour's
 * transaction long by its own fault while it is held up.
 */
export function isGuilty(
  wait: Wait,
  { heldMs, held, isHeldUp, login, wanted }: Suspect,
  limits: BlameLimits,
): boolean {
  const isTenant = wait.login !== null && isLogin(wait.login)
  if (wait.login !== null && isTenant && tenantOf(wait.login) === tenantOf(login)) return false
  if (wait.waitedMs < limits.blockingMs) return false
  const isLong = heldMs >= limits.requestMs && !(isTenant && isHeldUp)
  switch (wait.locktype) {
    case 'relation': {
      const inTheWay = [...held, ...wanted].filter((mode) => conflict(mode, wait.mode))
      if (inTheWay.some((mode) => !isOfRows(mode))) return true
      return !isTenant && held.some((mode) => conflict(mode, wait.mode)) && isLong
    }
    // Some commands ask for one before it is looked whether they may, as DROP SCHEMA for another's; its owner has it
    // for whatever it makes there. What is not allowed keeps none, but it may stand in the queue for it.
    case 'object':
      return !isTenant || (isHeldUp && wanted.some((mode) => conflict(mode, wait.mode) && !isOfRows(mode)))
    case 'transactionid':
    case 'tuple':
      return wait.isCatalogRow || (!isTenant && wait.isCatalogKey) || isLong
    // A room of keys that the tenants of a database share, and a wait for those who are at work there.
    case 'advisory':
    case 'virtualxid':
      return !isTenant && isLong
    default:
      return isLong
  }
}

/** isOthersFault says whether a session waits for another one than its own tenant's. */
export function isOthersFault({ blockers }: Wait, login: string, { prepared, sessions }: Sight): boolean {
  return blockers.some(({ gid, pid }) => {
    const other =
      gid === null ? sessions.find((each) => each.pid === pid) : prepared.find((each) => each.gid === gid)
    return other === undefined || tenantOf(other.login) !== tenantOf(login)
  })
}
