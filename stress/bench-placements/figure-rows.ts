import { PLACEMENTS } from '../../src/tenants/tenant.ts'
import { CALLERS } from './hot.ts'
import { MANY } from './options.ts'
import type { LoadFigures, PlacementFigures, PlacementsOutcome } from './outcome.ts'
import { BUDGET, CONNECTIONS } from './settings.ts'

/** FigureRow is one figure of the four placements: as ratios to role, and as this machine did. */
export interface FigureRow {
  readonly title: string
  /** In the order of PLACEMENTS, for any machine. */
  readonly ratios: readonly string[]
  /** In the order of PLACEMENTS, of this machine; absent where that is the same. */
  readonly absolute?: readonly string[]
}

const NONE = '–'
const MEGABYTE = 1_000_000

/** figureRows is an outcome as rows of a table. */
export function figureRows({ figures, tenants }: PlacementsOutcome): readonly FigureRow[] {
  const row = (
    title: string,
    ratio: (each: PlacementFigures) => string,
    absolute?: (each: PlacementFigures) => string,
  ): FigureRow => ({
    title,
    ratios: PLACEMENTS.map((placement) => ratio(figures[placement])),
    ...(absolute && { absolute: PLACEMENTS.map((placement) => absolute(figures[placement])) }),
  })
  const load = (who: string, of: (each: PlacementFigures) => LoadFigures) => [
    row(
      `throughput, ${who}`,
      (each) => fixed(of(each).throughputRatio),
      (each) => `${of(each).requestsPerSecond.toFixed(0)}/s`,
    ),
    row(
      `median latency, ${who}`,
      (each) => fixed(of(each).p50Ratio),
      (each) => ms(of(each).p50),
    ),
    row(
      `99th percentile, ${who}`,
      (each) => fixed(of(each).p99Ratio),
      (each) => ms(of(each).p99),
    ),
    row(
      `CPU of the service for a request, ${who}`,
      (each) => known(of(each).cpuRatio, fixed),
      (each) => known(of(each).cpuMicros, micros),
    ),
    row(
      `CPU of the server for a request, ${who}`,
      (each) => known(of(each).sessionCpuRatio, fixed),
      (each) => known(of(each).sessionCpuMicros, micros),
    ),
  ]
  return [
    ...load(ONE, (each) => each.one),
    ...load(SEVERAL, (each) => each.many),
    row(
      'first request after an eviction',
      (each) => fixed(each.firstRequest.ratio),
      (each) => ms(each.firstRequest.ms),
    ),
    row(
      'onboarding, one after the other',
      (each) => fixed(each.onboarding.ratio),
      (each) => ms(each.onboarding.ms),
    ),
    row(
      'onboarding in a batch, each',
      ({ batch }) => (batch === undefined ? NONE : batch.ratio.toFixed(4)),
      ({ batch }) => (batch === undefined ? NONE : ms(batch.ms)),
    ),
    row(
      `migrating ${tenants} tenants, one more table`,
      (each) => fixed(each.fleet.ratio),
      (each) => ms(each.fleet.ms),
    ),
    row(`connections of ${tenants} active tenants`, ({ connections }) => String(connections)),
    row('memory of one connection at the server', ({ sessionBytes }) => megabytes(sessionBytes)),
    row('memory at the server, 1,000 active tenants', ({ serverBytesPerTenant }) =>
      megabytes(serverBytesPerTenant, 1000),
    ),
    row('memory in the service, 1,000 active tenants', ({ serviceBytesPerTenant }) =>
      megabytes(serviceBytesPerTenant, 1000),
    ),
    row('disk of 1,000 empty tenants', ({ diskBytesPerTenant }) => megabytes(diskBytesPerTenant, 1000)),
  ]
}

export const ONE = `one tenant, ${CALLERS} callers, ${CONNECTIONS} connections`
export const SEVERAL = `${MANY} tenants, ${CALLERS} callers, ${BUDGET} connections`

function fixed(value: number): string {
  return value.toFixed(value < 0.1 ? 3 : 2)
}

function known(value: number | undefined, format: (value: number) => string): string {
  return value === undefined ? NONE : format(value)
}

function micros(value: number): string {
  return `${value.toFixed(0)} µs`
}

function ms(value: number): string {
  return `${value.toFixed(value < 1 ? 2 : 1)} ms`
}

function megabytes(bytes: number | undefined, times = 1): string {
  if (bytes === undefined) return NONE
  const value = (times * bytes) / MEGABYTE
  return `${value.toFixed(value < 10 ? 1 : 0)} MB`
}
