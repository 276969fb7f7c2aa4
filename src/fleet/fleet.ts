import type { PlacementName } from '../tenants/tenant.ts'

/** FleetFilter is whom a run is for; an empty list means all. */
export interface FleetFilter {
  readonly servers: readonly string[]
  readonly placements: readonly PlacementName[]
  /** Ids. */
  readonly tenants: readonly string[]
}

/** FailureLimit is how many tenants of a run may fail: a number, or a part of all of them. */
export type FailureLimit =
  | { readonly kind: 'count'; readonly count: number }
  | { readonly kind: 'percent'; readonly percent: number }

/** FleetOptions is how a run goes about it. */
export interface FleetOptions {
  /** Ids of those who go first. When empty, the newest `canaryCount` do: they tend to be small. */
  readonly canaries: readonly string[]
  readonly canaryCount: number
  /** Tenants of the first wave; each next one is twice as large, up to WAVE_MAX_SIZE. */
  readonly waveSize: number
  /** Pause after the canaries and after each wave. */
  readonly pauseMs: number
  /** Tenants at once. */
  readonly concurrency: number
  /** Tenants of one data server at once. */
  readonly serverConcurrency: number
  /** Longest wait for each lock, and so the longest that the tenant's requests wait behind it. */
  readonly lockTimeoutMs: number
  /** Tries for each tenant, the first one included. */
  readonly attempts: number
  readonly maxFailures: FailureLimit
}

/** FleetRequest is what `lessor migrate` was asked for. */
export interface FleetRequest {
  readonly filter: FleetFilter
  readonly options: FleetOptions
}

/** FleetTenant is a tenant with tables of its own, as a run needs it. */
export interface FleetTenant {
  readonly id: string
  readonly name: string
  readonly namespace: string
  readonly placement: PlacementName
  readonly server: string
}

/** StopReason is why a run ended before everybody was migrated. */
export type StopReason =
  /** A canary failed. */
  | 'canary'
  /** More tenants failed than may. */
  | 'failures'
  /** The shared tables of a data server could not be migrated. */
  | 'server'
  /** It was asked to stop. */
  | 'interrupted'
  /** Its claim ran out, and another process goes on with it. */
  | 'taken over'
  /** All have had their turn, and some of them failed. */
  | 'incomplete'

/** OUTCOMES is what becomes of a tenant in a run; a skipped one was deleted meanwhile. */
export const OUTCOMES = ['pending', 'done', 'failed', 'skipped'] as const
export type OutcomeState = (typeof OUTCOMES)[number]

/** Outcome is a tenant's turn in a run. */
export interface Outcome {
  readonly state: OutcomeState
  readonly attempts: number
  /** SQLSTATE or code of the last failure. */
  readonly error: string | null
  /** Names of the migrations that ran. */
  readonly ran: readonly string[]
  readonly ms: number
}

/** FleetFailure is a tenant that failed, or a data server whose shared tables did. */
export interface FleetFailure {
  readonly id: string
  readonly name: string
  readonly error: string
  readonly attempts: number
}

export type OutcomeCounts = Readonly<Record<OutcomeState, number>>

/** FleetReport is how a run ended. */
export interface FleetReport {
  readonly runId: string
  /** Number of the last file of sql/app. */
  readonly target: number
  readonly state: 'finished' | 'stopped'
  readonly reason: StopReason | null
  readonly counts: OutcomeCounts
  /** The first ones, FLEET_FAILURES_SHOWN at most. */
  readonly failures: readonly FleetFailure[]
  readonly ms: number
}

/** FLEET_FAILURES_SHOWN is how many failures a report names. */
export const FLEET_FAILURES_SHOWN = 20

/** FleetEvent is what happens in a run, for who watches it. */
export type FleetEvent =
  | {
      readonly kind: 'begin'
      readonly runId: string
      readonly target: number
      readonly resumed: boolean
      readonly counts: OutcomeCounts
      readonly failuresAllowed: number
    }
  | {
      readonly kind: 'server'
      readonly server: string
      readonly outcome: Outcome
    }
  | {
      readonly kind: 'wave'
      readonly canary: boolean
      /** From 1. */
      readonly number: number
      readonly size: number
    }
  | { readonly kind: 'retry'; readonly name: string; readonly error: string; readonly waitMs: number }
  | {
      readonly kind: 'tenant'
      readonly tenant: FleetTenant
      readonly canary: boolean
      readonly outcome: Outcome
    }
  | { readonly kind: 'stopping'; readonly reason: StopReason; readonly underWay: number }

/** FleetPreview is what a run would do to one data server's shared tables, or to one tenant. */
export interface FleetPreview {
  readonly server: string
  /** Undefined for the shared tables. */
  readonly tenant: FleetTenant | undefined
  readonly wouldRun: readonly string[]
  /** SQLSTATE or code, when it could not be found out. */
  readonly error: string | null
}
