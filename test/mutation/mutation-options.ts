import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { MUTANT_KINDS } from './mutant.ts'

/** FOLDERS is what is mutated: where a fault costs a tenant most. */
export const FOLDERS = ['src/pool', 'src/access', 'src/vault', 'src/tenants'] as const

const DEFAULT_SAMPLE = 200
const DEFAULT_MINUTES = 30
const DEFAULT_BUDGET = 60

export const USAGE = `npm run mutation [-- options]

Changes the code of ${FOLDERS.join(', ')} in one place at a time and runs the tests that cover the place: they
must fail. Prints the score, and writes reports/mutation.md and reports/mutation.json.
Exit status: 0 the score is good, 1 not, 2 wrong use.

  --sample <n>       so many mutants, ${DEFAULT_SAMPLE} by default: about 20 minutes on two cores
  --all              all of them: many hours
  --seed <n>         which ones; 1 by default. The same seed draws the same mutants of the same code
  --file <pattern>   of these files alone, such as 'src/pool/driver/**'
  --jobs <n>         so many at once, ${availableParallelism()} by default
  --minutes <n>      begins no other mutant after so long, ${DEFAULT_MINUTES} by default; with --all there is no limit
  --budget <n>       seconds of tests that a mutant must survive, ${DEFAULT_BUDGET} by default
  --listed           tries the mutants of test/mutation/survivors.json as well
  --help             prints this

Kinds of mutants: ${Object.keys(MUTANT_KINDS).join(', ')}.
`

/** HINT follows the sentence that says what is wrong with the arguments. */
export const HINT = 'npm run mutation -- --help lists the options.'

/** MutationWish is what the command line asks for. */
export interface MutationWish {
  /** Undefined for all. */
  readonly sample: number | undefined
  readonly seed: number
  readonly only: string | undefined
  readonly jobs: number
  readonly limitMs: number
  readonly budgetMs: number
  readonly triesListed: boolean
  readonly helps: boolean
}

/** readMutationOptions reads the arguments; a string says what is wrong with them. */
export function readMutationOptions(args: readonly string[]): MutationWish | string {
  let values: ReturnType<typeof parse>
  try {
    values = parse(args)
  } catch (error) {
    return error instanceof Error ? error.message.replaceAll(/\s*\n\s*/g, ' ') : String(error)
  }
  const { sample, all, minutes } = values
  if (all && sample !== undefined) return '--all and --sample are two answers to one question.'
  const numbers: Record<string, number> = {}
  for (const name of ['sample', 'seed', 'jobs', 'minutes', 'budget'] as const) {
    const text = values[name]
    if (text === undefined) continue
    const least = name === 'seed' ? 0 : 1
    const value = Number(text)
    if (!/^\d{1,9}$/.test(text) || value < least) return `--${name} must be a whole number from ${least}.`
    numbers[name] = value
  }
  const limit = numbers.minutes ?? DEFAULT_MINUTES
  return {
    sample: all ? undefined : (numbers.sample ?? DEFAULT_SAMPLE),
    seed: numbers.seed ?? 1,
    only: values.file,
    jobs: numbers.jobs ?? availableParallelism(),
    limitMs: all && minutes === undefined ? Number.POSITIVE_INFINITY : limit * 60_000,
    budgetMs: (numbers.budget ?? DEFAULT_BUDGET) * 1000,
    triesListed: values.listed,
    helps: values.help,
  }
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    options: {
      sample: { type: 'string' },
      all: { type: 'boolean', default: false },
      seed: { type: 'string' },
      file: { type: 'string' },
      jobs: { type: 'string' },
      minutes: { type: 'string' },
      budget: { type: 'string' },
      listed: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  }).values
}
