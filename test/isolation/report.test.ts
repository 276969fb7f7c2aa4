import t from 'tap'
import { describe, describeOutcome, holds, refused } from '../../src/isolation/expectation.ts'
import { summary, toMarkdown } from '../../src/isolation/markdown.ts'
import type { IsolationReport, Trial } from '../../src/isolation/report.ts'

const TRIAL: Trial = {
  placement: 'role',
  server: 'default',
  role: 'blue',
  identity: 'other',
  object: 'app.users',
  attack: 'select',
  expected: '2 own rows and no others',
  outcome: '2 own rows',
  holds: true,
}
const REPORT: IsolationReport = {
  held: true,
  version: '1.2.3',
  startedAt: '2026-01-01T00:00:00.000Z',
  durationMs: 1500,
  stages: [
    {
      placement: 'role',
      server: 'default',
      database: 'house',
      objects: 7,
      trials: 2,
      failed: 0,
      gaps: ['app.plans has no rows'],
    },
  ],
  catalogs: [{ server: 'default', database: 'house', rules: 30, broken: [], notices: ['a door is open'] }],
  trials: [TRIAL],
}

t.test('a report says in a sentence whether all holds', async (t) => {
  t.equal(
    summary(REPORT),
    'All walls hold: 1 attacks, 0 got through; 30 rules over catalogs, broken in 0 places.',
  )
  const broken = { server: 's', database: 'd', rule: 'r', object: 'o', problem: 'p' }
  const catalogs = REPORT.catalogs.map((catalog) => ({ ...catalog, broken: [broken] }))
  t.equal(
    summary({ ...REPORT, held: false, catalogs, trials: [TRIAL, { ...TRIAL, holds: false }] }),
    'NOT all walls hold: 2 attacks, 1 got through; 30 rules over catalogs, broken in 1 places.',
  )
})

t.test('a report for people has counts, what failed, what is open, and every trial', async (t) => {
  const failed = { ...TRIAL, attack: 'a | b', outcome: '3 rows of others', holds: false }
  const text = toMarkdown({ ...REPORT, held: false, trials: [TRIAL, failed] })
  for (const line of [
    '# Proof of isolation',
    '| role | default | house | 7 | 2 | 0 |',
    '## Trials that do not hold',
    '| role | blue | other | app.users | a \\| b | 2 own rows and no others | 3 rows of others | **no** |',
    '- role: app.plans has no rows',
    '- a door is open',
    '| select | own rows | 1 |',
    '| role | blue | other | app.users | select | 2 own rows and no others | 2 own rows | yes |',
  ]) {
    t.ok(text.split('\n').includes(line), line)
  }
  t.notOk(toMarkdown(REPORT).includes('do not hold'))
})

t.test('an outcome holds when it is what was expected, and nothing of others shows', async (t) => {
  const rows = (...tenants: string[]) =>
    ({ kind: 'done', rows: tenants.map((tenant_id) => ({ tenant_id })), count: tenants.length }) as const
  const no = { kind: 'refused', code: '42501', message: 'permission denied' } as const
  const own = { kind: 'rows', tenantId: 'a', count: 2 } as const
  for (const [expectation, outcome, expected] of [
    [own, rows('a', 'a'), true],
    [own, rows('a', 'b'), false],
    [own, rows('a'), false],
    [own, rows('a', 'a', 'a'), false],
    [own, no, false],
    [{ ...own, codes: ['42501'] }, no, true],
    [{ kind: 'rows', tenantId: 'a' }, rows('a', 'a', 'a'), true],
    [refused(), no, true],
    [refused(), { ...no, code: '42P01' }, false],
    [refused('42P01'), { ...no, code: '42P01' }, true],
    [refused(), rows(), false],
    [{ kind: 'reaches', count: 0 }, rows(), true],
    [{ kind: 'reaches', count: 0 }, rows('a'), false],
    [{ kind: 'number', n: 2 }, { kind: 'done', rows: [{ n: 2 }], count: 1 }, true],
    [{ kind: 'number', n: 2 }, { kind: 'done', rows: [{ n: 5 }], count: 1 }, false],
    [{ kind: 'harmless' }, rows('b'), true],
    [{ kind: 'harmless' }, { ...no, code: '22012' }, true],
    [{ kind: 'harmless', codes: ['42501'] }, { ...no, code: '22012' }, false],
  ] as const) {
    t.equal(
      holds(expectation, outcome, []),
      expected,
      `${describe(expectation)}: ${describeOutcome(outcome)}`,
    )
  }
  const secret = { kind: 'done', rows: [{ tenant_id: 'a', x: 'the secret' }], count: 1 } as const
  t.equal(holds({ kind: 'harmless' }, secret, ['secret']), false, 'in a row')
  t.equal(holds(refused(), { ...no, message: 'about the secret' }, ['secret']), false, 'in an error')
})
