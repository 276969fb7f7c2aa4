import { randomBytes } from 'node:crypto'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { migrate, readMigrations } from '../../src/control/migrate.ts'
import { startTestServer } from './server.ts'
import { type Build, databaseUrl, ensureTemplate, withAdmin } from './template.ts'

/**
 * TEMPLATES is what a test database can start from, and how that is built once per server: `empty`
 * has nothing in it, `control` has the control database's migrations.
 */
const TEMPLATES = {
  empty: null,
  control: buildControl,
} as const satisfies Record<string, Build | null>

export type TemplateName = keyof typeof TEMPLATES

/** TestDatabase is a database that one test has to itself. */
export interface TestDatabase {
  /** Connection URL of the superuser. */
  readonly url: string
}

/** Scope is what ends: a tap test, or tap itself for a whole file. */
interface Scope {
  teardown(fn: () => Promise<void>): void
}

/** The file's own server, when it runs alone. A process has one, and it ends with the process. */
let ownServer: Promise<string> | undefined

/**
 * testDatabase makes a fresh database, dropped at the teardown of `t` together with whoever is
 * still connected to it. It lies on the server that test/support/run.ts started for the whole run,
 * or on one of the file's own when the file runs alone.
 */
export async function testDatabase(
  t: Scope,
  options: { readonly template?: TemplateName } = {},
): Promise<TestDatabase> {
  ownServer ??= process.env.TEST_DATABASE_URL
    ? Promise.resolve(process.env.TEST_DATABASE_URL)
    : startTestServer().then(({ url }) => url)
  const server = await ownServer
  const template = await templateOf(server, options.template ?? 'empty')
  const name = `lessor_test_${randomBytes(6).toString('hex')}`
  await withAdmin(server, (admin) => admin`create database ${admin(name)} template ${admin(template)}`)
  t.teardown(async () => {
    await withAdmin(server, (admin) => admin`drop database if exists ${admin(name)} with (force)`)
  })
  return { url: databaseUrl(server, name) }
}

async function templateOf(server: string, name: TemplateName): Promise<string> {
  const build: Build | null = TEMPLATES[name]
  if (build === null) return 'template0'
  const template = `lessor_template_${name}`
  await ensureTemplate(server, template, build)
  return template
}

async function buildControl(url: string): Promise<void> {
  const db = new ControlDatabase({ url, maxConnections: 1 })
  try {
    await migrate(db, await readMigrations())
  } finally {
    await db.close()
  }
}
