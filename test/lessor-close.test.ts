import t, { type Test } from 'tap'
import { loadConfig } from '../src/config.ts'
import { ControlDatabase } from '../src/control/control-database.ts'
import { createLogger } from '../src/http/logger.ts'
import { createLessor, type Lessor } from '../src/lessor.ts'
import { loginName } from '../src/placement/tenant-names.ts'
import { errorCode } from '../src/pool/driver-errors.ts'
import { sql } from '../src/pool/statement.ts'
import { generateVaultKeys } from '../src/vault/key-ring.ts'
import { until } from './control/helpers.ts'
import { testDatabase } from './support/database.ts'
import { rejectsLike } from './support/like.ts'
import { PATIENT } from './support/patient.ts'
import { startTestServer } from './support/server.ts'
import { UNWATCHED } from './support/unwatched.ts'

async function startLessor(t: Test, url: string, environment: Record<string, string>) {
  const config = loadConfig({
    ...PATIENT,
    DATABASE_URL: url,
    OPERATOR_KEY: 'o'.repeat(40),
    VAULT_KEYS: generateVaultKeys(),
    ...environment,
  })
  const lines: string[] = []
  const { logger } = createLogger('warn', { write: (line) => lines.push(line) })
  const lessor = createLessor(config, { logger })
  t.teardown(() => lessor.close())
  await lessor.start()
  const other = new ControlDatabase({ url, maxConnections: 3 })
  t.teardown(() => other.close())
  const nodes = async () => (await other.query(sql`select from lessor.nodes`)).length
  return { lessor, lines, nodes, other }
}

/** How the pools refuse a tenant. */
function codeOf({ pools }: Lessor, tenantId: string): Promise<string | undefined> {
  return pools.use({ tenantId, generation: 1 }, new AbortController(), async () => undefined).catch(errorCode)
}

t.test('what works on a tenant ends before the process leaves, and then the process is gone', async (t) => {
  const { url } = await testDatabase(t)
  const { lessor, lines, nodes, other } = await startLessor(t, url, UNWATCHED)
  const { tenant } = await lessor.tenants.onboard({ name: 'acme' })
  const login = loginName(tenant.id, 'blue')
  const ended: string[] = []
  let working: Promise<unknown> | undefined
  let closing: Promise<void> | undefined
  const undone = other.transaction(async (tx) => {
    // Another administrator is at the login, so that the suspension waits.
    await tx.script(`alter role ${login} password null`)
    working = lessor.tenants.suspend(tenant.id).catch(() => {})
    await until(async () => {
      const rows = await other.query(sql`
        select from pg_locks l join pg_stat_activity a using (pid)
        where not l.granted and a.datname = current_database() and a.application_name = 'lessor admin'`)
      return rows.length > 0
    }, 'it waits')
    closing = lessor.close().then(() => void ended.push('closed'))
    await until(async () => (await codeOf(lessor, tenant.id)) === 'SHUTTING_DOWN', 'the pools are closed')
    for (let look = 0; look < 200; look++) if ((await nodes()) !== 1) throw new Error('the process has left')
    ended.push('free')
    throw new Error('done')
  })
  await rejectsLike(t, undone, { message: 'done' })
  await Promise.all([working, closing])
  t.strictSame(ended, ['free', 'closed'])
  t.strictSame(
    [
      ...(await other.query(sql`
        select t.status, r.rolcanlogin as "mayLogIn",
          (select count(*)::integer from lessor.login_settlements) as unsettled
        from lessor.tenants t, pg_roles r where r.rolname = ${login}`)),
    ],
    [{ status: 'suspended', mayLogIn: false, unsettled: 0 }],
  )
  t.equal(await nodes(), 0)
  t.strictSame(lines, [])
})

t.test('what a close leaves of its own: no node, and no session on any server', async (t) => {
  const server = await startTestServer()
  t.teardown(() => server.stop())
  const { lessor, lines, nodes, other } = await startLessor(t, server.url, { WATCHDOG_INTERVAL_MS: '100' })
  const { tenant } = await lessor.tenants.onboard({ name: 'acme' })
  await lessor.pools.use({ tenantId: tenant.id, generation: 1 }, new AbortController(), (db) =>
    db.query(sql`select 1`),
  )
  const sessions = async () =>
    (
      await other.query<{ name: string }>(sql`
        select coalesce(nullif(application_name, ''), usename) as name from pg_stat_activity
        where backend_type = 'client backend' and pid <> pg_backend_pid()`)
    ).map(({ name }) => name)
  await until(async () => (await sessions()).includes('lessor watchdog'), 'it watches')
  t.equal(await nodes(), 1)
  await lessor.close()
  t.strictSame(await sessions(), [])
  t.equal(await nodes(), 0)
  t.strictSame(lines, [])
})
