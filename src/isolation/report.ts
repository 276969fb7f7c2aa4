import type { PlacementName } from '../tenants/tenant.ts'
import type { CatalogReport } from './check-catalog.ts'

/** IDENTITIES is whom `rls.tenant_id` names in the attacker's session; `unset` is a session that never heard of it. */
export const IDENTITIES = ['right', 'other', 'unset', 'empty', 'malformed', 'deleted'] as const
export type Identity = (typeof IDENTITIES)[number]

/** Trial is one attack that was tried. */
export interface Trial {
  readonly placement: PlacementName
  readonly server: string
  /** Whose session: `blue`, `green`, `owner` or `runtime`. */
  readonly role: string
  readonly identity: Identity
  /** The object's name in the catalog, or what else was attacked. */
  readonly object: string
  readonly attack: string
  readonly expected: string
  readonly outcome: string
  readonly holds: boolean
}

/** StageReport is what was tried in one placement on one data server. */
export interface StageReport {
  readonly placement: PlacementName
  readonly server: string
  readonly database: string
  /** Objects that the catalog had. */
  readonly objects: number
  readonly trials: number
  readonly failed: number
  /** What could not be tried, a sentence each. */
  readonly gaps: readonly string[]
}

/** IsolationReport is the outcome of a proof. */
export interface IsolationReport {
  /** Whether every rule and every trial held. */
  readonly held: boolean
  readonly version: string
  readonly startedAt: string
  readonly durationMs: number
  readonly stages: readonly StageReport[]
  readonly catalogs: readonly CatalogReport[]
  readonly trials: readonly Trial[]
}
