import { LessorError } from '../errors.ts'
import type { TenantStatus } from './tenant.ts'

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

/** statusConflict says that a tenant's status does not allow what was asked. */
export function statusConflict(status: TenantStatus, action: string): LessorError {
  return new LessorError('TENANT_STATUS_CONFLICT', `A tenant that is ${status} cannot be ${action}.`)
}
