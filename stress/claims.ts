import type { Claim, Figures, Scenario } from './scenario.ts'

/** STANDARD_CLAIMS is what every run must show, unless its scenario is excused. */
const STANDARD_CLAIMS = {
  k6: ({ k6 }) => {
    const failedChecks = k6.checks
      .filter(({ fails }) => fails > 0)
      .map(({ name, fails }) => `${name} (${fails})`)
    return {
      claim: 'k6 found every answer right and every threshold kept',
      held: k6.exit === 0 && failedChecks.length === 0,
      seen: [...k6.crossed, ...failedChecks].join(', '),
    }
  },
  'no server errors': ({ service }) => {
    const serverErrors = Object.entries(service.statuses).filter(
      ([status, count]) => status.startsWith('5') && count > 0,
    )
    return {
      claim: 'no request was answered with a server error',
      held: serverErrors.length === 0,
      seen: serverErrors.map(([status, count]) => `${status} (${count})`).join(', '),
    }
  },
  pools: ({ service: { limits, pools } }) => ({
    claim: `at most ${limits.pools} pools were resident`,
    held: pools.peak <= limits.pools,
    seen: String(pools.peak),
  }),
  connections: ({ service: { limits, connections } }) => ({
    claim: `the server never had more than ${limits.connections} connections of tenants`,
    held: connections.peak <= limits.connections,
    seen: String(connections.peak),
  }),
  opening: ({ service: { limits, opening } }) => ({
    claim: `at most ${limits.opening} connections were being opened at once`,
    held: opening.peak <= limits.opening,
    seen: String(opening.peak),
  }),
  opens: ({ service: { opens } }) => ({
    claim: 'every pool opened',
    held: opens.failed === 0,
    seen: `${opens.failed} did not`,
  }),
  leases: ({ service: { leases } }) => ({
    claim: 'every lease was released',
    held: leases.last === 0,
    seen: `${leases.last} were not`,
  }),
  evictions: ({ service: { opens, pools, evictions } }) => {
    const evicted = Object.values(evictions).reduce((sum, count) => sum + count, 0)
    return {
      claim: 'every pool that was opened is resident or was evicted for one reason',
      held: opens.ok === pools.last + evicted,
      seen: `${opens.ok} opened, ${pools.last} resident, ${evicted} evicted`,
    }
  },
  exit: ({ end }) => ({
    claim: 'the service ended with 0 after SIGTERM',
    held: end.exit === 0,
    seen: String(end.exit),
  }),
  postgres: ({ end }) => ({ claim: 'no PostgreSQL process was left', held: !end.isPostgresLeft }),
} as const satisfies Record<string, (figures: Figures) => Claim>

/** StandardClaim names one of them. */
export type StandardClaim = keyof typeof STANDARD_CLAIMS

/** claimsOf is what a run of a scenario must show: what every run must, and what this one must. */
export function claimsOf(scenario: Scenario, figures: Figures): readonly Claim[] {
  const standard = Object.entries(STANDARD_CLAIMS)
    .filter(([name]) => !scenario.excused?.some((excused) => excused === name))
    .map(([, claim]) => claim(figures))
  return [...standard, ...scenario.claims(figures)]
}
