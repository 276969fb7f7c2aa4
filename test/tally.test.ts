import t from 'tap'
import { type FileTally, TapReader, tally } from './support/tally.ts'

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
  t.strictSame(
    { ...tally(tap) },
    { passed: 3, failed: 1, failures: [{ name: 'a.test.ts > one > same', why: '' }], left: [], empty: [] },
  )
})

t.test('a file that fails as a whole counts as a failure, with all its assertions right', async (t) => {
  const tap = lines('# Subtest: a.test.ts', '    ok 1 - equal', '    1..1', 'not ok 1 - a.test.ts', '1..1')
  t.strictSame(
    { ...tally(tap) },
    {
      passed: 1,
      failed: 1,
      failures: [{ name: 'a.test.ts > not ok as a whole', why: '' }],
      left: [],
      empty: [],
    },
  )
})

t.test('a file that crashed before its first assertion counts as a failure', async (t) => {
  const tap = lines('# Subtest: a.test.ts', '    1..0 # no tests found', 'not ok 1 - a.test.ts', '1..1')
  t.strictSame(
    { ...tally(tap) },
    {
      passed: 0,
      failed: 1,
      failures: [{ name: 'a.test.ts > not ok as a whole', why: '' }],
      left: [],
      empty: [],
    },
  )
})

t.test('what is skipped or to do is neither, and is named', async (t) => {
  const tap = lines(
    '# Subtest: a.test.ts',
    '    ok 1 - later # SKIP needs root',
    '    not ok 2 - some day # TODO',
    '    ok 3 - equal',
    '    1..3',
    'ok 1 - a.test.ts',
    '1..1',
  )
  t.strictSame(
    { ...tally(tap) },
    { passed: 1, failed: 0, failures: [], left: ['a.test.ts > later', 'a.test.ts > some day'], empty: [] },
  )
})

t.test('a test that asserts nothing is named, and one that was left out is not', async (t) => {
  const tap = lines(
    '# Subtest: a.test.ts',
    '    # Subtest: outer',
    '        # Subtest: waits',
    '            1..0',
    '        ok 1 - waits',
    '        ok 2 - equal',
    '        1..2',
    '    ok 1 - outer',
    '    # Subtest: later',
    '        1..0',
    '    ok 2 - later # SKIP',
    '    1..2',
    'ok 1 - a.test.ts',
    '1..1',
  )
  t.strictSame(
    { ...tally(tap) },
    {
      passed: 1,
      failed: 0,
      failures: [],
      left: ['a.test.ts > later'],
      empty: ['a.test.ts > outer > waits'],
    },
  )
})

t.test('a run that was cut short is a failure', async (t) => {
  for (const tap of [
    lines('1..2', '# Subtest: a.test.ts', '    ok 1 - equal'),
    lines('ok 1 - equal', 'Bail out! no disk'),
  ]) {
    const { passed, failed } = tally(tap)
    t.strictSame([passed, failed], [1, 1])
  }
  t.strictSame({ ...tally('') }, { passed: 0, failed: 0, failures: [], left: [], empty: [] })
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
  t.strictSame([...tally(tap).failures], [{ name: 'should be equal (a.test.ts:7)', why: '-200\n+503' }])
})

t.test('a run is told file by file as it goes, with what each took', async (t) => {
  const told: FileTally[] = []
  const reader = new TapReader((file) => told.push(file))
  reader.write(lines('# Subtest: test/b.test.ts', '    ok 1 - equal', '    1..1'))
  t.strictSame(told, [])
  reader.write(
    'ok 1 - test/b.test.ts # time=1500ms\n# Subtest: test/a.test.ts\n    # Subtest: later\n        1..0\n',
  )
  const b = { file: 'test/b.test.ts', passed: 1, failed: 0, failures: [], left: [], empty: [], seconds: 1.5 }
  t.strictSame(told, [b])
  reader.write(
    '    ok 1 - later # SKIP\n    not ok 2 - equal\n    1..2\nnot ok 2 - test/a.test.ts # time=20ms\n1..2\n',
  )
  const a = {
    file: 'test/a.test.ts',
    passed: 0,
    failed: 1,
    failures: [{ name: 'test/a.test.ts > equal', why: '' }],
    left: ['test/a.test.ts > later'],
    empty: [],
    seconds: 0.02,
  }
  t.strictSame(reader.end(), [b, a])
  t.strictSame(told, [b, a])
})
