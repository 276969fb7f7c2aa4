// Measures the list of ten users through Lessor, through a bare Fastify app and by pgbench, side by
// side: npm run bench -- [--rounds N] [--seconds N] [--quick].
import { type BenchOptions, parseOptions, USAGE } from './bench/options.ts'
import { CALLERS, runRounds } from './bench/rounds.ts'
import { MAX_CONNECTIONS, setStage } from './bench/stage.ts'
import { outcomeOf, tableOf } from './bench/table.ts'
import { benchPlacements } from './bench-placements/run.ts'
import { abortOnSignals } from './interrupt.ts'
import { saveResult } from './results.ts'

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const [subcommand, ...others] = args
  if (subcommand === 'placements') return benchPlacements(others)
  const options = parseOptions(args)
  if (options === undefined) {
    console.error(USAGE)
    return 2
  }
  const interrupt = abortOnSignals()
  try {
    await bench(options, interrupt.signal)
    return 0
  } catch (error) {
    if (!interrupt.signal.aborted) throw error
    return interrupt.exitStatus
  }
}

async function bench(options: BenchOptions, signal: AbortSignal): Promise<void> {
  await using resources = new AsyncDisposableStack()
  const stage = await setStage(resources, { signal })
  const rounds = await runRounds(stage, options, { onProgress: (text) => console.log(text), signal })
  const outcome = outcomeOf(rounds)
  console.log(`
GET /v1/users?page_size=10: ${CALLERS} callers, ${MAX_CONNECTIONS} connections, ${stage.seeded.rows} rows of 1000 tenants,
medians of ${options.rounds} rounds of ${options.seconds} s

${tableOf(outcome)}
`)
  console.log(await saveResult('bench', { options, outcome, rounds }))
}
