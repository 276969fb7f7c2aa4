import { type Load, median, medians } from '../bench/figures.ts'
import type { Footprint } from './footprint.ts'
import { type PerPlacement, perPlacement } from './house.ts'

/** Measured is all that one run measured. Times are in milliseconds, sizes in bytes. */
export interface Measured {
  readonly tenants: number
  readonly one: readonly PerPlacement<Load>[]
  readonly many: readonly PerPlacement<Load>[]
  readonly firstRequestMs: PerPlacement<number>
  readonly onboardingMs: PerPlacement<number>
  /** Of one tenant in a batch of placement row. */
  readonly batchMs: number
  readonly footprints: PerPlacement<Footprint>
  /** Of an empty tenant's own tables. */
  readonly diskBytes: PerPlacement<number>
  readonly fleetMs: PerPlacement<number>
}

/** LoadFigures is a placement under load; each ratio is the median over rounds of its figure over that of role. */
export interface LoadFigures extends Load {
  readonly throughputRatio: number
  readonly p50Ratio: number
  readonly p99Ratio: number
  /** Undefined where the system does not tell. */
  readonly cpuRatio: number | undefined
  readonly sessionCpuRatio: number | undefined
  /** Lowest and highest throughput ratio of the rounds. */
  readonly throughputRatios: readonly [number, number]
}

/** Timed is a time and its ratio to that of role. */
export interface Timed {
  readonly ms: number
  readonly ratio: number
}

/** PlacementFigures is one placement's column. */
export interface PlacementFigures {
  readonly one: LoadFigures
  readonly many: LoadFigures
  readonly firstRequest: Timed
  readonly onboarding: Timed
  /** Undefined where there is no onboarding in batches. */
  readonly batch: Timed | undefined
  /** Of all active tenants. */
  readonly connections: number
  /** Memory of one session at the server; undefined where the system does not tell. */
  readonly sessionBytes: number | undefined
  /** For each active tenant; undefined where the sessions are as many for any number of tenants. */
  readonly serverBytesPerTenant: number | undefined
  readonly serviceBytesPerTenant: number
  readonly diskBytesPerTenant: number
  /** Of all tenants. */
  readonly fleet: Timed
}

/** PlacementsOutcome is what tables and plots are made of. */
export interface PlacementsOutcome {
  /** Tenants of each placement. */
  readonly tenants: number
  readonly figures: PerPlacement<PlacementFigures>
  readonly targets: readonly { readonly target: string; readonly met: boolean }[]
}

/** ROW_TARGET is the part of role's throughput that row should have. */
export const ROW_TARGET = 0.75

/** placementsOutcome compares the placements with role, within the run. */
export function placementsOutcome(measured: Measured): PlacementsOutcome {
  const { tenants, footprints, diskBytes } = measured
  const one = compare(measured.one)
  const many = compare(measured.many)
  const firstRequest = timed(measured.firstRequestMs)
  const onboarding = timed(measured.onboardingMs)
  const fleet = timed(measured.fleetMs)
  const batch = { ms: measured.batchMs, ratio: measured.batchMs / measured.onboardingMs.role }
  const figures = perPlacement((placement): PlacementFigures => {
    const { connections, serverBytes, serviceBytes } = footprints[placement]
    return {
      one: one[placement],
      many: many[placement],
      firstRequest: firstRequest[placement],
      onboarding: onboarding[placement],
      batch: placement === 'row' ? batch : undefined,
      connections,
      sessionBytes: serverBytes === undefined ? undefined : serverBytes / connections,
      serverBytesPerTenant:
        placement === 'row' || serverBytes === undefined ? undefined : serverBytes / tenants,
      serviceBytesPerTenant: serviceBytes / tenants,
      diskBytesPerTenant: diskBytes[placement],
      fleet: fleet[placement],
    }
  })
  return {
    tenants,
    figures,
    targets: [
      {
        target: `row, one tenant: ${ROW_TARGET} or more of role's throughput`,
        met: figures.row.one.throughputRatio >= ROW_TARGET,
      },
    ],
  }
}

function compare(rounds: readonly PerPlacement<Load>[]): PerPlacement<LoadFigures> {
  return perPlacement((placement) => {
    const ratios = (figure: (load: Load) => number) =>
      rounds.map((round) => figure(round[placement]) / figure(round.role))
    const throughput = ratios((load) => load.requestsPerSecond)
    return {
      ...medians(rounds.map((round) => round[placement])),
      throughputRatio: median(throughput),
      p50Ratio: median(ratios((load) => load.p50)),
      p99Ratio: median(ratios((load) => load.p99)),
      cpuRatio: medianOf(ratios((load) => load.cpuMicros ?? Number.NaN)),
      sessionCpuRatio: medianOf(ratios((load) => load.sessionCpuMicros ?? Number.NaN)),
      throughputRatios: [Math.min(...throughput), Math.max(...throughput)],
    }
  })
}

function medianOf(ratios: readonly number[]): number | undefined {
  const known = ratios.filter(Number.isFinite)
  return known.length === 0 ? undefined : median(known)
}

function timed(times: PerPlacement<number>): PerPlacement<Timed> {
  return perPlacement((placement) => ({ ms: times[placement], ratio: times[placement] / times.role }))
}
