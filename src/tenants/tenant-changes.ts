import type { Authenticator } from '../access/authenticator.ts'
import type { ChangeHandler, ReadChange } from '../control/changes.ts'
import type { EvictionReason, Pools } from '../pool/contract.ts'
import type { Db } from '../pool/statement.ts'
import type { DataServers } from '../servers/data-servers.ts'
import type { TenantStatus } from './tenant.ts'
import type { TenantDirectory } from './tenant-directory.ts'
import { findTenantRefs } from './tenant-store.ts'

export interface TenantChangesOptions {
  /** The control database. */
  readonly db: Db
  readonly directory: Pick<TenantDirectory, 'forget' | 'forgetAll'>
  readonly authenticator: Pick<Authenticator, 'forget' | 'forgetTenant' | 'forgetAll'>
  readonly pools: Pick<Pools, 'evict' | 'evictOlder' | 'forgive' | 'snapshots'>
  readonly servers: Pick<DataServers, 'reload'>
}

/** Found is what a tenant is now; nulls when it has no row any more. */
interface Found {
  readonly status: TenantStatus | null
  readonly generation: number | null
}

/**
 * TenantChanges does in this process what a change of a tenant, a key or a data server asks for, whichever process
 * made it. It goes by what the tenant is now, not by what it was when the change was made, so that a
 * change that comes late, or twice, does no harm.
 */
export class TenantChanges implements ChangeHandler {
  readonly #options: TenantChangesOptions

  constructor(options: TenantChangesOptions) {
    this.#options = options
  }

  apply({ kind, tenantId, keyId, ...found }: ReadChange): Promise<unknown> | undefined {
    const { authenticator, directory, pools, servers } = this.#options
    if (kind === 'server') return servers.reload()
    if (keyId) authenticator.forget(keyId)
    if (tenantId === null) return undefined
    directory.forget(tenantId)
    switch (kind) {
      case 'key':
        if (!keyId) authenticator.forgetTenant(tenantId)
        return undefined
      case 'deletion':
        authenticator.forgetTenant(tenantId)
        return this.#evict(tenantId, found)
      case 'rotation':
        pools.forgive(tenantId)
        return this.#evict(tenantId, found)
      case 'status':
      case 'quota': {
        pools.forgive(tenantId)
        const evicted = this.#evict(tenantId, found)
        // The sessions of a suspended tenant's logins are ended then.
        if (found.status === 'suspended') return evicted
        // Not waited for: requests under way may take as long as they may.
        return undefined
      }
    }
  }

  /** @throws LessorError CONTROL_UNAVAILABLE */
  async resync(): Promise<readonly Promise<unknown>[]> {
    const { authenticator, db, directory, pools, servers } = this.#options
    directory.forgetAll()
    authenticator.forgetAll()
    await servers.reload()
    const resident = [...new Set(pools.snapshots().map(({ tenantId }) => tenantId))]
    const found = new Map((await findTenantRefs(db, resident)).map((ref) => [ref.tenantId, ref]))
    return resident.map((tenantId) =>
      this.#evict(tenantId, found.get(tenantId) ?? { status: null, generation: null }),
    )
  }

  /** Evicts the tenant's older pools, all of them when it may not be used; resolves when they are closed. */
  #evict(tenantId: string, { status, generation }: Found): Promise<boolean> {
    const { pools } = this.#options
    if (status === null || generation === null) return pools.evict(tenantId, 'deletion')
    const reason = reasonOf(status)
    if (reason !== undefined) return pools.evict(tenantId, reason)
    return pools.evictOlder({ tenantId, generation }, 'rotation')
  }
}

/** Undefined for a tenant that may be used. */
function reasonOf(status: TenantStatus): EvictionReason | undefined {
  switch (status) {
    case 'active':
    case 'provisioning':
      return undefined
    case 'suspended':
      return 'suspension'
    case 'deleting':
    case 'deleted':
      return 'deletion'
  }
}
