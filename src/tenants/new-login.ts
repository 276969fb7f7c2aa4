import type { AdminDb, Placement, RoleLimits } from '../placement/placement.ts'
import { scramVerifier } from '../placement/scram.ts'
import type { Connect, Pools } from '../pool/contract.ts'
import type { Db } from '../pool/statement.ts'
import type { Secret } from '../secret.ts'
import type { DataServers } from '../servers/data-servers.ts'
import type { Vault } from '../vault/vault.ts'
import { findLogin, saveCredential } from './credential-store.ts'
import { ClaimLostError } from './jobs.ts'
import { credentialContext, openLogin, type Placements, requirePlacement } from './login.ts'
import { checkLogin } from './login-check.ts'
import type { Colour, Tenant } from './tenant.ts'

export interface NewLoginOptions {
  readonly db: Db
  readonly servers: Pick<DataServers, 'address' | 'admin' | 'runtime'>
  readonly placements: Placements
  readonly vault: Pick<Vault, 'seal' | 'open' | 'keyId'>
  readonly connect: Connect
  readonly pools: Pick<Pools, 'reserve'>
  /** What one login role can take from its server. */
  readonly limits: () => RoleLimits
  /** Longest time to try out a new login. */
  readonly checkTimeoutMs: number
}

/** Place is where a tenant lives, and how. */
export interface Place {
  readonly placement: Placement
  readonly admin: AdminDb
}

/** NewLogin is one colour's login of a tenant that is not in use yet. */
export interface NewLogin {
  readonly tenantId: string
  readonly colour: Colour
  readonly place: Place
}

/** placeOf finds where a tenant lives. @throws LessorError PLACEMENT_UNAVAILABLE, SERVER_NOT_FOUND */
export async function placeOf(
  options: Pick<NewLoginOptions, 'placements' | 'servers'>,
  tenant: Pick<Tenant, 'placement' | 'server'>,
): Promise<Place> {
  return {
    placement: requirePlacement(options.placements, tenant.placement),
    admin: await options.servers.admin(tenant.server),
  }
}

/** NewLogins are the steps to a login that works: each can be run again. */
export class NewLogins {
  readonly #options: NewLoginOptions

  constructor(options: NewLoginOptions) {
    this.#options = options
  }

  /** make makes the role; the server gets a verifier and never the password. */
  async make({ tenantId, colour, place }: NewLogin, password: Secret): Promise<void> {
    const verifier = scramVerifier(password)
    const limits = this.#options.limits()
    await place.placement.provision(place.admin, { tenantId, colour, verifier, limits })
  }

  async seal({ tenantId, colour }: NewLogin, password: Secret): Promise<void> {
    const { db, vault } = this.#options
    const envelope = await vault.seal(password.reveal(), credentialContext(tenantId))
    await saveCredential(db, { tenantId, colour, envelope, keyId: vault.keyId(envelope) })
  }

  /**
   * check goes the way that the pool will go, from the stored credential to a login, on one
   * connection of the budgets.
   * @throws LessorError POOL_OPEN_FAILED, POOL_SATURATED, SHUTTING_DOWN, and what Placement.check throws
   */
  async check({ tenantId, colour, place }: NewLogin): Promise<void> {
    const { db, connect, pools, checkTimeoutMs } = this.#options
    const sealed = await findLogin(db, tenantId, colour)
    // Only whoever took the job over removes the row.
    if (sealed === undefined) throw new ClaimLostError()
    const target = await openLogin(this.#options, sealed)
    await checkLogin({
      connect,
      pools,
      placement: place.placement,
      target,
      tenantId,
      timeoutMs: checkTimeoutMs,
    })
  }
}
