import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Listed } from './listed.ts'
import { toMarkdown } from './report.ts'
import { type MutationOptions, type MutationResult, runMutation } from './run-mutation.ts'
import { percentOf, problemsOf, scoreOf } from './score.ts'
import { openFolder } from './stage.ts'

const FIXTURE = fileURLToPath(new URL('./fixture', import.meta.url))
const BOUNDARY: Listed = {
  file: 'src/size.ts',
  code: 'return total > 100',
  from: '>',
  to: '>=',
  verdict: 'equivalent',
  why: 'for the sake of this test',
}

/** The file whose mutants all end. */
const SIZE = 'src/size.ts'

const cache = await mkdtemp(join(tmpdir(), 'lessor-dry-runs-'))
t.teardown(() => rm(cache, { recursive: true, force: true }))

function run(options: Partial<MutationOptions> = {}): Promise<MutationResult> {
  return runMutation({
    root: FIXTURE,
    config: 'tsconfig.json',
    folders: ['src'],
    tests: 'test/**/*.check.ts',
    seed: 1,
    jobs: 2,
    limitMs: Number.POSITIVE_INFINITY,
    budgetMs: 60_000,
    graceMs: 2_000,
    listed: [],
    cache,
    openStage: openFolder,
    signal: new AbortController().signal,
    ...options,
  })
}

function outcomes({ trials }: MutationResult): readonly string[] {
  return trials
    .map(({ mutant, outcome }) => {
      const { file, line, from, to } = mutant
      return `${file}:${line} ${from} -> ${to}: ${outcome}`
    })
    .toSorted()
}

t.test('mutants are killed, hang, survive, or are run by no test', async (t) => {
  const result = await run()
  t.strictSame(outcomes(result), [
    'src/size.ts:3 > -> <=: killed',
    'src/size.ts:3 > -> >=: survived',
    'src/size.ts:3 total > 100 -> false: killed',
    'src/size.ts:3 total > 100 -> true: killed',
    'src/size.ts:8 * -> /: uncovered',
    'src/sum.ts:5 <= -> <: killed',
    'src/sum.ts:5 <= -> >: timeout',
    'src/sum.ts:5 each <= last -> false: killed',
    'src/sum.ts:6 += -> -=: killed',
    'src/sum.ts:6 total += each -> ;: killed',
    'src/sum.ts:7 each++ -> ;: timeout',
    'src/sum.ts:7 each++ -> each--: timeout',
  ])
  t.equal(result.mutants, 16)
  t.equal(result.uncompiled, 4)
  t.equal(result.isCut, false)
  t.strictSame(result.redTests, [])
  t.strictSame(
    result.trials.find(({ mutant }) => mutant.line === 6 && mutant.kind === 'statement'),
    {
      mutant: result.trials.map(({ mutant }) => mutant).find(({ to, line }) => line === 6 && to === ';'),
      outcome: 'killed',
      by: 'test/sum.check.ts',
      why: 'not ok 1 - sums',
      green: [],
    },
  )
  const score = scoreOf(result)
  t.strictSame(score, {
    folder: 'all',
    killed: 10,
    timeouts: 3,
    survived: 2,
    uncovered: 1,
    accepted: 0,
    equivalent: 0,
  })
  t.equal(percentOf(score).toFixed(2), '83.33')
  t.strictSame(problemsOf(result), ['the score is 83.3 per cent, below 85'])
  const textOf = (file: string): string => readFileSync(join(FIXTURE, file), 'utf8')
  const report = toMarkdown(result, { folders: ['src'], wish: 'All mutants', textOf })
  t.equal(report.includes('| src | 10 | 3 | 2 | 1 | 0 | 0 | 83.3 % |'), true)
  t.equal(report.includes('```diff\n-   return total > 100\n+   return total >= 100\n```'), true)
  t.equal(report.includes('### src/size.ts:8'), true)
})

t.test('an equivalent mutant is no part of the score, an accepted one has survived', async (t) => {
  const equivalent = await run({ listed: [BOUNDARY], only: SIZE })
  t.equal(equivalent.trials.length, 4)
  t.equal(scoreOf(equivalent).survived, 1)
  t.equal(scoreOf(equivalent, 'src').equivalent, 1)
  t.strictSame(problemsOf(equivalent), ['the score is 75.0 per cent, below 85'])
  const accepted = await run({ listed: [{ ...BOUNDARY, verdict: 'accepted' }], only: SIZE })
  t.equal(accepted.trials.length, 4)
  t.equal(scoreOf(accepted).survived, 2)
  t.equal(scoreOf(accepted).accepted, 1)
})

t.test('a listed mutant that the tests find is tried where that is asked for', async (t) => {
  const listed = [{ ...BOUNDARY, to: '<=' }]
  const result = await run({ listed, triesListed: true, only: SIZE })
  t.equal(outcomes(result).includes('src/size.ts:3 > -> <=: killed'), true)
  t.strictSame(result.listed, [])
})

t.test('an entry whose mutant is no longer there fails the run', async (t) => {
  const result = await run({ listed: [BOUNDARY, { ...BOUNDARY, code: 'return total > 99' }], only: SIZE })
  t.strictSame(
    problemsOf(result).filter((problem) => problem.includes('survivors.json')),
    [
      'survivors.json lists a mutant of src/size.ts that is no longer there: ">" -> ">=" in "return total > 99"',
    ],
  )
})

t.test('a seed draws the same sample each time, another seed another one', async (t) => {
  const draw = async (seed: number): Promise<readonly string[]> =>
    outcomes(await run({ sample: 3, seed, only: SIZE }))
  const first = await draw(7)
  t.equal(first.length, 3)
  t.strictSame(await draw(7), first)
  t.strictNotSame(await draw(8), first)
})

t.test('a run whose time is up, and one without mutants, say so', async (t) => {
  const late = await run({ limitMs: 0 })
  t.equal(late.isCut, true)
  t.strictSame(late.trials, [])
  const none = await run({ only: 'src/none.ts' })
  t.equal(none.mutants, 0)
  t.equal(none.isCut, false)
  t.strictSame(problemsOf(none), ['no mutant was tried', 'the score is 0.0 per cent, below 85'])
})

t.test('a run that is stopped returns what was tried', async (t) => {
  const stopped = new AbortController()
  const result = await run({ jobs: 1, only: SIZE, signal: stopped.signal, onTrial: () => stopped.abort() })
  t.equal(result.trials.length, 1)
  t.equal(result.isCut, true)
})

t.test('what goes wrong in a run is thrown', async (t) => {
  const openStage = async (): Promise<never> => {
    throw new Error('no stage')
  }
  await t.rejects(run({ openStage }), /no stage/)
})
