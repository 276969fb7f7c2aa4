import t from 'tap'
import type { NeighbourFigures } from '../../src/isolation/siege/neighbour.ts'
import { percentile } from '../../src/isolation/siege/neighbour.ts'
import type { Action } from '../../src/isolation/siege/operator.ts'
import { siegeMarkdown, siegeSummary, siegeTable } from '../../src/isolation/siege/siege-markdown.ts'
import {
  type Battle,
  brokenBounds,
  isHeld,
  type SiegeReport,
} from '../../src/isolation/siege/siege-report.ts'
import { parseWatchdogCounts, since } from '../../src/isolation/siege/watchdog-counts.ts'

const CALM: NeighbourFigures = {
  placement: 'row',
  requests: 100,
  lost: 0,
  reasons: {},
  p50Ms: 1.4,
  p99Ms: 9.6,
  longestMs: 20,
}
const HURT: NeighbourFigures = {
  ...CALM,
  placement: 'role',
  lost: 3,
  reasons: { '503 POOL_SATURATED': 1, '500 INTERNAL': 2 },
  longestMs: 5000,
}
const QUICK: Action = { name: 'onboard', ms: 900, isDone: true, reasons: [] }
const LATE: Action = { name: 'rotate', ms: 10_001, isDone: true, reasons: ['500 INTERNAL'] }
const NEVER: Action = { name: 'shut out, suspended', ms: 12_000, isDone: false, reasons: ['sessions left'] }

function battle(felt: Pick<Battle, 'neighbours' | 'actions' | 'finding'>, operatorBoundMs = 10_000): Battle {
  return {
    attack: 'sessions',
    about: 'Takes all sessions',
    placement: 'role',
    durationMs: 4200,
    raid: { opened: 3, refused: { '53300': 7 }, failed: {}, ended: { '57P01': 2 } },
    watchdog: { blocking: 12, blocked: 3 },
    left: [],
    broken: brokenBounds({ ...felt, operatorBoundMs }),
    operatorBoundMs,
    unbounded: undefined,
    ...felt,
  }
}

function reportOf(battles: readonly Battle[]): SiegeReport {
  return {
    held: battles.every(isHeld),
    version: '1.2.3',
    server: '18.4',
    startedAt: '2026-01-01T00:00:00.000Z',
    durationMs: 61_000,
    battles,
    left: [],
  }
}

const WON = battle({ neighbours: [CALM], actions: [QUICK], finding: { text: 'queue 3 % full', holds: true } })
const LOST = battle({
  neighbours: [HURT, CALM, { ...CALM, requests: 0 }],
  actions: [QUICK, LATE, NEVER],
  finding: { text: 'recovered 8 of 8 letters', holds: false },
})

const OPEN: Battle = { ...LOST, attack: 'stalled-logins', unbounded: 'Close the port to others.' }

t.test('a bound is broken by a lost request, a late action, and by what an attack has found', async (t) => {
  t.strictSame(WON.broken, [])
  t.strictSame(LOST.broken, [
    'the neighbour of role lost 3 of 100 requests (2 × 500 INTERNAL, 1 × 503 POOL_SATURATED)',
    'the neighbour of row had no request answered',
    'rotate: took 10.0 s (until then: 500 INTERNAL)',
    'shut out, suspended: not done in 12.0 s (sessions left)',
    'recovered 8 of 8 letters',
  ])
})

t.test('the table has a line for each battle, with the worst of both neighbours', async (t) => {
  t.strictSame(siegeTable(reportOf([WON, LOST])), [
    '| attack | placement | requests | lost | p50 | p99 | longest | operator | shut out | watchdog | found | holds |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    '| sessions | role | 100 | 0 | 1 | 10 | 20 | 0.9 | 0.0 | 12 blocking, 3 blocked | queue 3 % full | yes |',
    '| sessions | role | 200 | 3 | 1 | 10 | 5000 | 10.0 | **never: shut out, suspended** | 12 blocking, 3 blocked | recovered 8 of 8 letters | **no** |',
  ])
  t.equal(
    siegeTable(reportOf([OPEN]))[2]
      ?.split('|')
      .at(-2),
    ' no bound ',
  )
})

t.test('the report says what came out in a sentence, and each battle in full', async (t) => {
  t.equal(
    siegeSummary(reportOf([WON])),
    "All bounds hold: 1 battles, 0 of 100 requests of neighbours lost, 0 of 1 actions of the operator's not done in time, which is 10 s.",
  )
  const report = reportOf([WON, { ...LOST, left: ['prepared transaction in postgres'] }])
  const text = siegeMarkdown({ ...report, left: ['tenant 1: it stays'] })
  for (const line of [
    "NOT all bounds hold: 2 battles, 3 of 300 requests of neighbours lost, 2 of 4 actions of the operator's not done in time, which is 10 s. Lessor 1.2.3, PostgreSQL 18.4, 2026-01-01T00:00:00.000Z, 61 s.",
    '- sessions, role: rotate: took 10.0 s (until then: 500 INTERNAL)',
    'Takes all sessions. 4.2 s.',
    '- Neighbour of role: 100 requests, 3 lost (2 × 500 INTERNAL, 1 × 503 POOL_SATURATED); p50 1.4 ms, p99 9.6 ms, longest 5000.0 ms',
    '- Operator: onboard in 0.90 s',
    '- Operator: rotate in 10.00 s (until then: 500 INTERNAL)',
    '- Operator: shut out, suspended not done in 12.00 s (sessions left)',
    '- Attackers: 3 sessions; logins refused: 7 × 53300; statements failed: none; sessions ended: 2 × 57P01',
    '- Watchdog: 12 × blocking, 3 × blocked',
    '- Found: recovered 8 of 8 letters',
    '## Left behind',
    '- tenant 1: it stays',
    '- Left behind: prepared transaction in postgres',
  ]) {
    t.ok(text.split('\n').includes(line), line)
  }
})

t.test('what an attack without a bound breaks is told and does not count', async (t) => {
  const report = reportOf([WON, OPEN])
  t.equal(report.held, true)
  t.equal(
    siegeSummary(report),
    "All bounds hold: 1 battles, 0 of 100 requests of neighbours lost, 0 of 1 actions of the operator's not done in time, which is 10 s. 1 more have no bound.",
  )
  const lines = siegeMarkdown(report).split('\n')
  t.ok(lines.includes('## Attacks without a bound'))
  t.ok(
    lines.includes(
      '- stalled-logins, role: rotate: took 10.0 s (until then: 500 INTERNAL). Close the port to others.',
    ),
  )
  t.notOk(lines.includes('## Bounds that do not hold'))
})

t.test(
  'where an attack takes the processors the operator has more time, and the report says so',
  async (t) => {
    const felt = { neighbours: [CALM], actions: [LATE], finding: undefined }
    const longer: Battle = { ...battle(felt, 60_000), attack: 'processor' }
    t.strictSame([battle(felt).broken.length, longer.broken], [1, []])
    t.strictSame(battle({ ...felt, actions: [{ ...LATE, ms: 60_001 }] }, 60_000).broken, [
      'rotate: took 60.0 s (until then: 500 INTERNAL)',
    ])
    t.equal(
      siegeSummary(reportOf([WON, longer])),
      "All bounds hold: 2 battles, 0 of 200 requests of neighbours lost, 0 of 2 actions of the operator's not done in time, which is 10 s, 60 s in processor.",
    )
  },
)

t.test('what the watchdog has done is read from the metrics', async (t) => {
  const before = parseWatchdogCounts('')
  const after = parseWatchdogCounts(
    [
      '# TYPE lessor_watchdog_ended_total counter',
      'lessor_watchdog_ended_total{server="default",reason="predicate-locks"} 0',
      'lessor_watchdog_ended_total{server="default",reason="blocking"} 2',
      'lessor_watchdog_ended_total{server="other",reason="blocking"} 3',
      'lessor_watchdog_blocked_total 1',
      'lessor_watchdog_pass_seconds{server="default"} 0.01',
    ].join('\n'),
  )
  t.strictSame(after, { 'predicate-locks': 0, blocking: 5, blocked: 1 })
  t.strictSame(since(before, after), { blocking: 5, blocked: 1 })
  t.strictSame(since({ blocking: 4 }, after), { blocking: 1, blocked: 1 })
})

t.test('a percentile is a value that was measured', async (t) => {
  t.equal(percentile([], 0.99), 0)
  t.equal(percentile([1, 2, 3, 4], 0.5), 2)
  t.equal(percentile([1, 2, 3, 4], 0.99), 4)
  t.equal(percentile([5], 0.5), 5)
})
