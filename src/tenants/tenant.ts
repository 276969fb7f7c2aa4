import type { TenantJob } from './job.ts'

/** PLACEMENTS is where a tenant's rows live and what walls them off. */
export const PLACEMENTS = ['row', 'role', 'schema', 'database'] as const
export type PlacementName = (typeof PLACEMENTS)[number]

export const TENANT_STATUSES = ['provisioning', 'active', 'suspended', 'deleting', 'deleted'] as const
export type TenantStatus = (typeof TENANT_STATUSES)[number]

/** COLOURS names a tenant's two logins; one is in use, rotation makes the other one, then flips. */
export const COLOURS = ['blue', 'green'] as const
export type Colour = (typeof COLOURS)[number]

/** otherColour is the login that is not in use while this one is. */
export function otherColour(colour: Colour): Colour {
  return colour === 'blue' ? 'green' : 'blue'
}

/** OFFENCES is why the watchdog of a data server ends what a tenant's login does there. */
export const OFFENCES = [
  'locks',
  'predicate-locks',
  'blocking',
  'transaction',
  'notify',
  'autovacuum',
  'sessions',
] as const
export type Offence = (typeof OFFENCES)[number]

/** LoginBlock is why a tenant's login is blocked, and since when. */
export interface LoginBlock {
  readonly reason: Offence
  /** RFC 3339, in UTC. */
  readonly blockedAt: string
}

/** UnsettledLogins says that a tenant's logins on the data server may not be what its status wants. */
export interface UnsettledLogins {
  readonly wanted: 'open' | 'closed'
  readonly attempts: number
  /** Code of the last attempt's failure. */
  readonly error: string | null
}

/** Quota is what a tenant may use at most; an absent limit is the service's own. */
export interface Quota {
  /** Database connections of this tenant in one process. */
  readonly connections?: number
  /** The tenant's part where connections are short, from 1 to 100; 1 by default. */
  readonly weight?: number
}

/** Tenant is one isolated data store in a namespace. */
export interface Tenant {
  readonly id: string
  readonly name: string
  /** Name of the namespace that owns it. */
  readonly namespace: string
  readonly namespaceId: string
  readonly placement: PlacementName
  /** Name of the data server that holds it. */
  readonly server: string
  readonly status: TenantStatus
  /** Goes up whenever older pools must drain. */
  readonly generation: number
  /** The login in use. */
  readonly colour: Colour
  readonly quota: Quota
  /** Number of the last migration of sql/app in its own tables; null where its tables are shared. */
  readonly schemaVersion: number | null
  /** Its own partitions of the shared tables; null where its rows are with everybody else's. */
  readonly partition: TenantPartition | null
  /** Null while its login may log in. */
  readonly block: LoginBlock | null
  /** What is left to do so that its logins follow its status; null when nothing is. */
  readonly unsettledLogins: UnsettledLogins | null
  readonly createdAt: Date
  readonly updatedAt: Date
  /** What is being done with it; null most of the time. */
  readonly job: TenantJob | null
}

/** TenantPartition is where a promoted tenant's rows lie. */
export interface TenantPartition {
  /** Null is the database's own. */
  readonly tablespace: string | null
  /** RFC 3339, in UTC. */
  readonly promotedAt: string
}

/** TenantRef is what a request carries of its tenant: enough to lease its pool without a look-up. */
export interface TenantRef {
  readonly tenantId: string
  readonly generation: number
  readonly namespaceId: string
  readonly status: TenantStatus
  /** Why its login is blocked; absent while it is not. */
  readonly block?: LoginBlock
}

const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i

/** parseTenantId returns the canonical lower-case form of a UUID, or undefined when it is none. */
export function parseTenantId(text: string): string | undefined {
  if (!UUID.test(text)) return undefined
  const hex = text.replaceAll('-', '').toLowerCase()
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
