import { randomBytes, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { PostgresDatabase } from '../../src/control/postgres-database.ts'
import { loginName } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { OwnServer } from '../faults/own-server.ts'
import { type TestApp, testApp } from '../support/app.ts'

t.setTimeout(120_000)

const { url } = await OwnServer.start(t, { maxConnections: 60 })
const address = parseDatabaseUrl(url)
const admin = new ServerAdmin({ address, maxConnections: 2 })
t.teardown(() => admin.close())

/** Transactions become old so fast that nothing else has to be waited for; requests are faster by far. */
const ENVIRONMENT = {
  DATABASE_URL: url,
  OPERATOR_KEY: randomBytes(32).toString('base64url'),
  VAULT_KEYS: generateVaultKeys(),
  WATCHDOG: 'on',
  WATCHDOG_INTERVAL_MS: '100',
  WATCHDOG_TRANSACTION_MS: '1000',
}

/** Resolves when the condition holds. */
async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await holds())) await sleep(20)
}

/** Opens a session as a leaked credential would, with a transaction that stays open, and resolves when it was ended. */
async function offend(t: Test, login: Pick<typeof address, 'user' | 'password'>) {
  const db = new PostgresDatabase({
    address: { ...address, ...login },
    applicationName: 'leaked',
    maxConnections: 1,
    connectTimeoutMs: 10_000,
    statementTimeoutMs: 0,
    idleMs: 600_000,
    closeTimeoutMs: 100,
    unavailable: 'SERVER_UNAVAILABLE',
  })
  t.teardown(() => db.close())
  const [row] = await db.query<{ pid: number }>(sql`select pg_backend_pid() as pid`)
  await db.script('begin; select 1')
  await until(async () => {
    const found = await admin.query(sql`select from pg_stat_activity where pid = ${row?.pid ?? 0}::integer`)
    return found.length === 0
  })
}

async function targetOf({ lessor }: TestApp, tenantId: string) {
  const { database, password, user } = await lessor.locate(
    { tenantId, generation: 0 },
    AbortSignal.timeout(10_000),
  )
  return { database, password, user }
}

async function canLogIn(name: string): Promise<boolean | undefined> {
  const [row] = await admin.query<{ can: boolean }>(
    sql`select rolcanlogin as can from pg_roles where rolname = ${name}`,
  )
  return row?.can
}

const status = async (tenant: { inject: TestApp['operator'] }) => {
  const response = await tenant.inject({ method: 'GET', url: '/v1/users' })
  return { status: response.statusCode, code: response.statusCode === 200 ? undefined : response.json().code }
}

const BLOCKED = { status: 403, code: 'LOGIN_BLOCKED' }
const SERVED = { status: 200, code: undefined }

t.test('a login that offends again and again is blocked; an operator or a rotation lifts it', async (t) => {
  const first = await testApp(t, ENVIRONMENT)
  const tenant = await first.onboard()
  const neighbour = await first.onboard()
  const blue = loginName(tenant.id, 'blue')
  t.strictSame(await status(tenant), SERVED)
  t.equal(await canLogIn(blue), true)

  const leaked = await targetOf(first, tenant.id)
  for (let time = 0; time < 3; time++) {
    t.strictSame(await status(neighbour), SERVED)
    await offend(t, leaked)
  }
  await until(async () => (await status(tenant)).code === 'LOGIN_BLOCKED')
  t.equal(await canLogIn(blue), false)
  t.strictSame(await status(neighbour), SERVED)
  const told = await tenant.inject({ method: 'GET', url: '/v1/users' })
  const { block } = await first.lessor.tenants.get(tenant.id)
  t.equal(
    told.json().detail,
    `The tenant's database login is blocked since ${block?.blockedAt}, since its sessions kept transactions open for too long ` +
      'again and again. It works again when an operator rotates the credential or lifts the block.',
  )
  const shown = (await first.operator({ method: 'GET', url: `/v1/tenants/${tenant.id}` })).json()
  t.equal(shown.block.reason, 'transaction')
  t.equal(shown.status, 'active')
  const lines = first.logged().filter(({ msg }) => /ended what|login is blocked/.test(String(msg)))
  t.strictSame(
    lines.map(({ level, tenant: of, login, reason, offences }) => [level, of, login, reason, offences]),
    [
      [40, tenant.id, blue, 'transaction', 1],
      [40, tenant.id, blue, 'transaction', 2],
      [40, tenant.id, blue, 'transaction', 3],
      [40, tenant.id, blue, 'transaction', undefined],
    ],
  )
  t.notOk(first.logText().includes(leaked.password.reveal()))
  const metrics = (await first.operator({ method: 'GET', url: '/metrics' })).body
  t.ok(metrics.includes('lessor_watchdog_ended_total{server="default",reason="transaction"} 3'))
  t.ok(metrics.includes('lessor_watchdog_blocked_total 1'))
  t.notOk(metrics.includes(tenant.id))
  await first.app.close()

  // Another process knows of it, and sees to it that it holds on the server.
  await admin.script(`alter role ${blue} login`)
  const second = await testApp(t, ENVIRONMENT)
  const again = {
    inject: (options: Parameters<TestApp['operator']>[0]) =>
      second.app.inject({ ...options, headers: { authorization: `Bearer ${tenant.key}` } }),
  }
  t.strictSame(await status(again), BLOCKED)
  await until(async () => (await canLogIn(blue)) === false)

  const lifted = await second.operator({ method: 'POST', url: `/v1/tenants/${tenant.id}/unblock` })
  t.equal(lifted.statusCode, 200)
  t.equal(lifted.json().block, null)
  t.equal(await canLogIn(blue), true)
  t.strictSame(await status(again), SERVED)
  const twice = await second.operator({ method: 'POST', url: `/v1/tenants/${tenant.id}/unblock` })
  t.equal(twice.statusCode, 200)
  const none = await second.operator({ method: 'POST', url: `/v1/tenants/${randomUUID()}/unblock` })
  t.equal(none.json().code, 'TENANT_NOT_FOUND')

  await second.lessor.tenants.blocks.block({
    server: 'default',
    tenantId: tenant.id,
    login: blue,
    reason: 'locks',
    isVisitor: false,
  })
  await admin.script(`alter role ${blue} nologin`)
  t.strictSame(await status(again), BLOCKED)
  const rotated = await second.operator({ method: 'POST', url: `/v1/tenants/${tenant.id}/rotate-credential` })
  t.equal(rotated.statusCode, 202)
  t.strictSame([rotated.json().colour, rotated.json().block], ['green', null])
  t.strictSame(await status(again), SERVED)
  await until(async () => (await canLogIn(blue)) === undefined)
  // The next login of this colour is another one.
  await until(async () => (await second.lessor.tenants.get(tenant.id)).job === null)
  await second.operator({ method: 'POST', url: `/v1/tenants/${tenant.id}/rotate-credential` })
  t.strictSame(await status(again), SERVED)
})

t.test('a block and a suspension do not lift each other', async (t) => {
  const app = await testApp(t, ENVIRONMENT)
  const tenant = await app.onboard()
  const { blocks } = app.lessor.tenants
  const login = loginName(tenant.id, 'blue')
  const offender = {
    server: 'default',
    tenantId: tenant.id,
    login,
    reason: 'blocking',
    isVisitor: false,
  } as const
  await blocks.block(offender)
  await blocks.block(offender)
  t.strictSame([await blocks.list('default'), await blocks.list('elsewhere')], [[login], []])
  await admin.script(`alter role ${login} nologin`)
  await app.lessor.tenants.suspend(tenant.id)
  t.strictSame(await status(tenant), { status: 403, code: 'TENANT_SUSPENDED' })
  await app.lessor.tenants.resume(tenant.id)
  t.equal(await canLogIn(login), false, 'a resumption lifts no block')
  t.strictSame(await status(tenant), BLOCKED)

  await app.lessor.tenants.suspend(tenant.id)
  await app.lessor.tenants.unblock(tenant.id)
  t.equal(await canLogIn(login), false, 'the end of the suspension opens it')
  await app.lessor.tenants.resume(tenant.id)
  t.equal(await canLogIn(login), true)
})

t.test(
  'an operator opens a login whose block was never written down, but none of a tenant that is deleted',
  async (t) => {
    const app = await testApp(t, { ...ENVIRONMENT, WATCHDOG: 'off' })
    const tenant = await app.onboard()
    const login = loginName(tenant.id, 'blue')
    await admin.script(`alter role ${login} nologin`)
    await app.lessor.tenants.unblock(tenant.id)
    t.equal(await canLogIn(login), true)

    await app.lessor.tenants.blocks.block({
      server: 'default',
      tenantId: tenant.id,
      login,
      reason: 'locks',
      isVisitor: false,
    })
    await app.lessor.control.query(
      sql`update lessor.tenants set status = 'deleting' where id = ${tenant.id}::uuid`,
    )
    await admin.script(`alter role ${login} nologin`)
    await app.lessor.tenants.unblock(tenant.id)
    t.equal(await canLogIn(login), false)
  },
)

t.test("a person's login that offends is dropped for good, and the tenant goes on", async (t) => {
  const app = await testApp(t, { ...ENVIRONMENT, WATCHDOG_OFFENCES: '1' })
  const tenant = await app.onboard()
  const visit = await app.lessor.tenants.visits.open({
    tenantId: tenant.id,
    visitor: 'ada',
    minutes: 5,
    writes: true,
  })
  await offend(t, { user: visit.role, password: visit.password })
  await until(async () => (await canLogIn(visit.role)) === undefined)
  await until(async () => (await app.lessor.control.query(sql`select from lessor.visits`)).length === 0)
  t.strictSame(await status(tenant), SERVED)
  t.equal((await app.lessor.tenants.get(tenant.id)).block, null)
})

t.test('a login of no tenant that is known is ended, and nothing is written down', async (t) => {
  const app = await testApp(t, ENVIRONMENT)
  const tenantId = randomUUID()
  const { blocks } = app.lessor.tenants
  for (const login of [loginName(tenantId, 'blue'), `tm_${tenantId.replaceAll('-', '')}_0a`]) {
    await blocks.block({ server: 'default', tenantId, login, reason: 'locks', isVisitor: false })
  }
  t.strictSame(await blocks.list('default'), [])
  t.equal(await blocks.current(tenantId), undefined)
  const [row] = await app.lessor.tenants.onboardBatch({ tenants: [{ name: `row ${tenantId}` }] })
  t.equal(
    await blocks.current(row !== undefined && 'tenant' in row ? row.tenant.id : ''),
    undefined,
    'a tenant of row has no login of its own',
  )
})

t.test('with WATCHDOG=off nothing is ended', async (t) => {
  const app = await testApp(t, { ...ENVIRONMENT, WATCHDOG: 'off' })
  await app.onboard()
  const [found] = await admin.query<{ sessions: number }>(
    sql`select count(*)::integer as sessions from pg_stat_activity where application_name = 'lessor watchdog'`,
  )
  t.equal(found?.sessions, 0)
  t.notOk(
    (await app.operator({ method: 'GET', url: '/metrics' })).body.includes('lessor_watchdog_ended_total{'),
  )
})
