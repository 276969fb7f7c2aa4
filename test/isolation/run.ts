// The proof of isolation: npm run isolation [-- --url <postgres url>] [--placement <name>]... [--mutate]
// With --siege, logins of tenants attack what all share instead: see siege.ts.
// Onboards tenants in each placement, lets them attack each other by everything that the catalog has, and writes
// reports/isolation.md and reports/isolation.json. With --url it makes a database of its own on that server, and
// drops it; without, it starts a PostgreSQL. --mutate then takes down one wall after the other and sees the proof
// fail (as a superuser; takes minutes). Exit status: 0 all walls hold, 1 not, 2 wrong use.
import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/http/logger.ts'
import { summary, toMarkdown } from '../../src/isolation/markdown.ts'
import { openStages } from '../../src/isolation/open-stages.ts'
import type { IsolationReport } from '../../src/isolation/report.ts'
import { runIsolation } from '../../src/isolation/run-isolation.ts'
import type { Stage } from '../../src/isolation/stage.ts'
import { createLessor } from '../../src/lessor.ts'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { testDatabase } from '../support/database.ts'
import { FIXTURE } from './fixture.ts'
import { ALL_USAGE, readIsolationOptions } from './isolation-options.ts'
import { type Killed, mutate, score, survivors } from './mutate.ts'
import { openHouse } from './placements.ts'
import { findUnreachable } from './server-url.ts'
import { siege } from './siege.ts'
import { HINT } from './siege-options.ts'
import { stageLimits } from './stages.ts'

const REPORTS = new URL('../../reports/', import.meta.url)
const TIMEOUT_MS = 3_600_000

/** Ends is what a test's end would be. */
class Ends implements AsyncDisposable {
  readonly #fns: (() => unknown)[] = []

  teardown(fn: () => unknown): void {
    this.#fns.push(fn)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const fn of this.#fns.toReversed()) await fn()
  }
}

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help')) {
    process.stdout.write(ALL_USAGE)
    return 0
  }
  if (args.includes('--siege')) return siege(args.filter((arg) => arg !== '--siege'))
  const wish = readIsolationOptions(args)
  if (typeof wish === 'string') return refuse(`${wish}\n${HINT}`)
  if (wish.url !== undefined) {
    const problem = await findUnreachable(wish.url)
    if (problem !== undefined) return refuse(problem)
    // What testDatabase makes its databases on.
    process.env.TEST_DATABASE_URL = wish.url
  }
  const report = await prove(wish.placements)
  await write(report)
  say(summary(report))
  if (!wish.mutates) return report.held ? 0 : 1
  const killed = await weaken()
  await writeFile(new URL('mutations.json', REPORTS), JSON.stringify(killed, undefined, 2))
  for (const survivor of survivors(killed)) say(`Not noticed: ${survivor}`)
  say(`${score(killed)}.`)
  return report.held && survivors(killed).length === 0 ? 0 : 1
}

function refuse(problem: string): number {
  process.stderr.write(`${problem}\n`)
  return 2
}

async function prove(only: readonly PlacementName[]): Promise<IsolationReport> {
  await using ends = new Ends()
  const { url } = await testDatabase(ends)
  const config = loadConfig({
    DATABASE_URL: url,
    OPERATOR_KEY: randomBytes(32).toString('base64url'),
    VAULT_KEYS: generateVaultKeys(),
    LOG_LEVEL: 'warn',
    ISOLATION_CRON: 'off',
  })
  const { logger } = createLogger(config.logLevel, { write: (line) => process.stderr.write(line) })
  const lessor = createLessor(config, { logger })
  ends.teardown(() => lessor.close())
  await lessor.start()
  const limits = stageLimits({ signal: AbortSignal.timeout(TIMEOUT_MS) })
  return await runIsolation({
    ...limits,
    stages: openStages({ ...lessor, server: 'default', only, signal: limits.signal }),
    onStage: ({ placement }) => say(`Placement ${placement} ...`),
  })
}

async function weaken(): Promise<readonly Killed[]> {
  await using ends = new Ends()
  const house = await openHouse(ends)
  await house.admin.script(FIXTURE)
  const [role, row] = [await house.stage(ends, 'role'), await house.stage(ends, 'row')]
  const schema = await house.stage(ends, 'schema')
  const hex = schema.own.id.replaceAll('-', '')
  const limits = stageLimits({ signal: AbortSignal.timeout(TIMEOUT_MS) })
  const shared = await mutate({
    url: house.url,
    stages: [firstRole(role), firstRole(row)],
    homes: new Set(['app']),
    parties: {
      logins: [role.own.target.user, row.own.target.user],
      groups: ['lessor_tenant', 'lessor_row'],
      stranger: role.other.target.user,
    },
    limits,
    onMutation: progress,
  })
  const own = await mutate({
    url: house.url,
    stages: [firstRole(schema)],
    homes: new Set([`t_${hex}`]),
    parties: { logins: [schema.own.target.user], groups: [`tu_${hex}`], stranger: schema.other.target.user },
    limits,
    only: ({ name, text }) => name.includes(hex) || text.includes(hex),
    onMutation: progress,
  })
  return [...shared, ...own]
}

function firstRole(stage: Stage): Stage {
  return { ...stage, roles: stage.roles.slice(0, 1) }
}

function progress(done: number, total: number): void {
  if (done % 25 === 0 || done === total) say(`${done} of ${total} walls weakened`)
}

async function write(report: IsolationReport): Promise<void> {
  await mkdir(REPORTS, { recursive: true })
  await writeFile(new URL('isolation.json', REPORTS), JSON.stringify(report, undefined, 1))
  await writeFile(new URL('isolation.md', REPORTS), toMarkdown(report))
  say(`Wrote ${fileURLToPath(new URL('isolation.md', REPORTS))} and isolation.json beside it.`)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
