import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import { loadConfig } from '../src/config.ts'
import { isAlive } from '../src/embedded/pid-file.ts'
import { generateVaultKeys } from '../src/vault/key-ring.ts'
import { readEmbeddedDatabase } from './embedded-database.ts'
import { runK6 } from './run-k6.ts'
import { RunnerDatabase } from './runner-database.ts'
import type { Facts, Figures, Scenario } from './scenario.ts'
import { startServer } from './server-process.ts'
import { ServiceWatch } from './service-watch.ts'
import type { Stage } from './stage.ts'

const SERVICE = fileURLToPath(new URL('../src/server.ts', import.meta.url))

export interface RunOptions {
  /** Path of k6. */
  readonly k6: string
  /** File that gets the service's log. */
  readonly log: string
  readonly signal: AbortSignal
}

/**
 * runScenario starts the service on a database of its own, lets k6 call it, stops it, and resolves with
 * what was measured. Nothing of it is left, whatever happens.
 * @throws Error when there is nothing to judge: the service did not start or k6 did not run
 */
export async function runScenario(scenario: Scenario, options: RunOptions): Promise<Figures> {
  await using resources = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'lessor-stress-'))
  const stateDir = join(folder, 'state')
  resources.defer(() => removeState(folder, stateDir))
  // Under root PostgreSQL runs as another user, who must pass through.
  await chmod(folder, 0o711)
  const operatorKey = randomBytes(32).toString('base64url')
  const { stage, stop } = await setStage(scenario, { ...options, folder, stateDir, operatorKey }, resources)
  await scenario.before?.(stage)

  const script = fileURLToPath(new URL(`k6/${scenario.name}.js`, import.meta.url))
  const env = { ...scenario.script, LESSOR_URL: stage.service.url, OPERATOR_KEY: operatorKey }
  const { signal } = stage
  const [k6, during] = await together(
    signal,
    (both) => runK6({ k6: options.k6, script, env, folder, signal: both }),
    (both) => scenario.meanwhile?.({ ...stage, signal: both }) ?? NO_FACTS,
  )
  const service = await stage.watch.stop()
  const after = (await scenario.after?.(stage)) ?? {}
  const { pid } = await readEmbeddedDatabase(stateDir)
  const exit = await stop()
  return { k6, service, facts: { ...during, ...after }, end: { exit, isPostgresLeft: isAlive(pid) } }
}

const NO_FACTS: Promise<Facts> = Promise.resolve({})

interface StageOptions extends RunOptions {
  readonly folder: string
  readonly stateDir: string
  readonly operatorKey: string
}

/** What is started here ends with `resources`; `stop` ends the service and the database in order. */
async function setStage(
  scenario: Scenario,
  { folder, stateDir, operatorKey, log, signal }: StageOptions,
  resources: AsyncDisposableStack,
) {
  const ofRunner = scenario.database === 'runner' ? await RunnerDatabase.start(stateDir, signal) : undefined
  resources.defer(async () => ofRunner?.stop())
  const env = {
    ...scenario.service,
    PORT: '0',
    HOST: '127.0.0.1',
    STATE_DIR: stateDir,
    OPERATOR_KEY: operatorKey,
    ...(ofRunner && { DATABASE_URL: ofRunner.url, VAULT_KEYS: generateVaultKeys() }),
  }
  const { pools } = loadConfig(env)
  const service = await startServer({ script: SERVICE, env, folder, log, signal })
  resources.defer(async () => void (await service.stop()))
  const { url } = await readEmbeddedDatabase(stateDir)
  const sql = postgres(url, { max: 1, onnotice: () => {}, connection: { application_name: 'stress' } })
  resources.defer(() => sql.end({ timeout: 1 }))
  const watch = new ServiceWatch({
    url: service.url,
    operatorKey,
    databaseUrl: url,
    limits: {
      pools: pools.maxEntries,
      connections: pools.serverMaxConnections,
      opening: pools.maxOpening,
    },
    isDisturbed: scenario.excused !== undefined,
  })
  resources.defer(() => watch.close())
  const stage: Stage = { service, watch, sql, database: ofRunner, log, signal }
  const stop = async () => {
    const exit = await service.stop()
    await ofRunner?.stop()
    return exit
  }
  return { stage, stop }
}

/** together runs both, and ends the one when the other fails. */
async function together<A, B>(
  signal: AbortSignal,
  a: (signal: AbortSignal) => Promise<A>,
  b: (signal: AbortSignal) => Promise<B>,
): Promise<[A, B]> {
  const failed = new AbortController()
  const both = AbortSignal.any([signal, failed.signal])
  const orEnd = (error: unknown) => {
    failed.abort(error)
    throw error
  }
  const [first, second] = await Promise.allSettled([a(both).catch(orEnd), b(both).catch(orEnd)])
  // The one that failed by itself says why; the other was only ended.
  if (failed.signal.aborted) throw failed.signal.reason
  if (first.status === 'rejected') throw first.reason
  if (second.status === 'rejected') throw second.reason
  return [first.value, second.value]
}

/** Where the folder is closed to PostgreSQL's user, its data lies elsewhere, behind a link. */
async function removeState(folder: string, stateDir: string): Promise<void> {
  const database = join(stateDir, 'postgres')
  const data = await realpath(database).catch(() => database)
  for (const path of [data, folder]) await rm(path, { recursive: true, force: true })
}
