import t from 'tap'
import type { Figures, Scenario } from '../../stress/scenario.ts'
import { coldStorm } from '../../stress/scenarios/cold-storm.ts'
import { databaseRestart } from '../../stress/scenarios/database-restart.ts'
import { drainUnderLoad } from '../../stress/scenarios/drain-under-load.ts'
import { noisyNeighbour } from '../../stress/scenarios/noisy-neighbour.ts'
import { rotateUnderLoad } from '../../stress/scenarios/rotate-under-load.ts'
import { tenantChurn } from '../../stress/scenarios/tenant-churn.ts'
import { like, throwsLike } from '../support/like.ts'
import { withK6, withService } from './run-figures.ts'

function distribution(p50: number, p95: number) {
  return { p50, p95, p99: p95, max: p95 }
}

const QUIET = distribution(2, 5)
const NOISY = distribution(2000, 2500)

function noisy(beside: number, small_requests_beside = 5000): Figures {
  const trends = { small_in_quiet: QUIET, small_beside: distribution(beside, beside), noisy: NOISY }
  return withK6({ trends, counters: { small_requests_beside } })
}

const STORM = { storm_0_from: 100, storm_0_to: 200, storm_1_from: 1100, storm_1_to: 1200 }
const LAST_STORM = { storm_2_from: 2100, storm_2_to: 2200 }
const KNOCKS = { knocks_0_from: 600, knocks_0_to: 700, knocks_1_from: 1600, knocks_1_to: 1700 }
const LAST_KNOCKS = { knocks_2_from: 2600, knocks_2_to: 2700 }

function storms(...stallsMs: number[]): Figures {
  const knocks = [700, 1700, 2700].map((at) => ({ at, ms: 5 }))
  const during = stallsMs.map((ms, i) => ({ at: 150 + 1000 * i, ms }))
  const figures = withService({
    opens: { ok: 1500, failed: 0 },
    stalls: [...knocks, ...during, { at: 1050, ms: 10_000 }],
  })
  const gauges = { ...STORM, ...LAST_STORM, ...KNOCKS, ...LAST_KNOCKS }
  return { ...figures, k6: { ...figures.k6, gauges } }
}

const DRAINED = { written: 10, after_signal: 3, aborted: 0, server_errors: 0, sessions_left: 0 }
const CONFIRMED = { counters: { confirmed: 10 } }

function restarted(refusedMs: number): Figures {
  return withK6(
    { counters: { CONNECTION_LOST: 4 }, gauges: { last_refusal_at: 1000 + refusedMs } },
    { back_at: 1000 },
  )
}

const GONE = { left_roles: 0, left_rows: 0, left_credentials: 0 }
const ROTATED = { tenants: 12, logins: 12, lowest_generation: 3 }

const RUNS: readonly (readonly [Scenario, string, Figures, RegExp | undefined])[] = [
  [noisyNeighbour, 'small tenants that hardly wait', noisy(60), undefined],
  [noisyNeighbour, 'small tenants that wait with the noisy one', noisy(2400), /below a tenth/],
  [noisyNeighbour, 'small tenants that wait too long', noisy(240), /above that in quiet/],
  [noisyNeighbour, 'small tenants that are never served', noisy(60, 8), /served many times: 8/],
  [coldStorm, 'stalls as short as those of HTTP alone', storms(20, 400, 20), undefined],
  [
    coldStorm,
    'a stall in every storm',
    storms(320, 400, 310),
    /event loop for 320, 400, 310 ms.*305 ms longer/,
  ],
  [drainUnderLoad, 'every write confirmed', withK6(CONFIRMED, DRAINED), undefined],
  [
    drainUnderLoad,
    'a write whose caller was not told',
    withK6(CONFIRMED, { ...DRAINED, written: 11 }),
    /11 written, 10 confirmed/,
  ],
  [
    drainUnderLoad,
    'a request that was cut',
    withK6(CONFIRMED, { ...DRAINED, server_errors: 1 }),
    /answered every request.*1 server errors/,
  ],
  [drainUnderLoad, 'nothing under way', withK6(CONFIRMED, { ...DRAINED, after_signal: 0 }), /under way/],
  [databaseRestart, 'a quick recovery', restarted(700), undefined],
  [databaseRestart, 'refusals long after', restarted(9000), /9000 ms after/],
  [tenantChurn, 'nothing left', withService({ evictions: { deletion: 3 } }, GONE), undefined],
  [
    tenantChurn,
    'a role left',
    withService({ evictions: { deletion: 3 } }, { ...GONE, left_roles: 1 }),
    /1 roles, 0 rows/,
  ],
  [rotateUnderLoad, 'every tenant rotated', withService({ evictions: { rotation: 3 } }, ROTATED), undefined],
  [
    rotateUnderLoad,
    'a login left that was rotated away',
    withService({ evictions: { rotation: 3 } }, { ...ROTATED, logins: 13 }),
    /12 tenants, 13 logins/,
  ],
]

for (const [scenario, what, figures, expected] of RUNS) {
  t.test(`${scenario.name} ${expected === undefined ? 'passes' : 'fails'} by ${what}`, async (t) => {
    const failed = scenario.claims(figures).filter(({ held }) => !held)
    if (expected === undefined) t.strictSame(failed, [])
    else like(t, failed.map(({ claim, seen }) => `${claim}: ${seen}`).join('\n'), expected)
  })
}

t.test('a storm in which nobody looked at the service is no storm without a stall', async (t) => {
  const figures = storms(20, 20, 20)
  throwsLike(t, () => coldStorm.claims({ ...figures, service: { ...figures.service, stalls: [] } }), {
    message: /not looked at/,
  })
})
