import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { scratchFolder } from '../support/scratch.ts'
import { startTestServer, type TestServer } from '../support/server.ts'
import { withAdmin } from '../support/template.ts'
import { runTest } from './run-test.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const WARM_MS = 120_000

/** Stage is where tests run, one after the other. */
export interface Stage {
  /** What a test gets on top of the environment. */
  readonly env: Readonly<Record<string, string>>
  /** A folder of its own. */
  readonly folder: string
  /** reset takes away what a test left that was cut, or that ran broken code. */
  reset(): Promise<void>
  close(): Promise<void>
}

/** openFolder opens a stage without a server. */
export async function openFolder(): Promise<Stage> {
  const folder = await mkdtemp(join(await scratchFolder(), 'lessor-mutation-'))
  // Under root the embedded tests run PostgreSQL as another user, who must pass through.
  await chmod(folder, 0o711)
  const temporary = join(folder, 'tmp')
  await mkdir(temporary)
  await chmod(temporary, 0o711)
  return {
    folder,
    env: { TMPDIR: temporary },
    reset: async () => {},
    // Servers that tests started end after them, and remove their files at the same time.
    close: () => rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 }),
  }
}

/**
 * openDatabaseStage opens a stage with a PostgreSQL of its own, since mutants leave roles and databases behind that
 * other tests would meet.
 */
export async function openDatabaseStage(): Promise<Stage> {
  const stage = await openFolder()
  let database = await startDatabase(stage)
  return {
    folder: stage.folder,
    get env() {
      return { ...stage.env, TEST_DATABASE_URL: database.server.url }
    },
    async reset() {
      try {
        await clear(database)
      } catch {
        // What cannot be put back is replaced.
        await database.server.stop()
        database = await startDatabase(stage)
      }
    },
    async close() {
      await database.server.stop()
      await stage.close()
    },
  }
}

interface Database {
  readonly server: TestServer
  readonly databases: readonly string[]
  readonly roles: readonly string[]
}

/** The templates of test databases are made before the first mutant, which could make them wrong for all others. */
async function startDatabase({ env }: Stage): Promise<Database> {
  const server = await startTestServer()
  const { outcome, why } = await runTest({
    root: ROOT,
    file: 'test/mutation/warm-database.ts',
    env: { ...env, TEST_DATABASE_URL: server.url },
    limitMs: WARM_MS,
    signal: new AbortController().signal,
  })
  if (outcome !== 'green') throw new Error(`a test database cannot be made: ${why}`)
  return { server, ...(await contents(server.url)) }
}

async function clear({ server, databases, roles }: Database): Promise<void> {
  const now = await contents(server.url)
  await withAdmin(server.url, async (admin) => {
    await admin`alter system reset all`
    await admin`select pg_reload_conf()`
    for (const name of now.databases.filter((each) => !databases.includes(each))) {
      await admin`drop database if exists ${admin(name)} with (force)`
    }
    for (const name of now.roles.filter((each) => !roles.includes(each))) {
      await admin`drop role if exists ${admin(name)}`
    }
  })
}

async function contents(url: string): Promise<Pick<Database, 'databases' | 'roles'>> {
  return withAdmin(url, async (admin) => ({
    databases: (await admin`select datname from pg_database`).map(({ datname }) => String(datname)),
    roles: (await admin`select rolname from pg_roles`).map(({ rolname }) => String(rolname)),
  }))
}
