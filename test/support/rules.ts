// Checks the alert rules, runs their unit tests, and checks the queries of the dashboard, all with
// promtool: npm run rules. Exit status: 0 all is well, 1 not, 3 no promtool.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DASHBOARD, RULE_TESTS, RULES, readDashboard } from './deployed.ts'
import { findPromtool, howToGetPromtool } from './promtool.ts'

/** Exit statuses; `.ci/run` tells a missing promtool from a failure. */
const PASSED = 0
const FAILED = 1
const NO_PROMTOOL = 3

process.exitCode = await main()

async function main(): Promise<number> {
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
