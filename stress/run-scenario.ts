import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../src/config.ts'
import { isAlive } from '../src/embedded/pid-file.ts'
import { readEmbeddedDatabase } from './embedded-database.ts'
import { runK6 } from './run-k6.ts'
import type { Figures, Scenario } from './scenario.ts'
import { type ServerProcess, startServer } from './server-process.ts'
import { ServiceWatch } from './service-watch.ts'

const SERVICE = fileURLToPath(new URL('../src/server.ts', import.meta.url))

export interface RunOptions {
  /** Path of k6. */
  readonly k6: string
  /** File that gets the service's log. */
  readonly log: string
  readonly signal: AbortSignal
}

/**
 * runScenario starts the service on an embedded database of its own, lets k6 call it, stops it, and
 * resolves with what was measured. Nothing of it is left, whatever happens.
 * @throws Error when there is nothing to judge: the service did not start or k6 did not run
 */
export async function runScenario(scenario: Scenario, options: RunOptions): Promise<Figures> {
  const { k6, log, signal } = options
  const folder = await mkdtemp(join(tmpdir(), 'lessor-stress-'))
  const stateDir = join(folder, 'state')
  let service: ServerProcess | undefined
  try {
    // Under root PostgreSQL runs as another user, who must pass through.
    await chmod(folder, 0o711)
    const operatorKey = randomBytes(32).toString('base64url')
    const env = {
      ...scenario.service,
      PORT: '0',
      HOST: '127.0.0.1',
      STATE_DIR: stateDir,
      OPERATOR_KEY: operatorKey,
    }
    const { pools } = loadConfig(env)
    service = await startServer({ script: SERVICE, env, folder, log, signal })
    const database = await readEmbeddedDatabase(stateDir)
    const watch = new ServiceWatch({
      url: service.url,
      operatorKey,
      databaseUrl: database.url,
      limits: { pools: pools.maxEntries, connections: pools.serverMaxConnections },
    })
    try {
      const script = fileURLToPath(new URL(`k6/${scenario.name}.js`, import.meta.url))
      const scriptEnv = { ...scenario.script, LESSOR_URL: service.url, OPERATOR_KEY: operatorKey }
      const k6Figures = await runK6({ k6, script, env: scriptEnv, folder, signal })
      const serviceFigures = await watch.stop()
      const exit = await service.stop()
      return { k6: k6Figures, service: serviceFigures, end: { exit, isPostgresLeft: isAlive(database.pid) } }
    } finally {
      await watch.close()
    }
  } finally {
    await service?.stop()
    await removeState(folder, stateDir)
  }
}

/** Where the folder is closed to PostgreSQL's user, its data lies elsewhere, behind a link. */
async function removeState(folder: string, stateDir: string): Promise<void> {
  const database = join(stateDir, 'postgres')
  const data = await realpath(database).catch(() => database)
  for (const path of [data, folder]) await rm(path, { recursive: true, force: true })
}
