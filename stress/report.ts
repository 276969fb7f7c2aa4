import type { Distribution } from './run-k6.ts'
import type { Claim, Figures, Scenario } from './scenario.ts'

/** reportOf is the summary of a run for people. */
export function reportOf(scenario: Scenario, figures: Figures, claims: readonly Claim[]): string {
  const { k6, service, facts } = figures
  const { duration } = k6
  const { hits, opens, reopened, saturated, evictions, pools, connections, leases, waiting, limits } = service
  const checks = k6.checks.reduce((sum, { passes, fails }) => sum + passes + fails, 0)
  const failedChecks = k6.checks.reduce((sum, { fails }) => sum + fails, 0)
  const reasons = Object.entries(evictions).filter(([, count]) => count > 0)
  const evicted = reasons.reduce((sum, [, count]) => sum + count, 0)
  const failed = claims.filter(({ held }) => !held)
  return [
    `${scenario.name}: ${scenario.about}`,
    '',
    'k6',
    `  requests     ${count(k6.requests)} in ${k6.seconds.toFixed(1)} s, ${percent(k6.failedRate)} failed`,
    `  checks       ${count(checks)}, ${count(failedChecks)} failed`,
    `  duration     ${distribution(duration)}`,
    ...Object.entries(k6.trends).map(([name, trend]) => `  ${label(name)} ${distribution(trend)}`),
    ...Object.entries(k6.counters).map(([name, value]) => `  ${label(name)} ${count(value)}`),
    'service',
    `  leases       ${count(hits)} of a pool that was open (hits), ${leases.peak} held at most, ${leases.last} now`,
    `  opens        ${count(opens.ok)}, ${count(opens.failed)} failed; ${count(reopened)} soon after an eviction`,
    `  evictions    ${count(evicted)}: ${reasons.map(([reason, n]) => `${reason} ${count(n)}`).join(', ')}`,
    `  open time    p50 ${within(service.openMs.p50)}, p95 ${within(service.openMs.p95)}`,
    `  lease wait   p50 ${within(service.leaseWaitMs.p50)}, p95 ${within(service.leaseWaitMs.p95)} of those that waited`,
    `  waiting      ${waiting.peak} callers at most, ${count(saturated)} refused`,
    `  event loop   longest stall ${ms(service.stallMs.peak)}`,
    `  resident     ${pools.peak} pools at most, ${limits.pools} allowed`,
    'PostgreSQL',
    `  connections  ${connections.peak} of tenants at most, ${limits.connections} allowed; ${count(service.connectionsOpened)} opened, ${service.opening.peak} of ${limits.opening} at once`,
    ...(Object.keys(facts).length === 0 ? [] : ['facts']),
    ...Object.entries(facts).map(([name, value]) => `  ${label(name)} ${count(value)}`),
    '',
    ...claims.map(({ claim, held, seen }) =>
      held ? `  ok      ${claim}` : `  FAILED  ${claim}${seen ? `: ${seen}` : ''}`,
    ),
    '',
    failed.length === 0
      ? `${scenario.name} passed`
      : `${scenario.name} failed: ${failed.length} of ${claims.length}`,
  ].join('\n')
}

function count(value: number | undefined): string {
  return (value ?? 0).toLocaleString('en-US')
}

function distribution({ p50, p95, p99, max }: Distribution): string {
  return `p50 ${ms(p50)}, p95 ${ms(p95)}, p99 ${ms(p99)}, longest ${ms(max)}`
}

/** As wide as the words before the figures above. */
function label(name: string): string {
  return name.replaceAll('_', ' ').padEnd(12)
}

function percent(rate: number): string {
  return `${(100 * rate).toFixed(2)} %`
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`
}

/** A histogram tells no more than the bucket. */
function within(bound: number | undefined): string {
  if (bound === undefined) return 'none'
  return Number.isFinite(bound) ? `within ${bound} ms` : 'past the last bucket'
}
