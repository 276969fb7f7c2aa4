import t from 'tap'
import { claimsOf } from '../../stress/claims.ts'
import { reportOf } from '../../stress/report.ts'
import type { Figures, Scenario } from '../../stress/scenario.ts'

const SCENARIO: Scenario = {
  name: 'test',
  about: 'a test',
  service: {},
  script: {},
  maxSeconds: 1,
  claims: ({ service }) => [{ claim: 'something was evicted', held: (service.evictions.idle ?? 0) > 0 }],
}

const GOOD: Figures = {
  k6: {
    exit: 0,
    seconds: 2,
    requests: 10,
    requestsPerSecond: 5,
    failedRate: 0,
    iterations: 5,
    duration: { p50: 1, p95: 2, p99: 3, max: 40 },
    checks: [{ name: 'right', passes: 10, fails: 0 }],
    crossed: [],
  },
  service: {
    limits: { pools: 5, connections: 8 },
    pools: { peak: 5, last: 2 },
    connections: { peak: 8, last: 2 },
    leases: { peak: 3, last: 0 },
    waiting: { peak: 1, last: 0 },
    hits: 20,
    opens: { ok: 6, failed: 0 },
    reopened: 1,
    saturated: 0,
    connectionsOpened: 9,
    evictions: { idle: 3, capacity: 1 },
    openMs: { p50: 10, p95: 25 },
    leaseWaitMs: { p50: undefined, p95: Number.POSITIVE_INFINITY },
    drainMs: { p50: 5, p95: 5 },
    statuses: { 200: 20, 404: 2, 500: 0 },
  },
  end: { exit: 0, isPostgresLeft: false },
}

function failed(figures: Figures): readonly string[] {
  return claimsOf(SCENARIO, figures)
    .filter(({ held }) => !held)
    .map(({ claim, seen }) => `${claim}: ${seen ?? ''}`)
}

function withService(service: Partial<Figures['service']>): Figures {
  return { ...GOOD, service: { ...GOOD.service, ...service } }
}

t.test('a good run holds every claim, and its report says so', async (t) => {
  t.same(failed(GOOD), [])
  const report = reportOf(SCENARIO, GOOD, claimsOf(SCENARIO, GOOD))
  t.match(report, 'evictions    4: idle 3, capacity 1')
  t.match(report, 'test passed')
})

const BROKEN: readonly (readonly [string, Figures, RegExp])[] = [
  [
    'a check that failed',
    { ...GOOD, k6: { ...GOOD.k6, checks: [{ name: 'right', passes: 9, fails: 1 }] } },
    /every answer right.*right \(1\)/,
  ],
  [
    'a threshold that was crossed',
    { ...GOOD, k6: { ...GOOD.k6, exit: 99, crossed: ['checks: rate==1'] } },
    /every threshold kept: checks: rate==1/,
  ],
  ['a server error', withService({ statuses: { 200: 1, 503: 2 } }), /server error: 503 \(2\)/],
  ['too many pools', withService({ pools: { peak: 6, last: 2 } }), /at most 5 pools.*6/],
  ['too many connections', withService({ connections: { peak: 9, last: 2 } }), /more than 8 connections.*9/],
  ['a pool that did not open', withService({ opens: { ok: 6, failed: 1 } }), /every pool opened: 1/],
  ['a lease that was kept', withService({ leases: { peak: 3, last: 1 } }), /every lease was released: 1/],
  ['a pool that got lost', withService({ opens: { ok: 7, failed: 0 } }), /7 opened, 2 resident, 4 evicted/],
  ["a claim of the scenario's own", withService({ evictions: { capacity: 4 } }), /something was evicted/],
  [
    'a service that ended badly',
    { ...GOOD, end: { exit: 'SIGKILL', isPostgresLeft: false } },
    /SIGTERM: SIGKILL/,
  ],
  [
    'a PostgreSQL that was left',
    { ...GOOD, end: { exit: 0, isPostgresLeft: true } },
    /PostgreSQL process was left/,
  ],
]

for (const [what, figures, expected] of BROKEN) {
  t.test(`a run fails by ${what}`, async (t) => {
    const [first = '', ...others] = failed(figures)
    t.match(first, expected)
    t.same(others, [])
    t.match(reportOf(SCENARIO, figures, claimsOf(SCENARIO, figures)), /FAILED[\s\S]*test failed: 1 of 10/)
  })
}
