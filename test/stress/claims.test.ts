import t from 'tap'
import { claimsOf } from '../../stress/claims.ts'
import { reportOf } from '../../stress/report.ts'
import type { Figures, Scenario } from '../../stress/scenario.ts'
import { includes, like } from '../support/like.ts'
import { GOOD, withK6, withService } from './run-figures.ts'

const SCENARIO: Scenario = {
  name: 'test',
  about: 'a test',
  service: {},
  script: {},
  maxSeconds: 1,
  claims: ({ service }) => [{ claim: 'something was evicted', held: (service.evictions.idle ?? 0) > 0 }],
}

function failed(figures: Figures): readonly string[] {
  return claimsOf(SCENARIO, figures)
    .filter(({ held }) => !held)
    .map(({ claim, seen }) => `${claim}: ${seen ?? ''}`)
}

t.test('a good run holds every claim, and its report says so', async (t) => {
  t.strictSame(failed(GOOD), [])
  const report = reportOf(SCENARIO, GOOD, claimsOf(SCENARIO, GOOD))
  includes(t, report, 'evictions    4: idle 3, capacity 1')
  includes(t, report, 'test passed')
})

t.test(
  'a scenario that breaks something on purpose is excused from what it breaks, and from nothing else',
  async (t) => {
    const excused: Scenario = { ...SCENARIO, excused: ['no server errors', 'opens'] }
    const broken = withService({ statuses: { 503: 7 }, opens: { ok: 6, failed: 1 } })
    const all = claimsOf(SCENARIO, broken)
    const rest = claimsOf(excused, broken)
    t.equal(all.filter(({ held }) => !held).length, 2)
    t.equal(rest.filter(({ held }) => !held).length, 0)
    t.equal(rest.length, all.length - 2)
  },
)

t.test("a report tells of the script's own figures and of the scenario's facts", async (t) => {
  const figures = withK6(
    { counters: { left: 7 }, trends: { small_beside: { p50: 1, p95: 20, p99: 30, max: 400 } } },
    { drain_ms: 105 },
  )
  const report = reportOf(SCENARIO, figures, [])
  t.match(report, /left +7/)
  includes(t, report, 'small beside p50 1.0 ms, p95 20 ms')
  t.match(report, /drain ms +105/)
})

const BROKEN: readonly (readonly [string, Figures, RegExp])[] = [
  [
    'a check that failed',
    withK6({ checks: [{ name: 'right', passes: 9, fails: 1 }] }),
    /every answer right.*right \(1\)/,
  ],
  [
    'a threshold that was crossed',
    withK6({ exit: 99, crossed: ['checks: rate==1'] }),
    /every threshold kept: checks: rate==1/,
  ],
  ['a server error', withService({ statuses: { 200: 1, 503: 2 } }), /server error: 503 \(2\)/],
  ['too many pools', withService({ pools: { peak: 6, last: 2 } }), /at most 5 pools.*6/],
  ['too many connections', withService({ connections: { peak: 9, last: 2 } }), /more than 8 connections.*9/],
  ['too many openings at once', withService({ opening: { peak: 5, last: 0 } }), /at most 4 connections.*5/],
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
    like(t, first, expected)
    t.strictSame(others, [])
    t.match(reportOf(SCENARIO, figures, claimsOf(SCENARIO, figures)), /FAILED[\s\S]*test failed: 1 of 11/)
  })
}
