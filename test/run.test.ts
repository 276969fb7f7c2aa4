import { globSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import t from 'tap'
import { FLOOR, shortcomings } from './support/floor.ts'
import { rejectsLike } from './support/like.ts'
import { readRunOptions } from './support/run-options.ts'
import type { FileTally } from './support/tally.ts'
import { findTestFiles, readTimes } from './support/test-files.ts'

const all = globSync('test/**/*.test.ts').toSorted()

t.test('all test files are found, the slow ones first', async (t) => {
  const found = await findTestFiles()
  t.strictSame(found.toSorted(), all)
  const seconds = await readTimes()
  const slow = Object.keys(seconds)
  t.ok(slow.length > 0)
  t.strictSame(found.slice(0, slow.length).toSorted(), slow.toSorted())
  const times = found.map((file) => seconds[file] ?? 0)
  t.strictSame(
    times,
    times.toSorted((a, b) => b - a),
  )
  for (const file of slow) t.ok((await stat(file)).isFile(), file)
})

t.test('files and folders are found as they are named, each once', async (t) => {
  t.strictSame(await findTestFiles(['test/run.test.ts', './test/run.test.ts']), ['test/run.test.ts'])
  const vault = all.filter((file) => file.startsWith('test/vault/'))
  t.ok(vault.length > 1)
  t.strictSame((await findTestFiles(['test/vault', 'test/vault/'])).toSorted(), vault)
  for (const path of ['test/none.test.ts', 'test/support', 'sql']) {
    await rejectsLike(t, findTestFiles([path]), {
      name: 'UnknownTests',
      message: `${path} is neither a test file nor a folder that holds some.`,
    })
  }
})

t.test('what a run is asked for', async (t) => {
  t.strictSame(readRunOptions(['--jobs', '3', 'test/vault']), {
    paths: ['test/vault'],
    jobs: 3,
    versions: [],
    savesTimes: false,
    checks: false,
  })
  t.strictSame(readRunOptions(['--jobs=1', '--save-times']), {
    paths: [],
    jobs: 1,
    versions: [],
    savesTimes: true,
    checks: false,
  })
  t.strictSame(readRunOptions(['--check', '--jobs=1']), {
    paths: [],
    jobs: 1,
    versions: [],
    savesTimes: false,
    checks: true,
  })
  t.equal(readRunOptions(['--help', 'test/vault']), undefined)
  for (const jobs of ['0', '1.5', 'many', '']) {
    t.equal(readRunOptions([`--jobs=${jobs}`]), `--jobs must be a whole number from 1, and is "${jobs}".`)
  }
  t.equal(
    readRunOptions(['--save-times', 'test/vault']),
    '--save-times is for a run of all tests, without files and folders.',
  )
  t.strictSame(readRunOptions(['--postgres', '16', '--jobs=1', '--postgres=15']), {
    paths: [],
    jobs: 1,
    versions: ['16', '15'],
    savesTimes: false,
    checks: false,
  })
  for (const [args, named] of [
    [['--postgres', '14'], '14'],
    [['--postgres=16.14'], '16.14'],
    [['--postgres', 'test/pool'], 'test/pool'],
  ] as const) {
    t.equal(readRunOptions(args), `--postgres must be one of 15, 16, 17, 18, and is "${named}".`)
  }
  t.match(readRunOptions(['--job', '2']), /^Unknown option '--job'/)
})

const tallyOf = (file: string, more: Partial<FileTally> = {}): FileTally => ({
  file,
  passed: 2,
  failed: 0,
  failures: [],
  left: [],
  empty: [],
  seconds: 1,
  ...more,
})

t.test('a run that lacks something fails though nothing in it did', async (t) => {
  const [a, b] = ['test/a.test.ts', 'test/b.test.ts']
  t.strictSame(shortcomings([a, b], [tallyOf(b), tallyOf(a)], false), [])
  t.strictSame(shortcomings([a, b], [tallyOf(a)], false), ['test/b.test.ts: it did not run'])
  t.strictSame(shortcomings([a], [tallyOf(a, { passed: 0 })], false), ['test/a.test.ts: no assertion ran'])
  t.strictSame(shortcomings([a], [tallyOf(a, { passed: 0, failed: 1 })], false), [])
  t.strictSame(shortcomings([a], [tallyOf(a, { left: ['test/a.test.ts > later'] })], false), [
    'test/a.test.ts: test/a.test.ts > later was left out; a test that cannot run is to say what is so instead',
  ])
  t.strictSame(shortcomings([a], [tallyOf(a, { empty: ['test/a.test.ts > waits'] })], false), [
    'test/a.test.ts: test/a.test.ts > waits asserts nothing',
  ])
})

t.test('a run of all tests has a number of files and assertions at least', async (t) => {
  const files = Array.from({ length: FLOOR.files }, (_, i) => `test/${i}.test.ts`)
  const each = Math.ceil(FLOOR.assertions / files.length)
  const tallies = files.map((file) => tallyOf(file, { passed: each }))
  t.strictSame(shortcomings(files, tallies, true), [])
  const few = FLOOR.assertions - 1
  t.strictSame(
    shortcomings(
      files,
      [
        tallyOf('test/0.test.ts', { passed: few }),
        ...files.slice(1).map((file) => tallyOf(file, { passed: 0, failed: 0 })),
      ],
      true,
    ).filter((each) => !each.endsWith('no assertion ran')),
    [`${few} assertions ran, and were ${FLOOR.assertions} at least`],
  )
  t.strictSame(
    shortcomings(
      files.slice(1),
      tallies.slice(1).map((tally) => ({ ...tally, passed: each * 2 })),
      true,
    ),
    [`there are ${FLOOR.files - 1} test files, and were ${FLOOR.files} at least`],
  )
  t.ok(all.length >= FLOOR.files, 'there are so many')
  t.ok(all.length < FLOOR.files + 40, 'it was raised when there were more')
})
