import t from 'tap'
import { readMutationOptions } from './mutation-options.ts'

t.test('the arguments are read', async (t) => {
  t.strictSame(readMutationOptions(['--jobs', '3']), {
    sample: 200,
    seed: 1,
    only: undefined,
    jobs: 3,
    limitMs: 1_800_000,
    budgetMs: 60_000,
    triesListed: false,
    helps: false,
  })
  t.strictSame(
    readMutationOptions('--all --seed 0 --file src/pool/** --jobs 1 --budget 5 --listed --help'.split(' ')),
    {
      sample: undefined,
      seed: 0,
      only: 'src/pool/**',
      jobs: 1,
      limitMs: Number.POSITIVE_INFINITY,
      budgetMs: 5_000,
      triesListed: true,
      helps: true,
    },
  )
  t.strictSame(
    [
      ['--all', '--minutes', '2'],
      ['--sample', '5', '--minutes', '3'],
    ].map((args) => {
      const wish = readMutationOptions(args)
      return typeof wish === 'string' ? wish : [wish.sample, wish.limitMs]
    }),
    [
      [undefined, 120_000],
      [5, 180_000],
    ],
  )
})

t.test('wrong arguments are refused in a sentence', async (t) => {
  t.equal(
    readMutationOptions(['--all', '--sample', '5']),
    '--all and --sample are two answers to one question.',
  )
  t.equal(readMutationOptions(['--jobs', '0']), '--jobs must be a whole number from 1.')
  t.equal(readMutationOptions(['--seed=-1']), '--seed must be a whole number from 0.')
  t.equal(readMutationOptions(['--sample', 'many']), '--sample must be a whole number from 1.')
  const unknown = readMutationOptions(['--quick'])
  t.equal(typeof unknown === 'string' && unknown.startsWith("Unknown option '--quick'"), true)
})
