import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { loginName, migratorPrefix } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import { openSession } from '../placement/support.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike } from '../support/like.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { type HouseOptions, openHouse } from './house.ts'
import { canLogIn, hurry, leak, lines } from './logins.ts'

t.setTimeout(180_000)
const { url } = await testDatabase(t, { template: 'control' })
const admin = new ServerAdmin({ address: parseDatabaseUrl(url) })
t.teardown(() => admin.close())

const OWN_LOGINS = ['role', 'schema', 'database'] as const
const WISH = { visitor: 'ada@desk', minutes: 5, writes: false }

async function withTenant(
  t: Test,
  name: string,
  placement: PlacementName,
  options: Partial<HouseOptions> = {},
) {
  const house = await openHouse(t, { url, ...options })
  const { tenant } = await house.tenants.onboard({ name: `${name} ${placement}`, placement })
  return { ...house, id: tenant.id }
}

type Leaked = Awaited<ReturnType<typeof leak>>

function logIn(
  t: Test,
  { user, password, database, parameters }: Omit<Leaked, 'server' | 'host' | 'port' | 'tls'>,
) {
  const target = new URL(url)
  Object.assign(target, { username: user, password: password.reveal(), pathname: `/${database}` })
  return openSession(t, target.href, parameters)
}

async function sessions(user: string): Promise<number> {
  return (await admin.query(sql`select from pg_stat_activity where usename = ${user}`)).length
}

for (const placement of OWN_LOGINS) {
  t.test(
    `${placement}: a suspension ends the sessions of a leaked credential and lets none in`,
    async (t) => {
      const house = await withTenant(t, 'Leaked', placement)
      const { id, tenants } = house
      const { tenant: other } = await tenants.onboard({ name: `Beside ${placement}`, placement })
      const [leaked, beside] = [await leak(house, id), await leak(house, other.id)]
      const [session, neighbour] = [await logIn(t, leaked), await logIn(t, beside)]
      const suspended = await tenants.suspend(id)
      t.equal(suspended.status, 'suspended')
      t.equal(suspended.unsettledLogins, null)
      await session.connection.lost
      await rejectsLike(t, logIn(t, leaked), { code: '28000' })
      t.strictSame([...(await neighbour.run('select 1 as alive'))], [{ alive: 1 }])
      await logIn(t, beside)
      const resumed = await tenants.resume(id)
      t.equal(resumed.status, 'active')
      t.equal(resumed.unsettledLogins, null)
      await logIn(t, leaked)
      t.equal(await lines(house, id), 0)
    },
  )

  t.test(`${placement}: it does so whatever the sessions do`, async (t) => {
    const house = await withTenant(t, 'Raging', placement)
    const { id, tenants } = house
    const leaked = await leak(house, id)
    let isOver = false
    const rage = async (statement: string) => {
      while (!isOver) {
        try {
          const session = await logIn(t, leaked)
          await session.run(`set statement_timeout = 0`)
          await session.run(`set lock_timeout = 0`)
          for (;;) await session.run(statement)
        } catch {
          await sleep(5)
        }
      }
    }
    const holder = await logIn(t, leaked)
    await holder.connection.command('begin').result
    await holder.run(`alter role current_user set work_mem = '2MB'`)
    // As many as the role may have.
    const raging = [
      ...Array.from({ length: 3 }, () => rage(`alter role current_user set work_mem = '1MB'`)),
      ...Array.from({ length: 3 }, () =>
        rage(`alter role current_user password '${leaked.password.reveal()}'`),
      ),
    ]
    const suspended = await tenants.suspend(id)
    t.equal(suspended.unsettledLogins, null)
    await holder.connection.lost
    t.equal(await canLogIn(admin, leaked.user), false)
    t.equal(await sessions(leaked.user), 0)
    isOver = true
    await Promise.all(raging)
  })
}

t.test('visitors and migrators are kept out as well, in row too, and a visit is over for good', async (t) => {
  const house = await withTenant(t, 'Visited', 'row')
  const { id, tenants } = house
  const { tenant: other } = await tenants.onboard({ name: 'Visited beside', placement: 'row' })
  const [visit, beside] = [
    await tenants.visits.open({ ...WISH, tenantId: id }),
    await tenants.visits.open({ ...WISH, tenantId: other.id }),
  ]
  const migrator = `${migratorPrefix(id)}0a1b2c3d`
  await admin.script(`create role ${migrator} login`)
  t.teardown(() => admin.script(`drop role ${migrator}`))
  const login = (each: typeof visit) => logIn(t, { ...each, user: each.role })
  const [session, neighbour] = [await login(visit), await login(beside)]
  await tenants.suspend(id)
  await session.connection.lost
  await rejectsLike(t, login(visit), { code: '28000' })
  t.equal(await canLogIn(admin, migrator), false)
  t.strictSame([...(await neighbour.run('select 1 as alive'))], [{ alive: 1 }])
  await tenants.resume(id)
  await rejectsLike(t, login(visit), { code: '28000' })
  t.equal(await canLogIn(admin, migrator), false, 'its migration is over')
  for (const each of [visit, beside]) await tenants.visits.close(each)
})

t.test('a request under way ends before the sessions do', async (t) => {
  const house = await withTenant(t, 'Under way', 'role')
  const { id, pools, tenants } = house
  const ref = await house.directory.resolve(id)
  if (ref === undefined) throw new Error('the tenant should be known')
  let begun: () => void = () => {}
  const running = new Promise<void>((resolve) => {
    begun = resolve
  })
  const request = pools.use(ref, new AbortController(), async (db) => {
    await db.query(sql`select 1`)
    begun()
    return db.query<{ slept: string }>(sql`select pg_sleep(0.5)::text as slept`)
  })
  await running
  await tenants.suspend(id)
  t.strictSame([...(await request)], [{ slept: '' }])
})

t.test(
  'while the data server is away a suspension stands, says what is left, and is finished later',
  async (t) => {
    const proxy = await TcpProxy.start(t, url)
    const house = await withTenant(t, 'Away', 'role', { serverUrl: proxy.url(url) })
    const { id, tenants } = house
    const leaked = await leak(house, id)
    const session = await logIn(t, leaked)
    proxy.refuse()
    proxy.reset()
    const suspended = await tenants.suspend(id)
    t.equal(suspended.status, 'suspended')
    const left = { wanted: 'closed', attempts: 1, error: 'SERVER_UNAVAILABLE' }
    t.strictSame({ ...suspended.unsettledLogins }, left)
    await hurry(house)
    await tenants.recover()
    t.strictSame({ ...(await tenants.get(id)).unsettledLogins }, { ...left, attempts: 2 })
    t.equal(house.unsettled.length, 2)
    await tenants.recover()
    t.equal(house.unsettled.length, 2, 'not before its time')
    await proxy.heal()
    await hurry(house)
    await tenants.recover()
    await session.connection.lost
    await rejectsLike(t, logIn(t, leaked), { code: '28000' })
    t.equal((await tenants.get(id)).unsettledLogins, null)

    proxy.refuse()
    proxy.reset()
    const resumed = await tenants.resume(id)
    t.equal(resumed.status, 'active')
    t.strictSame({ ...resumed.unsettledLogins }, { ...left, wanted: 'open' })
    await proxy.heal()
    await hurry(house)
    await tenants.recover()
    await logIn(t, leaked)
    t.equal((await tenants.get(id)).unsettledLogins, null)
  },
)

t.test('a resumption tries a data server once, says what is left, and is finished later', async (t) => {
  const failure = new Error('the cable')
  let failures = 0
  const house = await withTenant(t, 'Failed once', 'role', {
    wrapAdmin: (own) => ({
      query: (statement) => own.query(statement),
      script(text) {
        if (failures === 0) return own.script(text)
        failures -= 1
        return Promise.reject(failure)
      },
      transaction: (fn) => own.transaction(fn),
      inDatabase: (database, fn) => own.inDatabase(database, fn),
      asLogin: (login, fn) => own.asLogin(login, fn),
    }),
  })
  const { id, tenants, unsettled } = house
  const { user } = await leak(house, id)
  await tenants.suspend(id)
  failures = 1
  const { status, unsettledLogins } = await tenants.resume(id)
  const left = { wanted: 'open', attempts: 1, error: 'INTERNAL' }
  t.strictSame([status, { ...unsettledLogins }, failures], ['active', left, 0])
  t.strictSame(
    unsettled.map(([{ tenantId }, error]) => [tenantId, error]),
    [[id, failure]],
  )
  t.equal(await canLogIn(admin, user), false)
  await hurry(house)
  await tenants.recover()
  t.equal(await canLogIn(admin, user), true)
  t.equal(await lines(house, id), 0)
})

t.test('a resumption that ended in the middle leaves no login open', async (t) => {
  const house = await withTenant(t, 'Half resumed', 'role')
  const { id, tenants } = house
  const { user } = await leak(house, id)
  await tenants.suspend(id)
  const { db } = house
  await db.query(sql`
    insert into lessor.login_settlements (id, tenant_id, retry_at)
    values (gen_random_uuid(), ${id}::uuid, now() - interval '1 second')`)
  await admin.script(`alter role ${user} login`)
  await tenants.recover()
  t.equal(await canLogIn(admin, user), false)
  t.equal(await lines(house, id), 0)
})

t.test('a login that the watchdog has blocked stays closed', async (t) => {
  const house = await withTenant(t, 'Blocked', 'role')
  const { id, tenants } = house
  const { user } = await leak(house, id)
  await tenants.blocks.block({
    server: 'default',
    tenantId: id,
    login: user,
    reason: 'locks',
    isVisitor: false,
  })
  await tenants.suspend(id)
  await tenants.resume(id)
  t.equal(await canLogIn(admin, user), false)
  await tenants.unblock(id)
  t.equal(await canLogIn(admin, user), true)
})

t.test('the new login of a suspended tenant is closed until the tenant is resumed', async (t) => {
  const house = await withTenant(t, 'Rotated', 'role')
  const { id, tenants } = house
  await tenants.suspend(id)
  await tenants.rotateCredential(id)
  while ((await tenants.get(id)).job !== null) await sleep(5)
  const { user } = await leak(house, id)
  t.equal(user, loginName(id, 'green'))
  t.equal(await canLogIn(admin, user), false)
  t.equal(await lines(house, id), 0)
  await tenants.resume(id)
  t.equal(await canLogIn(admin, user), true)
})

t.test('a deletion needs nothing of a suspension that is left', async (t) => {
  const house = await withTenant(t, 'Gone', 'schema')
  const { id, tenants } = house
  await tenants.suspend(id)
  await house.db.query(sql`
    insert into lessor.login_settlements (id, tenant_id, retry_at)
    values (gen_random_uuid(), ${id}::uuid, now() - interval '1 second')`)
  await tenants.delete(id)
  while ((await tenants.get(id)).status !== 'deleted') await sleep(5)
  await tenants.recover()
  t.equal(await lines(house, id), 0)
})

t.test('what is not active is not suspended, and what is not suspended is not resumed', async (t) => {
  const house = await withTenant(t, 'Refused', 'row')
  const { id, tenants } = house
  t.equal((await tenants.resume(id)).status, 'active', 'an active tenant stays as it is')
  t.equal((await tenants.suspend(id)).status, 'suspended')
  t.equal((await tenants.suspend(id)).status, 'suspended', 'a suspended one too')
  await tenants.delete(id)
  while ((await tenants.get(id)).status !== 'deleted') await sleep(5)
  await rejectsLike(t, tenants.suspend(id), { code: 'TENANT_STATUS_CONFLICT' })
  await rejectsLike(t, tenants.resume(id), { code: 'TENANT_STATUS_CONFLICT' })
  await rejectsLike(t, tenants.suspend('00000000-0000-4000-8000-000000000000'), { code: 'TENANT_NOT_FOUND' })
})
