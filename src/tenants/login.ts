import { LessorError } from '../errors.ts'
import type { Placement } from '../placement/placement.ts'
import { type ConnectionTarget, wayOf } from '../pool/contract.ts'
import { Secret } from '../secret.ts'
import type { DataServers } from '../servers/data-servers.ts'
import type { SealContext, Vault } from '../vault/vault.ts'
import type { SealedLogin } from './credential-store.ts'
import type { PlacementName } from './tenant.ts'

/** Placements is the placements that this service offers, by name. */
export type Placements = ReadonlyMap<PlacementName, Placement>

export interface LoginOptions {
  readonly vault: Pick<Vault, 'open'>
  readonly servers: Pick<DataServers, 'address' | 'runtime'>
  readonly placements: Placements
}

/** credentialContext binds a sealed password to its tenant. */
export function credentialContext(tenantId: string): SealContext {
  return { tenantId, purpose: 'tenant-credential' }
}

/** requirePlacement finds a placement. @throws LessorError PLACEMENT_UNAVAILABLE */
export function requirePlacement(placements: Placements, name: PlacementName): Placement {
  const placement = placements.get(name)
  if (placement !== undefined) return placement
  const offered = [...placements.keys()].join(', ')
  throw new LessorError(
    'PLACEMENT_UNAVAILABLE',
    `The placement "${name}" is not available; available is ${offered}.`,
  )
}

/**
 * openLogin opens a sealed credential into what a connection is made from; where tenants have no login of
 * their own, it is the data server's.
 * @throws LessorError VAULT_OPEN_FAILED, PLACEMENT_UNAVAILABLE, SERVER_NOT_FOUND, SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE
 */
export async function openLogin(options: LoginOptions, sealed: SealedLogin): Promise<ConnectionTarget> {
  const { tenantId, quota } = sealed
  const placement = requirePlacement(options.placements, sealed.placement)
  const login = placement.login(tenantId, sealed.colour)
  const address = await options.servers.address(sealed.server)
  const { name: server, database } = address
  const { user, password } = placement.hasOwnLogin
    ? { user: login.user, password: await openPassword(options, sealed) }
    : await options.servers.runtime(server)
  return {
    server,
    ...wayOf(address),
    database: login.database ?? database,
    user,
    password,
    parameters: { application_name: 'lessor', ...login.parameters },
    ...(!placement.hasOwnLogin && { isShared: true }),
    ...(quota.connections !== undefined && { maxConnections: quota.connections }),
    ...(quota.weight !== undefined && { weight: quota.weight }),
  }
}

async function openPassword({ vault }: LoginOptions, { envelope, tenantId }: SealedLogin): Promise<Secret> {
  if (envelope === null) throw new LessorError('VAULT_OPEN_FAILED', 'The tenant has no credential.')
  const plaintext = await vault.open(envelope, credentialContext(tenantId))
  const password = new Secret(plaintext.toString('utf8'))
  plaintext.fill(0)
  return password
}
