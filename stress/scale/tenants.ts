import type { Caller, ConnectionTarget, PoolKey } from '../../src/pool/contract.ts'
import { Secret } from '../../src/secret.ts'

/** CALLER never goes away. */
export const CALLER: Caller = new AbortController()

/** keyOf makes the key of tenant n; every call makes new strings, as every request does. */
export function keyOf(n: number): PoolKey {
  return { tenantId: `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`, generation: 1 }
}

/** numberOf tells which tenant it is. */
export function numberOf({ tenantId }: Pick<PoolKey, 'tenantId'>): number {
  return Number.parseInt(tenantId.slice(-12), 16)
}

/** targetOf is a login as the service makes one: what differs from tenant to tenant is a string of its own. */
export function targetOf({ tenantId }: PoolKey): ConnectionTarget {
  const hex = tenantId.replaceAll('-', '')
  return {
    server: 'default',
    host: '127.0.0.1',
    port: 5432,
    database: 'postgres',
    user: `tb_${hex}`,
    password: new Secret(Buffer.from(hex).toString('base64url')),
    tls: 'disable',
    parameters: { application_name: 'lessor' },
  }
}
