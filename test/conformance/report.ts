import type { Capabilities } from '../../src/servers/capabilities.ts'
import type { PlacementName } from '../../src/tenants/tenant.ts'

/** Part is what one of the trials of a placement came to. */
export interface Part {
  readonly passed: number
  readonly failed: number
  /** What failed, a line each. */
  readonly failures: readonly string[]
}

/** PlacementReport is what is known of one placement on the server. */
export interface PlacementReport {
  readonly placement: PlacementName
  /** Whether the probe says that the server carries it. */
  readonly carried: boolean
  /** Why it does not. */
  readonly reason: string | null
  readonly users: Part | null
  readonly isolation: Part | null
}

/** ConformanceReport is the outcome of a run. */
export interface ConformanceReport {
  readonly database: string
  readonly capabilities: Capabilities
  readonly placements: readonly PlacementReport[]
  /** Whether every placement that was tried has passed, and one was. */
  readonly passed: boolean
}

const FAILURES_SHOWN = 20

/** hasPassed says whether a placement is carried and holds what it promises. */
export function hasPassed({ carried, users, isolation }: PlacementReport): boolean {
  return carried && [users, isolation].every((part) => part !== null && part.failed === 0 && part.passed > 0)
}

/** formatReport is the report for people: a table, and below it the reasons. */
export function formatReport({ database, capabilities, placements }: ConformanceReport): string {
  const { engine, version } = capabilities
  const rows = [
    ['placement', 'probe', 'users suite', 'isolation proof', 'result'],
    ...placements.map((each) => [
      each.placement,
      each.carried ? 'carried' : 'not carried',
      count(each.users),
      count(each.isolation),
      each.carried ? (hasPassed(each) ? 'pass' : 'FAIL') : '-',
    ]),
  ]
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  const lines = rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  const rule = widths.map((width) => '-'.repeat(width)).join('  ')
  const { partitions, notify, advisory_locks, tablespaces, notes } = capabilities
  return [
    `${engine} ${version}, database ${database}`,
    `partitions ${yes(partitions)}, notify ${yes(notify)}, advisory locks ${yes(advisory_locks)}, ` +
      `tablespaces ${tablespaces.join(' ') || 'none'}`,
    ...notes,
    '',
    lines[0] ?? '',
    rule,
    ...lines.slice(1),
    ...placements.flatMap(detailsOf),
  ].join('\n')
}

function detailsOf({ placement, reason, users, isolation }: PlacementReport): string[] {
  const failures = [
    ...(users?.failures ?? []).map((failure) => `users suite: ${failure}`),
    ...(isolation?.failures ?? []).map((failure) => `isolation proof: ${failure}`),
  ]
  const lines = [
    ...(reason === null ? [] : [reason]),
    ...failures.slice(0, FAILURES_SHOWN),
    ...(failures.length > FAILURES_SHOWN ? [`and ${failures.length - FAILURES_SHOWN} more`] : []),
  ]
  return lines.length === 0 ? [] : ['', `${placement}:`, ...lines.map((line) => `  ${line}`)]
}

function count(part: Part | null): string {
  return part === null ? '-' : `${part.passed} of ${part.passed + part.failed}`
}

function yes(value: boolean): string {
  return value ? 'yes' : 'no'
}
