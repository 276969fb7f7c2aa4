import t from 'tap'
import { tally } from './support/tally.ts'

const lines = (...text: string[]) => `TAP version 14\n${text.join('\n')}\n`

t.test('assertions count, at every depth, and subtests do not', async (t) => {
  const tap = lines(
    '# Subtest: a.test.ts',
    '    # Subtest: one',
    '        ok 1 - equal',
    '        not ok 2 - same',
    '        1..2',
    '    not ok 1 - one # time=1ms',
    '    ok 2 - equal',
    '    1..2',
    'not ok 1 - a.test.ts # time=1ms',
    'ok 2 - bare',
    '1..2',
  )
  t.same({ ...tally(tap) }, { passed: 3, failed: 1, failures: [{ name: 'a.test.ts > one > same', why: '' }] })
})

t.test('a file that fails as a whole counts as a failure, with all its assertions right', async (t) => {
  const tap = lines('# Subtest: a.test.ts', '    ok 1 - equal', '    1..1', 'not ok 1 - a.test.ts', '1..1')
  t.same(
    { ...tally(tap) },
    { passed: 1, failed: 1, failures: [{ name: 'a.test.ts > not ok as a whole', why: '' }] },
  )
})

t.test('a file that crashed before its first assertion counts as a failure', async (t) => {
  const tap = lines('# Subtest: a.test.ts', '    1..0 # no tests found', 'not ok 1 - a.test.ts', '1..1')
  t.match(tally(tap), { passed: 0, failed: 1 })
})

t.test('what is skipped or to do is neither', async (t) => {
  const tap = lines(
    '# Subtest: a.test.ts',
    '    ok 1 - later # SKIP needs root',
    '    not ok 2 - some day # TODO',
    '    ok 3 - equal',
    '    1..3',
    'ok 1 - a.test.ts',
    '1..1',
  )
  t.match(tally(tap), { passed: 1, failed: 0 })
})

t.test('a run that was cut short is a failure', async (t) => {
  t.match(tally(lines('1..2', '# Subtest: a.test.ts', '    ok 1 - equal')), { passed: 1, failed: 1 })
  t.match(tally(lines('ok 1 - equal', 'Bail out! no disk')), { passed: 1, failed: 1 })
  t.match(tally(''), { passed: 0, failed: 0 })
})

t.test('a failure says where it stands and what was different', async (t) => {
  const tap = lines(
    'not ok 1 - should be equal',
    '  ---',
    '  diff: |',
    '    -200',
    '    +503',
    '  at:',
    '    fileName: a.test.ts',
    '    lineNumber: 7',
    '  ...',
    '1..1',
  )
  t.same(tally(tap).failures, [{ name: 'should be equal (a.test.ts:7)', why: '-200\n+503' }])
})
