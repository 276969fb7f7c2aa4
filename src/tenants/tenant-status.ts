import { LessorError } from '../errors.ts'
import type { LoginBlock, Offence, TenantStatus } from './tenant.ts'

interface Move {
  readonly from: readonly TenantStatus[]
  readonly to: TenantStatus
  /** Whether the tenant's older pools must drain. */
  readonly newGeneration: boolean
}

/**
 * MOVES is every way from one status to another:
 *
 *     provisioning -> active <-> suspended
 *     active, suspended -> deleting -> deleted
 *
 * An onboarding that fails removes the row; `provisioning` leads nowhere else.
 */
export const MOVES = {
  activate: { from: ['provisioning'], to: 'active', newGeneration: false },
  suspend: { from: ['active'], to: 'suspended', newGeneration: true },
  resume: { from: ['suspended'], to: 'active', newGeneration: false },
  delete: { from: ['active', 'suspended'], to: 'deleting', newGeneration: true },
  bury: { from: ['deleting'], to: 'deleted', newGeneration: false },
} as const satisfies Record<string, Move>
export type MoveName = keyof typeof MOVES

/** assertActive lets requests reach active tenants only. @throws LessorError */
export function assertActive(status: TenantStatus): void {
  switch (status) {
    case 'active':
      return
    case 'suspended':
      throw new LessorError('TENANT_SUSPENDED')
    case 'provisioning':
    case 'deleting':
      throw new LessorError('TENANT_NOT_ACTIVE', `The tenant is ${status}.`)
    case 'deleted':
      throw new LessorError('TENANT_NOT_FOUND')
  }
}

/** assertUsable lets requests reach active tenants whose login is not blocked. @throws LessorError */
export function assertUsable({
  block,
  status,
}: {
  readonly status: TenantStatus
  readonly block?: LoginBlock | null
}): void {
  assertActive(status)
  if (block) throw loginBlocked(block)
}

/** What a login did, after "since its sessions". */
const DEEDS: Readonly<Record<Offence, string>> = {
  locks: 'held too many locks',
  'predicate-locks': 'held too many locks of serializable transactions',
  blocking: 'made others wait for locks',
  transaction: 'kept transactions open for too long',
  notify: 'kept the queue of notifications full',
  autovacuum: 'held up autovacuum by functions in indexes',
  sessions: 'took places that others needed',
}

function loginBlocked({ blockedAt, reason }: LoginBlock): LessorError {
  return new LessorError(
    'LOGIN_BLOCKED',
    `The tenant's database login is blocked since ${blockedAt}, since its sessions ${DEEDS[reason]} again and again. ` +
      'It works again when an operator rotates the credential or lifts the block.',
  )
}

/** statusConflict says that a tenant's status does not allow what was asked. */
export function statusConflict(status: TenantStatus, action: string): LessorError {
  return new LessorError('TENANT_STATUS_CONFLICT', `A tenant that is ${status} cannot be ${action}.`)
}
