import type { Claim, Figures, Scenario } from './scenario.ts'

/** claimsOf is what a run of a scenario must show: what every run must, and what this one must. */
export function claimsOf(scenario: Scenario, figures: Figures): readonly Claim[] {
  const { k6, service, end } = figures
  const { limits, pools, connections, leases, opens, evictions, statuses } = service
  const evicted = Object.values(evictions).reduce((sum, count) => sum + count, 0)
  const failedChecks = k6.checks
    .filter(({ fails }) => fails > 0)
    .map(({ name, fails }) => `${name} (${fails})`)
  const serverErrors = Object.entries(statuses).filter(
    ([status, count]) => status.startsWith('5') && count > 0,
  )
  return [
    {
      claim: 'k6 found every answer right and every threshold kept',
      held: k6.exit === 0 && failedChecks.length === 0,
      seen: [...k6.crossed, ...failedChecks].join(', '),
    },
    {
      claim: 'no request was answered with a server error',
      held: serverErrors.length === 0,
      seen: serverErrors.map(([status, count]) => `${status} (${count})`).join(', '),
    },
    {
      claim: `at most ${limits.pools} pools were resident`,
      held: pools.peak <= limits.pools,
      seen: String(pools.peak),
    },
    {
      claim: `the server never had more than ${limits.connections} connections of tenants`,
      held: connections.peak <= limits.connections,
      seen: String(connections.peak),
    },
    { claim: 'every pool opened', held: opens.failed === 0, seen: `${opens.failed} did not` },
    { claim: 'every lease was released', held: leases.last === 0, seen: `${leases.last} were not` },
    {
      claim: 'every pool that was opened is resident or was evicted for one reason',
      held: opens.ok === pools.last + evicted,
      seen: `${opens.ok} opened, ${pools.last} resident, ${evicted} evicted`,
    },
    ...scenario.claims(figures),
    { claim: 'the service ended with 0 after SIGTERM', held: end.exit === 0, seen: String(end.exit) },
    { claim: 'no PostgreSQL process was left', held: !end.isPostgresLeft },
  ]
}
