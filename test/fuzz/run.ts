// Asks the engine more statements than CI does: npm run fuzz -- [options]. Without TEST_DATABASE_URL it starts a
// PostgreSQL. Exit status: 0 every answer was its own question's, 1 not, 2 wrong use.
//   --statements N   in all, 1,000,000 by default
//   --rounds N       parts of the run, each with the next seed and other kinds of statements; one for 20,000 by default
//   --seed S         of the first round, random by default
//   --placement P    row, role, schema or database; all in turn by default
//   --connections N  of each pool, 1 to 4 in turn by default
//   --callers N      64 by default
//   --family F       what the rounds are to have besides good statements, may be given often; by the seed by default
import { parseArgs } from 'node:util'
import { PLACEMENTS } from '../../src/tenants/tenant.ts'
import { testDatabase } from '../support/database.ts'
import { Ends } from './ends.ts'
import { type FuzzOptions, fuzz } from './fuzz.ts'
import { FAMILIES } from './kind.ts'
import { findingLines, outcomeLines, roundLine, totalLine } from './report.ts'

const ROUND = 20_000

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const options = parse(args)
  if (options === undefined) {
    say(
      `Options: --statements N --rounds N --seed S --placement ${PLACEMENTS.join('|')} --connections N --callers N`,
    )
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

function parse(args: readonly string[]): Omit<FuzzOptions, 'database'> | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      statements: { type: 'string', default: '1000000' },
      rounds: { type: 'string' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000)) },
      placement: { type: 'string' },
      connections: { type: 'string' },
      callers: { type: 'string', default: '64' },
      family: { type: 'string', multiple: true },
    },
  })
  const placement = PLACEMENTS.find((name) => name === values.placement)
  const statements = Number(values.statements)
  const rounds = Number(values.rounds ?? Math.max(1, Math.round(statements / ROUND)))
  const [seed, callers] = [Number(values.seed), Number(values.callers)]
  const connections = values.connections === undefined ? undefined : Number(values.connections)
  const counts = [statements, rounds, callers, connections ?? 1]
  const isRight = counts.every((count) => Number.isInteger(count) && count > 0) && Number.isInteger(seed)
  if (!isRight || (values.placement !== undefined && placement === undefined)) return undefined
  const families =
    values.family === undefined ? undefined : FAMILIES.filter((family) => values.family?.includes(family))
  if (families?.length !== values.family?.length) return undefined
  return { statements, rounds, seed, callers, placement, connections, families }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
