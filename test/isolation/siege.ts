import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { buildApp } from '../../src/app.ts'
import { type Environment, loadConfig } from '../../src/config.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { createLogger } from '../../src/http/logger.ts'
import { ATTACKS } from '../../src/isolation/siege/attacks.ts'
import { runSiege, type SiegeOptions } from '../../src/isolation/siege/run-siege.ts'
import { siegeMarkdown, siegeSummary, siegeTable } from '../../src/isolation/siege/siege-markdown.ts'
import type { SiegeReport } from '../../src/isolation/siege/siege-report.ts'
import { createLessor } from '../../src/lessor.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { smallQueue } from '../postgres/environment.ts'
import { testDatabase } from '../support/database.ts'
import { startTestServer } from '../support/server.ts'
import { findUnreachable } from './server-url.ts'
import { HINT, readSiegeOptions, type SiegeWish } from './siege-options.ts'

/**
 * SIEGE_SERVER is a server as it comes, but for what makes an attack take hours that would be done in seconds here: a queue of
 * notifications of half a megabyte, which can be chosen from PostgreSQL 17 on, and autovacuum that looks every second. Prepared
 * transactions, off by default, are on, so that they are tried.
 */
export const SIEGE_SERVER = {
  max_connections: '100',
  max_locks_per_transaction: '64',
  max_prepared_transactions: '4',
  ...smallQueue(64),
  autovacuum_naptime: '1',
} as const

interface Scope {
  teardown(fn: () => Promise<void>): void
}

export type Besieged = Pick<SiegeOptions, 'url' | 'operatorKey' | 'superuser' | 'locate' | 'pools' | 'visits'>

/** besiegedService starts the whole service on a database of its own, listening on 127.0.0.1; gone with `t`. */
export async function besiegedService(t: Scope, environment: Environment = {}): Promise<Besieged> {
  const { url: databaseUrl } = await testDatabase(t)
  const operatorKey = randomBytes(32).toString('base64url')
  const config = loadConfig({
    DATABASE_URL: databaseUrl,
    OPERATOR_KEY: operatorKey,
    VAULT_KEYS: generateVaultKeys(),
    LOG_LEVEL: 'silent',
    ISOLATION_CRON: 'off',
    ...environment,
  })
  const { logger } = createLogger(config.logLevel, { write: (line) => process.stderr.write(line) })
  const lessor = createLessor(config, { logger })
  const app = await buildApp(lessor)
  t.teardown(() => app.close())
  const { locate, pools, tenants } = lessor
  return {
    url: await app.listen({ host: '127.0.0.1', port: 0 }),
    operatorKey,
    superuser: { ...parseDatabaseUrl(databaseUrl), server: 'siege', parameters: {} },
    locate,
    pools,
    visits: tenants.visits,
  }
}

/** Ends is what a test's end would be. */
class Ends implements AsyncDisposable {
  readonly #fns: (() => Promise<void>)[] = []

  teardown(fn: () => Promise<void>): void {
    this.#fns.push(fn)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const fn of this.#fns.toReversed()) await fn()
  }
}

const REPORTS = new URL('../../reports/', import.meta.url)

/** siege is `npm run isolation -- --siege`; resolves with its exit status. */
export async function siege(args: readonly string[]): Promise<number> {
  const wish = readSiegeOptions(args)
  if (typeof wish === 'string') {
    process.stderr.write(`${wish}\n${HINT}\n`)
    return 2
  }
  if (wish.lists) {
    for (const { name, about, placements } of ATTACKS) say(`${name} (${placements.join(', ')}): ${about}.`)
    return 0
  }
  const problem = wish.url === undefined ? undefined : await findUnreachable(wish.url)
  if (problem !== undefined) {
    process.stderr.write(`${problem}\n`)
    return 2
  }
  const report = await fight(wish)
  await mkdir(REPORTS, { recursive: true })
  await writeFile(new URL('siege.json', REPORTS), JSON.stringify(report, undefined, 1))
  await writeFile(new URL('siege.md', REPORTS), siegeMarkdown(report))
  for (const line of siegeTable(report)) say(line)
  say(`Wrote ${fileURLToPath(new URL('siege.md', REPORTS))} and siege.json beside it.`)
  say(siegeSummary(report))
  return report.held ? 0 : 1
}

async function fight(wish: SiegeWish): Promise<SiegeReport> {
  const stopped = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => stopped.abort(new Error(`stopped by ${signal}`)))
  }
  if (wish.url !== undefined) {
    say('This server is attacked for real. Whatever else uses it is hurt as well, until the siege is over.')
  }
  await using ends = new Ends()
  // What testDatabase makes its databases on.
  process.env.TEST_DATABASE_URL = wish.url ?? (await ownServer(ends))
  const besieged = await besiegedService(ends, { LOG_LEVEL: wish.logLevel })
  return await runSiege({
    ...besieged,
    ...wish,
    url: besieged.url,
    signal: stopped.signal,
    onBattle(attack, placement, battle) {
      if (battle === undefined) return
      const requests = battle.neighbours.reduce((sum, each) => sum + each.requests, 0)
      const lost = battle.neighbours.reduce((sum, each) => sum + each.lost, 0)
      const outcome = battle.broken.length === 0 ? 'holds' : `does not hold: ${battle.broken.join('; ')}`
      const [seconds, known] = [battle.durationMs / 1000, battle.unbounded === undefined ? '' : ' (no bound)']
      say(
        `${placement}, ${attack}: ${requests} requests, ${lost} lost, ${seconds.toFixed(0)} s: ${outcome}${known}`,
      )
    },
  })
}

async function ownServer(ends: Ends): Promise<string> {
  const server = await startTestServer(SIEGE_SERVER)
  ends.teardown(() => server.stop())
  return server.url
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
