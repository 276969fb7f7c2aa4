import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import type { PoolKey } from '../../src/pool/contract.ts'
import { errorCode } from '../../src/pool/driver-errors.ts'
import { sql } from '../../src/pool/statement.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import { type TestApp, type TestTenant, testApp } from '../support/app.ts'
import { rejectsLike } from '../support/like.ts'
import { withAdmin } from '../support/template.ts'
import { eventually } from './eventually.ts'
import { OwnServer } from './own-server.ts'
import { Traffic } from './traffic.ts'

t.setTimeout(180_000)

/** As few as PostgreSQL allows: its table of locks has this many for each connection that it may have. */
const LOCKS = 10
const CONNECTIONS = 40
const PLACEMENTS = ['row', 'role', 'schema', 'database'] as const

async function setUp(t: Test, environment: Readonly<Record<string, string>> = {}) {
  const server = await OwnServer.start(t, { maxConnections: CONNECTIONS })
  await server.configure({ max_locks_per_transaction: LOCKS, superuser_reserved_connections: 12 })
  const service = await testApp(t, {
    DATABASE_URL: server.url,
    LOG_LEVEL: 'warn',
    CONTROL_MAX_CONNECTIONS: '2',
    POOL_MAX_CONNECTIONS: '2',
    ROW_MAX_CONNECTIONS: '2',
    SERVER_MAX_CONNECTIONS: '12',
    ...environment,
  })
  return { server, service }
}

async function onboard(
  service: TestApp,
  placement: PlacementName,
): Promise<TestTenant & { placement: PlacementName; pool: PoolKey }> {
  const { tenant, api_key } = await service.lessor.tenants.onboard({ name: placement, placement })
  const inject: TestTenant['inject'] = (options) =>
    service.app.inject({
      ...options,
      headers: { authorization: `Bearer ${api_key.key}`, ...options.headers },
    })
  const pool = { tenantId: tenant.id, generation: tenant.generation }
  return { id: tenant.id, key: api_key.key, inject, placement, pool }
}

/** More locks than sessions leave that end. */
const LOCK_CATALOGS = sql`
  do $$
  declare each regclass;
  begin
    for each in select oid from pg_class where relkind = 'r' and relnamespace = 'pg_catalog'::regnamespace loop
      begin
        execute format('select from %s limit 0', each);
      exception when insufficient_privilege then null;
      end;
    end loop;
  end $$`

/** Others fill the table of locks, and empty it again. */
async function fillLocks(t: Test, server: OwnServer): Promise<() => Promise<void>> {
  const hog = postgres(server.url, { max: 1, max_lifetime: null, onnotice: () => {} })
  t.teardown(() => hog.end({ timeout: 1 }))
  // What it has got before the table is full it keeps.
  const full = await hog`select pg_advisory_lock(i) from generate_series(1, 1000000) i`.catch(errorCode)
  if (full !== '53200') throw new Error(`the table of locks is not full: ${full}`)
  return async () => {
    await hog`select pg_advisory_unlock_all()`
  }
}

t.test('neighbours lose no request while others fill the table of locks', async (t) => {
  const { server, service } = await setUp(t)
  const tenants = await Promise.all(PLACEMENTS.map((placement) => onboard(service, placement)))
  const { pools } = service.lessor
  const traffic = new Traffic({ tenants, callers: 2 })
  t.teardown(() => traffic.stop())
  await eventually(() => traffic.unserved())

  const release = await fillLocks(t, server)
  await eventually(() => {
    const { sentAgain } = pools.counters()
    return sentAgain >= 20 ? undefined : `${sentAgain} statements were sent again`
  })
  await t.test('in a transaction of the caller nothing is sent again', async (t) => {
    for (const tenant of tenants) {
      await rejectsLike(
        t,
        pools.use(tenant.pool, new AbortController(), (db) =>
          db.transaction(async (tx) => {
            await tx.query(sql`
              insert into users (first_name, last_name) values ('never', 'never')`)
            // Another session that ends leaves room for it, and not for this.
            await tx.query(LOCK_CATALOGS)
          }),
        ),
        { code: '53200' },
        tenant.placement,
      )
    }
  })
  await release()
  traffic.since()
  await eventually(() => traffic.unserved())
  await traffic.stop()

  t.comment(`${traffic.summary()}; ${pools.counters().sentAgain} sent again`)
  t.equal(traffic.failed, 0)
  for (const tenant of tenants) {
    const answer = await tenant.inject({ url: '/v1/users' })
    const { total } = answer.json<{ total: number }>()
    const written = traffic.writes.values().filter(({ tenantId }) => tenantId === tenant.id)
    t.equal(total, written.toArray().length, `${tenant.placement}: every row is there once`)
  }
})

t.test('a statement that may have worked outside of its transaction is not sent again', async (t) => {
  const { server, service } = await setUp(t)
  const tenant = await onboard(service, 'schema')
  const run = (statement: ReturnType<typeof sql>) =>
    service.lessor.pools.use(tenant.pool, new AbortController(), (db) => db.query(statement))
  t.strictSame([...(await run(sql`select 1 as one`))], [{ one: 1 }])
  const release = await fillLocks(t, server)
  await rejectsLike(t, run(sql`do $$ begin perform pg_advisory_xact_lock(-7); end $$`), { code: '53200' })
  t.equal(service.lessor.pools.counters().sentAgain, 0)

  const gone = new AbortController()
  const waiting = service.lessor.pools.use(tenant.pool, gone, (db) =>
    db.query(sql`select pg_advisory_xact_lock(-7)`),
  )
  const refused = rejectsLike(
    t,
    waiting,
    { code: 'CLIENT_CLOSED_REQUEST' },
    'a caller who goes ends the pause',
  )
  await eventually(() =>
    service.lessor.pools.counters().sentAgain > 0 ? undefined : 'nothing is sent again',
  )
  gone.abort()
  await refused
  // Longer than it is tried: what the server says is what the caller gets.
  await rejectsLike(t, run(sql`select pg_advisory_xact_lock(-7)`), { code: '53200' })
  await release()
  t.equal((await run(sql`select pg_advisory_xact_lock(-7)`)).length, 1)
})

t.test('a COMMIT that finds no room for locks gives its error, and nothing is sent twice', async (t) => {
  const { server, service } = await setUp(t)
  const [row, own] = [await onboard(service, 'row'), await onboard(service, 'schema')]
  const { pools } = service.lessor
  // Takes all locks that there are, when its transaction commits, and counts what a rollback does not undo.
  await withAdmin(server.url, async (admin) => {
    await admin.unsafe(`
      create sequence app.tries;
      create function app.take_all() returns trigger language plpgsql security definer as $$
      begin
        perform nextval('app.tries');
        perform pg_advisory_xact_lock(i) from generate_series(1, 1000000) i;
        return null;
      end $$`)
    for (const schema of ['app', `t_${own.id.replaceAll('-', '')}`]) {
      await admin.unsafe(`
        create constraint trigger take_all after insert on ${schema}.users deferrable initially deferred
        for each row execute function app.take_all()`)
    }
  })
  const tries = async () => {
    const [found] = await withAdmin(server.url, (admin) =>
      admin.unsafe('select case when is_called then last_value else 0 end::integer as count from app.tries'),
    )
    return found?.count
  }
  const { statusCode, body } = await row.inject({
    method: 'POST',
    url: '/v1/users',
    payload: { first_name: 'Ada', last_name: 'Lovelace' },
  })
  t.equal(statusCode, 503, body)
  t.equal(JSON.parse(body).code, 'DATABASE_OVERLOADED')
  t.equal(await tries(), 1)
  await rejectsLike(
    t,
    pools.use(own.pool, new AbortController(), (db) =>
      db.transaction((tx) =>
        tx.query(sql`insert into users (first_name, last_name) values ('Ada', 'Lovelace')`),
      ),
    ),
    { code: '53200' },
  )
  t.equal(await tries(), 2)
  t.equal(pools.counters().sentAgain, 0)
})

t.test("onboarding on a server that is full of a tenant's sessions says so, and works after", async (t) => {
  const { server, service } = await setUp(t, { ROLE_CONNECTION_LIMIT: '100', WATCHDOG: 'off' })
  const { lessor } = service
  const greedy = await onboard(service, 'role')
  await lessor.pools.evict(greedy.id, 'operator')
  const { password, user } = await lessor.locate(greedy.pool, AbortSignal.timeout(10_000))
  const url = new URL(server.url)
  Object.assign(url, { username: user, password: password.reveal() })
  const sessions: postgres.Sql[] = []
  t.teardown(() => Promise.all(sessions.map((each) => each.end({ timeout: 1 }))))
  for (let isFull = false; !isFull; ) {
    const session = postgres(url.href, { max: 1, max_lifetime: null })
    sessions.push(session)
    const code = await session`select 1`.then(() => undefined, errorCode)
    if (code !== undefined && code !== '53300') throw new Error(`a session was refused: ${code}`)
    isFull = code === '53300'
  }
  await rejectsLike(t, onboard(service, 'schema'), { code: 'SERVER_UNAVAILABLE', status: 503 })
  const { records } = await lessor.tenants.list({ limit: 10 })
  t.strictSame(
    records.map(({ id }) => id),
    [greedy.id],
    'nothing is left of it',
  )
  t.equal((await lessor.tenants.suspend(greedy.id)).unsettledLogins, null)
  await onboard(service, 'schema')
})

t.test('cold neighbours are served when others take every connection and leave again', async (t) => {
  const { server, service } = await setUp(t)
  const tenants = await Promise.all(PLACEMENTS.map((placement) => onboard(service, placement)))
  const { pools } = service.lessor
  for (const { id } of tenants) await pools.evict(id, 'operator')
  await withAdmin(server.url, (admin) => admin.unsafe(`create role hog login password 'hog'`))
  await withAdmin(server.url, (admin) => admin.unsafe('grant connect on database postgres to hog'))
  const hogs: postgres.Sql[] = []
  t.teardown(() => Promise.all(hogs.map((each) => each.end({ timeout: 1 }))))
  for (let isFull = false; !isFull; ) {
    const hog = postgres(server.url.replace(/\/\/[^@]+@/, '//hog:hog@'), { max: 1, max_lifetime: null })
    hogs.push(hog)
    const code = await hog`select 1`.then(() => undefined, errorCode)
    if (code !== undefined && code !== '53300') throw new Error(`a session was refused: ${code}`)
    isFull = code === '53300'
  }
  const { connectionsOpened } = pools.counters()
  const answers = tenants.map(async ({ inject, placement }) => {
    const name = randomUUID()
    const { statusCode, body } = await inject({
      method: 'POST',
      url: '/v1/users',
      payload: { first_name: name, last_name: placement },
    })
    return { placement, statusCode, body: statusCode === 201 ? '' : body }
  })
  // Some tries.
  await eventually(() => {
    const { used } = pools.budget().opening
    return used > 0 && pools.gauges().waiting >= tenants.length ? undefined : 'none waits'
  })
  t.equal(pools.counters().connectionsOpened, connectionsOpened, 'no connection was to be had')
  // The service has no session of an administrator's that it could use for long: no reserve, and as any login.
  const admin = new ServerAdmin({
    address: parseDatabaseUrl(server.url.replace(/\/\/[^@]+@/, '//hog:hog@')),
  })
  t.teardown(() => admin.close())
  const asked = admin.query(sql`select 1 as one`)
  await Promise.all(hogs.splice(0).map((each) => each.end({ timeout: 1 })))
  t.strictSame(
    await Promise.all(answers),
    PLACEMENTS.map((placement) => ({ placement, statusCode: 201, body: '' })),
  )
  t.strictSame([...(await asked)], [{ one: 1 }], 'who is no superuser waits for a connection as well')
  t.strictSame(pools.gauges().breakers, {
    tenant: { open: 0, half_open: 0 },
    server: { open: 0, half_open: 0 },
  })
})
