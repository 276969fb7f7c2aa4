import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { insertChange } from '../../src/control/change-store.ts'
import type { ChangeLog, NewChange } from '../../src/control/changes.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import type { AdminDb } from '../../src/placement/placement.ts'
import { loginName } from '../../src/placement/tenant-names.ts'
import { errorCode } from '../../src/pool/driver-errors.ts'
import { sql } from '../../src/pool/statement.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { findLogin } from '../../src/tenants/credential-store.ts'
import { openLogin } from '../../src/tenants/login.ts'
import { openSession } from '../placement/support.ts'
import { testDatabase } from '../support/database.ts'
import { type House, type HouseOptions, openHouse } from './house.ts'

t.setTimeout(120_000)
const { url } = await testDatabase(t, { template: 'control' })
const admin = new ServerAdmin({ address: parseDatabaseUrl(url) })
t.teardown(() => admin.close())

type Settled = ChangeLog['settled']

/** A house with a tenant and a session of its leaked credential. */
async function open(t: Test, settled: Settled, options: Partial<HouseOptions> = {}) {
  const published: NewChange[] = []
  const house = await openHouse(t, {
    url,
    changes: {
      publish: (tx, change) => {
        published.push(change)
        return insertChange(tx, change)
      },
      settled,
    },
    ...options,
  })
  const { tenant } = await house.tenants.onboard({ name: `Tenant ${randomUUID()}` })
  const session = await leak(t, house, tenant.id)
  published.splice(0)
  return { ...house, id: tenant.id, session, published, login: loginName(tenant.id, 'blue') }
}

async function leak(t: Test, { db, vault, servers, placements }: House, id: string) {
  const sealed = await findLogin(db, id)
  if (sealed === undefined) throw new Error('the tenant should have a row')
  const { user, password, database, parameters } = await openLogin({ vault, servers, placements }, sealed)
  const target = new URL(url)
  Object.assign(target, { username: user, password: password.reveal(), pathname: `/${database}` })
  return openSession(t, target.href, parameters)
}

async function canLogIn(user: string): Promise<boolean | undefined> {
  const [row] = await admin.query<{ can: boolean }>(
    sql`select rolcanlogin as can from pg_roles where rolname = ${user}`,
  )
  return row?.can
}

/** Resolves when a login is closed. */
async function untilClosed(user: string): Promise<void> {
  while ((await canLogIn(user)) !== false) await new Promise(setImmediate)
}

async function lines({ db }: Pick<House, 'db'>, id: string): Promise<number> {
  return (await db.query(sql`select from lessor.login_settlements where tenant_id = ${id}::uuid`)).length
}

/** Lets what is left come up at the next recovery. */
async function hurry({ db }: Pick<House, 'db'>): Promise<void> {
  await db.query(sql`update lessor.login_settlements set retry_at = now() - interval '1 second'`)
}

const AT_ONCE: Settled = async () => {}

/** Other processes that do not let go; `over` resolves with why they are not waited for any more. */
function never() {
  const { promise: over, resolve: end } = Promise.withResolvers<unknown>()
  const settled: Settled = (_, signal) =>
    new Promise((_, reject) =>
      signal.addEventListener('abort', () => {
        end(signal.reason)
        reject(signal.reason)
      }),
    )
  return { settled, over }
}

t.test('sessions go on until the other processes have let go of the tenant', async (t) => {
  const { promise: settled, resolve: settle } = Promise.withResolvers<void>()
  const versions: bigint[] = []
  const { id, login, session, tenants } = await open(t, (version) => {
    versions.push(version)
    return settled
  })
  const suspending = tenants.suspend(id)
  await untilClosed(login)
  while (versions.length === 0) await new Promise(setImmediate)
  t.strictSame([...(await session.run('select 1 as alive'))], [{ alive: 1 }])
  settle()
  const suspended = await suspending
  await session.connection.lost
  t.equal(suspended.unsettledLogins, null)
  t.equal(versions.length, 1)
})

t.test('sessions go on until the requests of this process have ended', async (t) => {
  const { id, login, pools, session, tenants } = await open(t, AT_ONCE)
  const { generation } = await tenants.get(id)
  const [begun, end] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const request = pools.use({ tenantId: id, generation }, new AbortController(), async (db) => {
    await db.query(sql`select 1`)
    begun.resolve()
    await end.promise
    return db.query(sql`select 1 as alive`)
  })
  await begun.promise
  const suspending = tenants.suspend(id)
  await untilClosed(login)
  // Time enough for what must not come yet.
  for (let i = 0; i < 100; i++) await session.run('select 1')
  t.strictSame([...(await session.run('select 1 as alive'))], [{ alive: 1 }])
  end.resolve()
  t.strictSame([...(await request)], [{ alive: 1 }])
  t.equal((await suspending).unsettledLogins, null)
  await session.connection.lost
})

t.test('processes that do not let go keep no session alive', async (t) => {
  const { over, settled } = never()
  const { id, session, tenants } = await open(t, settled)
  t.equal((await tenants.suspend(id)).unsettledLogins, null)
  await session.connection.lost
  t.equal(((await over) as Error).name, 'TimeoutError')
})

t.test('a process that closes gives no grace, and leaves nothing undone', async (t) => {
  const { over, settled } = never()
  const { id, login, session, tenants, db } = await open(t, settled)
  const suspending = tenants.suspend(id).catch(() => {})
  await untilClosed(login)
  await tenants.close()
  await session.connection.lost
  await suspending
  t.equal(errorCode(await over), 'SHUTTING_DOWN')
  t.equal(await lines({ db }, id), 0)
})

t.test('a second suspension closes the logins by itself, whatever has become of the first', async (t) => {
  const house = await open(t, AT_ONCE)
  const { db, id, login, session, tenants } = house
  // The first one's process has died, and its line is left alone for an hour.
  await db.query(
    sql`update lessor.tenants set status = 'suspended', generation = generation + 1 where id = ${id}::uuid`,
  )
  await db.query(sql`
    insert into lessor.login_settlements (id, tenant_id, retry_at)
    values (gen_random_uuid(), ${id}::uuid, now() + interval '1 hour')`)
  t.equal((await tenants.suspend(id)).status, 'suspended')
  t.equal(await canLogIn(login), false)
  await session.connection.lost
  t.equal(await lines(house, id), 1, 'the line of the first is its own')
  await hurry(house)
  await tenants.recover()
  t.equal(await lines(house, id), 0)
})

t.test(
  'logins that were settled at a later attempt are told of, so that no pool pauses for them',
  async (t) => {
    let isBroken = false
    const house = await open(t, AT_ONCE, {
      wrapAdmin: (own): AdminDb => ({
        query: (statement) => (isBroken ? Promise.reject(new Error('the cable')) : own.query(statement)),
        script: (text) => own.script(text),
        transaction: (fn) => own.transaction(fn),
        inDatabase: (database, fn) => own.inDatabase(database, fn),
        asLogin: (login, fn) => own.asLogin(login, fn),
      }),
    })
    const { id, published, tenants } = house
    const change = { kind: 'status', tenantId: id }
    isBroken = true
    const left = (await tenants.suspend(id)).unsettledLogins
    t.strictSame({ ...left }, { wanted: 'closed', attempts: 1, error: 'INTERNAL' })
    t.strictSame(published, [change])
    isBroken = false
    await hurry(house)
    await tenants.recover()
    t.equal((await tenants.get(id)).unsettledLogins, null)
    t.strictSame(published, [change, change])

    await tenants.resume(id)
    await tenants.suspend(id)
    t.strictSame(published, [change, change, change, change], 'and no more than once where nothing fails')
  },
)
