// Asks the engine more statements than CI does: npm run fuzz -- [options]; see --help.
import { parseArgs } from 'node:util'
import { PLACEMENTS } from '../../src/tenants/tenant.ts'
import { testDatabase } from '../support/database.ts'
import { Ends } from './ends.ts'
import { type FuzzOptions, fuzz } from './fuzz.ts'
import { FAMILIES } from './kind.ts'
import { findingLines, outcomeLines, roundLine, totalLine } from './report.ts'

const ROUND = 20_000

const USAGE = `npm run fuzz [-- options]

Asks the engine statements of all kinds and sees whether each answer is its own question's. Without TEST_DATABASE_URL it starts
a PostgreSQL. Exit status: 0 every answer was, 1 not, 2 wrong use.

  --statements <n>     in all, 1000000 by default
  --rounds <n>         parts of the run, each with the next seed and other kinds of statements; one for ${ROUND} by default
  --seed <n>           of the first round, random by default
  --placement <name>   ${PLACEMENTS.join(', ')}; all in turn by default
  --connections <n>    of each pool, 1 to 4 in turn by default
  --callers <n>        64 by default
  --family <name>      what the rounds are to have besides good statements: ${FAMILIES.join(', ')}. May be given
                       often; by the seed by default
  --help               prints this
`
const HINT = 'npm run fuzz -- --help lists the options.'

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args)
  if (options === undefined) {
    process.stdout.write(USAGE)
    return 0
  }
  if (typeof options === 'string') {
    process.stderr.write(`${options}\n${HINT}\n`)
    return 2
  }
  await using ends = new Ends()
  say(`${options.statements} statements in ${options.rounds} rounds, from seed ${options.seed}`)
  const result = await fuzz(ends, {
    ...options,
    signal: interrupted(),
    database: () => testDatabase(ends, { template: 'control' }),
    onRound(round) {
      say(roundLine(round))
      for (const line of findingLines(round)) say(line)
    },
  })
  say('Outcomes by kind:')
  for (const line of outcomeLines(result)) say(line)
  say(totalLine(result))
  return result.rounds.every(({ findings }) => findings.total === 0) ? 0 : 1
}

/** What is made at the server is removed after a signal as well. */
function interrupted(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort())
  return controller.signal
}

/** A string says what is wrong with the arguments; undefined is a wish for help. */
function readOptions(args: readonly string[]): Omit<FuzzOptions, 'database'> | string | undefined {
  let values: ReturnType<typeof parse>
  try {
    values = parse(args)
  } catch (error) {
    // What parseArgs throws is meant for people.
    return error instanceof Error ? error.message : String(error)
  }
  if (values.help) return undefined
  const statements = Number(values.statements)
  const counts = {
    statements,
    rounds: Number(values.rounds ?? Math.max(1, Math.round(statements / ROUND))),
    callers: Number(values.callers),
    connections: values.connections === undefined ? undefined : Number(values.connections),
  }
  for (const [name, count = 1] of Object.entries(counts)) {
    if (!Number.isInteger(count) || count < 1) return `--${name} must be a whole number from 1.`
  }
  const seed = Number(values.seed)
  if (!Number.isInteger(seed)) return '--seed must be a whole number.'
  const placement = PLACEMENTS.find((name) => name === values.placement)
  if (values.placement !== undefined && placement === undefined)
    return `--placement must be one of ${PLACEMENTS.join(', ')}, and is "${values.placement}".`
  const families = values.family && FAMILIES.filter((family) => values.family?.includes(family))
  const unknown = values.family?.find((name) => !families?.some((family) => family === name))
  if (unknown !== undefined) return `--family must be one of ${FAMILIES.join(', ')}, and is "${unknown}".`
  return { ...counts, seed, placement, families }
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    options: {
      statements: { type: 'string', default: '1000000' },
      rounds: { type: 'string' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000)) },
      placement: { type: 'string' },
      connections: { type: 'string' },
      callers: { type: 'string', default: '64' },
      family: { type: 'string', multiple: true },
      help: { type: 'boolean', default: false },
    },
  }).values
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
