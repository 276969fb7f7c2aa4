// Checks the alert rules, runs their unit tests, and checks the queries of the dashboard, all with
// promtool: npm run rules; see --help.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DASHBOARD, RULE_TESTS, RULES, readDashboard } from './deployed.ts'
import { findPromtool, howToGetPromtool } from './promtool.ts'

/** Exit statuses, as --help says them. */
const PASSED = 0
const FAILED = 1
const WRONG_USE = 2
const NO_PROMTOOL = 3

const USAGE = `npm run rules

Checks the alert rules, runs their tests, and checks the queries of the dashboard, all with promtool.
Exit status: 0 all is well, 1 not, 2 wrong use, 3 there is no promtool.
`

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  if (args.length > 0) {
    const isHelp = args.length === 1 && args[0] === '--help'
    process[isHelp ? 'stdout' : 'stderr'].write(isHelp ? USAGE : `It takes no arguments: ${args.join(' ')}\n`)
    return isHelp ? PASSED : WRONG_USE
  }
  const promtool = await findPromtool(process.env)
  if (promtool === undefined) {
    process.stderr.write(`${howToGetPromtool(process.env)}\n`)
    return NO_PROMTOOL
  }
  const folder = await mkdtemp(join(tmpdir(), 'lessor-rules-'))
  try {
    const queries = join(folder, 'queries.rules.yml')
    await writeFile(queries, await queriesAsRules())
    const statuses = [
      await run(promtool, ['check', 'rules', '--lint=all', '--lint-fatal', RULES]),
      await run(promtool, ['test', 'rules', RULE_TESTS]),
      await run(promtool, ['check', 'rules', queries]),
    ]
    return statuses.every((status) => status === 0) ? PASSED : FAILED
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** promtool reads expressions in rules alone. JSON is YAML as well. */
async function queriesAsRules(): Promise<string> {
  const rules = (await readDashboard(DASHBOARD)).flatMap(({ title, queries }) =>
    queries.map((query, index) => ({
      record: `query:${title.replaceAll(/\W/g, '_')}:${index}`,
      expr: query.replaceAll('$__rate_interval', '5m'),
    })),
  )
  return JSON.stringify({ groups: [{ name: 'queries', rules }] })
}

async function run(command: string, args: readonly string[]): Promise<number> {
  const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  const [status]: (number | null)[] = await once(child, 'exit')
  return status ?? 1
}
