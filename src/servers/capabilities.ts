import type { PlacementName } from '../tenants/tenant.ts'

/** ENGINES is what may stand behind the PostgreSQL protocol, as far as the service treats them differently. */
export const ENGINES = ['postgresql', 'citus'] as const
export type Engine = (typeof ENGINES)[number]

/** Problem is why a data server does not carry a placement. */
export interface Problem {
  readonly placement: PlacementName
  readonly reason: string
}

/**
 * Capabilities is what a data server can do, found out by trying it (probe.ts). It is stored, and shown
 * to operators as it is, hence the names.
 */
export interface Capabilities {
  /** As the server says; for people, nothing is decided by it. */
  readonly version: string
  readonly engine: Engine
  /** The placements that it carries. */
  readonly placements: readonly PlacementName[]
  /** Whether a table can be partitioned by lists of values. */
  readonly partitions: boolean
  /** Tablespaces in which the administrator may make tables. */
  readonly tablespaces: readonly string[]
  /** Whether a notification reaches another session. */
  readonly notify: boolean
  /** Whether two sessions contend for an advisory lock. */
  readonly advisory_locks: boolean
  readonly create_database: boolean
  readonly create_role: boolean
  /** Why it does not carry the other placements. */
  readonly problems: readonly Problem[]
  /** What an operator should know, though nothing depends on it. */
  readonly notes: readonly string[]
}
