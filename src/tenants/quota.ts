import { LessorError } from '../errors.ts'
import type { Quota } from './tenant.ts'

/** MAX_WEIGHT is the largest weight that a quota may give. */
export const MAX_WEIGHT = 100

/**
 * parseQuota checks what a tenant may use; `maxConnections` is the most that the service gives to anyone.
 * @throws LessorError INVALID_REQUEST
 */
export function parseQuota({ connections, weight }: Quota, maxConnections: number): Quota {
  return {
    ...(connections !== undefined && { connections: parseCount('connections', connections, maxConnections) }),
    ...(weight !== undefined && { weight: parseCount('weight', weight, MAX_WEIGHT) }),
  }
}

function parseCount(name: keyof Quota, value: number, maximum: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= maximum) return value
  const message = `must be an integer from 1 to ${maximum}`
  throw new LessorError('INVALID_REQUEST', `The quota's ${name} ${message}.`, {
    errors: [{ in: 'body', path: `/quota/${name}`, message }],
  })
}
