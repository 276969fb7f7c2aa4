// Measures the list of ten users through Lessor, through a bare Fastify app and by pgbench, side by
// side: npm run bench -- [--rounds N] [--seconds N] [--quick].
import { parseOptions, USAGE } from './bench/options.ts'
import { CALLERS, runRounds } from './bench/rounds.ts'
import { MAX_CONNECTIONS, setStage } from './bench/stage.ts'
import { outcomeOf, tableOf } from './bench/table.ts'
import { abortOnSignals } from './interrupt.ts'
import { saveResult } from './results.ts'

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const options = parseOptions(args)
  if (options === undefined) {
    console.error(USAGE)
    return 2
  }
  const { signal } = abortOnSignals()
  await using resources = new AsyncDisposableStack()
  const stage = await setStage(resources, { signal })
  const rounds = await runRounds(stage, options, (text) => console.log(text))
  const outcome = outcomeOf(rounds)
  const { rows } = stage.seeded
  console.log(`
GET /v1/users?page_size=10: ${CALLERS} callers, ${MAX_CONNECTIONS} connections, ${rows} rows of 1000 tenants,
medians of ${options.rounds} rounds of ${options.seconds} s

${tableOf(outcome)}
`)
  console.log(await saveResult('bench', { options, outcome, rounds }))
  return 0
}
