// The proof of isolation: npm run isolation [-- --url <postgres url>] [--placement <name>]... [--mutate]
// Onboards tenants in each placement, lets them attack each other by everything that the catalog has, and writes
// reports/isolation.md and reports/isolation.json. With --url it makes a database of its own on that server, and
// drops it; without, it starts a PostgreSQL. --mutate then takes down one wall after the other and sees the proof
// fail (as a superuser; takes minutes). Exit status: 0 all walls hold, 1 not.
import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/http/logger.ts'
import { summary, toMarkdown } from '../../src/isolation/markdown.ts'
import { openStages } from '../../src/isolation/open-stages.ts'
import type { IsolationReport } from '../../src/isolation/report.ts'
import { runIsolation } from '../../src/isolation/run-isolation.ts'
import type { Stage } from '../../src/isolation/stage.ts'
import { createLessor } from '../../src/lessor.ts'
import { PLACEMENTS } from '../../src/tenants/tenant.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { testDatabase } from '../support/database.ts'
import { FIXTURE } from './fixture.ts'
import { type Killed, mutate, score, survivors } from './mutate.ts'
import { openHouse } from './placements.ts'
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
  const { values } = parseArgs({
    args: [...args],
    options: {
      url: { type: 'string' },
      placement: { type: 'string', multiple: true },
      mutate: { type: 'boolean', default: false },
    },
  })
  const only = PLACEMENTS.filter((name) => values.placement?.includes(name) ?? true)
  if (values.placement?.some((name) => !PLACEMENTS.some((each) => each === name))) {
    say(`A placement is one of ${PLACEMENTS.join(', ')}.`)
    return 2
  }
  // What testDatabase makes its databases on.
  if (values.url !== undefined) process.env.TEST_DATABASE_URL = values.url
  const report = await prove(only)
  await write(report)
  say(summary(report))
  if (!values.mutate) return report.held ? 0 : 1
  const killed = await weaken()
  await writeFile(new URL('mutations.json', REPORTS), JSON.stringify(killed, undefined, 2))
  for (const survivor of survivors(killed)) say(`Not noticed: ${survivor}`)
  say(`${score(killed)}.`)
  return report.held && survivors(killed).length === 0 ? 0 : 1
}

async function prove(only: readonly (typeof PLACEMENTS)[number][]): Promise<IsolationReport> {
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
