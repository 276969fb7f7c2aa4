import { createHook } from 'node:async_hooks'
import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { type ScriptDb, sql } from '../../src/pool/statement.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { findLogin } from '../../src/tenants/credential-store.ts'
import { openLogin } from '../../src/tenants/login.ts'
import { type Grace, over, shutOut } from '../../src/tenants/shut-out.ts'
import { openSession } from '../placement/support.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike } from '../support/like.ts'
import { type House, openHouse } from './house.ts'

t.setTimeout(120_000)
const { url } = await testDatabase(t, { template: 'control' })
const admin = new ServerAdmin({ address: parseDatabaseUrl(url) })
t.teardown(() => admin.close())

const HOUR_MS = 3_600_000
const FOR_EVER = new Promise<never>(() => {})
const never = () => new AbortController().signal

/** What leaks: all that it takes to log in as the tenant. */
async function leak(t: Test, { db, vault, servers, placements }: House, id: string) {
  const sealed = await findLogin(db, id)
  if (sealed === undefined) throw new Error('the tenant should have a row')
  const { user, password, database, parameters } = await openLogin({ vault, servers, placements }, sealed)
  const target = new URL(url)
  Object.assign(target, { username: user, password: password.reveal(), pathname: `/${database}` })
  return { user, logIn: () => openSession(t, target.href, parameters) }
}

/** Undefined when there is no such role. */
async function canLogIn(user: string): Promise<boolean | undefined> {
  const [row] = await admin.query<{ can: boolean }>(
    sql`select rolcanlogin as can from pg_roles where rolname = ${user}`,
  )
  return row?.can
}

/** timersOf resolves with how many timers some work has left behind, those included that keep no process running. */
async function timersOf(work: () => Promise<unknown>): Promise<number> {
  const left = new Set<number>()
  const hook = createHook({
    init: (id, type) => void (type === 'Timeout' && left.add(id)),
    destroy: (id) => void left.delete(id),
  }).enable()
  await work()
  // Node tells of the end of a timer in a turn of its own.
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate)
  hook.disable()
  return left.size
}

t.test('a deletion waits neither for a request without an end nor for a leaked session', async (t) => {
  const house = await openHouse(t, {
    url,
    limits: { drainTimeoutMs: HOUR_MS, statementTimeoutMs: HOUR_MS },
  })
  const { pools, tenants } = house
  const { tenant } = await tenants.onboard({ name: 'Endless' })
  const { tenant: other } = await tenants.onboard({ name: 'Beside Endless' })
  const [leaked, beside] = [await leak(t, house, tenant.id), await leak(t, house, other.id)]
  const [session, neighbour] = [await leaked.logIn(), await beside.logIn()]
  await session.run('set statement_timeout = 0')
  const own = await openSession(t, url)
  const begun = Promise.withResolvers<void>()
  const request = pools.use({ tenantId: tenant.id, generation: 1 }, new AbortController(), (db) =>
    db.transaction(async (tx) => {
      await tx.query(sql`select set_config('statement_timeout', '0', true)`)
      begun.resolve()
      await tx.query(sql`select pg_sleep(3600)`)
    }),
  )
  const ended = rejectsLike(t, request, { code: 'CONNECTION_LOST' })
  const sleeps = rejectsLike(t, session.run('select pg_sleep(3600)'), { code: 'CONNECTION_CLOSED' })
  await begun.promise
  await tenants.delete(tenant.id)
  await Promise.all([ended, sleeps, session.connection.lost])
  while ((await tenants.get(tenant.id)).status !== 'deleted') await new Promise(setImmediate)
  t.equal(await canLogIn(leaked.user), undefined)
  t.strictSame(house.failures, [])
  for (const each of [neighbour, own]) {
    t.strictSame([...(await each.run('select 1 as alive'))], [{ alive: 1 }])
  }
})

t.test('logins are closed at once, and their sessions end when they are not needed any more', async (t) => {
  const house = await openHouse(t, { url })
  const { tenant } = await house.tenants.onboard({ name: 'Grace' })
  const leaked = await leak(t, house, tenant.id)
  const session = await leaked.logIn()
  const { promise: until, resolve: end } = Promise.withResolvers<void>()
  const moments: string[] = []
  const observed: ScriptDb = {
    query: (statement) => {
      if (statement.strings.join().includes('pg_terminate_backend')) moments.push('ends sessions')
      return admin.query(statement)
    },
    script: (text) => admin.script(text),
    transaction: (fn) => admin.transaction(fn),
  }
  const shut = shutOut(observed, tenant.id, { until, graceMs: HOUR_MS, signal: never() })
  while ((await canLogIn(leaked.user)) !== false) await new Promise(setImmediate)
  await rejectsLike(t, leaked.logIn(), { code: '28000' })
  t.strictSame([...(await session.run('select 1 as alive'))], [{ alive: 1 }])
  moments.push('not needed any more')
  end()
  await shut
  await session.connection.lost
  t.strictSame(moments.slice(0, 2), ['not needed any more', 'ends sessions'])
})

t.test('sessions that cannot be ended are told of', async (t) => {
  const house = await openHouse(t, { url })
  const { tenant } = await house.tenants.onboard({ name: 'Not ended' })
  const refused = new Error('not now')
  const broken: ScriptDb = {
    query: (statement) =>
      statement.strings.join().includes('pg_terminate_backend')
        ? Promise.reject(refused)
        : admin.query(statement),
    script: (text) => admin.script(text),
    transaction: (fn) => admin.transaction(fn),
  }
  const grace = { until: Promise.resolve(), graceMs: HOUR_MS, signal: never() }
  await rejectsLike(t, shutOut(broken, tenant.id, grace), refused)
})

t.test('a tenant without logins is not waited for', async (t) => {
  const grace = { until: FOR_EVER, graceMs: HOUR_MS, signal: never() }
  t.equal(await shutOut(admin, '00000000-0000-4000-8000-000000000000', grace), undefined)
})

t.test(
  'a grace ends when it is not needed any more, in whatever way, or by its time or signal',
  async (t) => {
    const later = new AbortController()
    const ways: Record<string, () => Grace> = {
      done: () => ({ until: Promise.resolve(), graceMs: HOUR_MS, signal: never() }),
      failed: () => ({ until: Promise.reject(new Error('failed')), graceMs: HOUR_MS, signal: never() }),
      'in time': () => ({ until: FOR_EVER, graceMs: 1, signal: never() }),
      'aborted before': () => ({ until: FOR_EVER, graceMs: HOUR_MS, signal: AbortSignal.abort() }),
      'aborted later': () => {
        setImmediate(() => later.abort())
        return { until: FOR_EVER, graceMs: HOUR_MS, signal: later.signal }
      },
    }
    for (const [way, grace] of Object.entries(ways)) {
      t.equal(await timersOf(async () => t.equal(await over(grace()), undefined, way)), 0, way)
    }
  },
)
