import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { loginName } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike } from '../support/like.ts'
import { type HouseOptions, openHouse } from './house.ts'
import { canLogIn, hold, hurry, leak, lines } from './logins.ts'

const { url } = await testDatabase(t, { template: 'control' })
const admin = new ServerAdmin({ address: parseDatabaseUrl(url) })
t.teardown(() => admin.close())

/** So many recoveries settle whatever is left of suspensions and resumptions that met. */
const RECOVERIES = 20

async function withTenant(t: Test, name: string, options: Partial<HouseOptions> = {}) {
  const house = await openHouse(t, { url, ...options })
  const { tenant } = await house.tenants.onboard({ name, placement: 'role' })
  return { ...house, id: tenant.id }
}

t.test('a suspension and a resumption that meet no other settle by themselves', async (t) => {
  const house = await withTenant(t, 'Alone')
  const { id, tenants, unsettled } = house
  const { user } = await leak(house, id)
  for (let round = 0; round < 3; round++) {
    for (const [move, isOpen] of [
      ['suspend', false],
      ['resume', true],
    ] as const) {
      const { unsettledLogins } = await tenants[move](id)
      t.strictSame(
        [unsettledLogins, await lines(house, id), await canLogIn(admin, user)],
        [null, 0, isOpen],
        `${move}, ${round} rounds before`,
      )
    }
  }
  t.strictSame(unsettled, [])
})

t.test('of suspensions and resumptions at once the last one counts', async (t) => {
  const house = await withTenant(t, 'To and fro')
  const { id, tenants } = house
  const { user } = await leak(house, id)
  for (let round = 0; round < 5; round++) {
    await Promise.allSettled([
      tenants.suspend(id),
      tenants.resume(id),
      tenants.suspend(id),
      tenants.resume(id),
    ])
    // What takes longer than a caller waits is done later.
    for (let times = 0; times < RECOVERIES && (await lines(house, id)) > 0; times++) {
      await hurry(house)
      await tenants.recover()
    }
    t.equal(await lines(house, id), 0)
    const { status } = await tenants.get(id)
    t.equal(await canLogIn(admin, user), status === 'active', `the tenant is ${status}`)
  }
})

t.test('a resumption of a tenant that is suspended in the meantime opens its logins', async (t) => {
  const house = await withTenant(t, 'Crossed')
  const { id, tenants } = house
  const { user } = await leak(house, id)
  const waiting = async () =>
    (
      await admin.query(sql`
    select from pg_locks where not granted and relation = 'lessor.visits'::regclass`)
    ).length
  const visits = await hold(house, sql`lock table lessor.visits in access exclusive mode`)
  // It finds an active tenant, and reads who visits it next.
  const resumed = tenants.resume(id)
  while ((await waiting()) < 1) await sleep(5)
  const suspended = tenants.suspend(id)
  while ((await waiting()) < 2) await sleep(5)
  const row = await hold(house, sql`select from lessor.tenants where id = ${id}::uuid for update`)
  await visits.release()
  while ((await lines(house, id)) > 0) await sleep(5)
  t.equal(await canLogIn(admin, user), false)
  await row.release()
  const outcomes = [(await resumed).status, (await suspended).unsettledLogins]
  t.strictSame(outcomes, ['active', null])
  t.equal(await canLogIn(admin, user), true)
  t.equal(await lines(house, id), 0)
})

t.test('a suspension that another process has settled meanwhile ends, and leaves it so', async (t) => {
  const house = await withTenant(t, 'Settled elsewhere')
  const { db, id, tenants, unsettled } = house
  const { user } = await leak(house, id)
  const waiting = async () =>
    (
      await admin.query(sql`
    select from pg_locks where not granted and relation = 'lessor.visits'::regclass`)
    ).length
  const visits = await hold(house, sql`lock table lessor.visits in access exclusive mode`)
  const suspended = tenants.suspend(id)
  // It has written down what it is to do, and reads who visits the tenant.
  while ((await waiting()) < 1) await sleep(5)
  await db.query(sql`delete from lessor.login_settlements where tenant_id = ${id}::uuid`)
  await visits.release()
  t.equal((await suspended).unsettledLogins, null)
  // Waits for what goes on.
  await tenants.close()
  t.equal(await canLogIn(admin, user), false)
  t.strictSame(unsettled, [])
})

t.test('a rotation of a suspended tenant ends when the new login has been closed', async (t) => {
  const house = await withTenant(t, 'Rotated while suspended')
  const { id, tenants } = house
  await tenants.suspend(id)
  like(t, await tenants.rotateCredential(id), { status: 'suspended', colour: 'green' })
  t.equal(await lines(house, id), 0, 'nothing is left to settle')
  t.equal(await canLogIn(admin, loginName(id, 'green')), false)
})

t.test('a suspension that another process undoes at once leaves nothing to be settled', async (t) => {
  const house = await withTenant(t, 'Undone')
  const { db, id, tenants } = house
  const { user } = await leak(house, id)
  const waiting = async () =>
    (
      await admin.query(sql`
    select from pg_locks where not granted and relation = 'lessor.namespaces'::regclass`)
    ).length
  const names = await hold(house, sql`lock table lessor.namespaces in access exclusive mode`)
  const refused = rejectsLike(t, tenants.suspend(id), { code: 'TENANT_STATUS_CONFLICT' })
  // It has committed, and reads what the tenant is now.
  while ((await waiting()) < 1) await sleep(5)
  t.equal(await lines(house, id), 1)
  await db.query(sql`update lessor.tenants set status = 'active' where id = ${id}::uuid`)
  await names.release()
  await refused
  t.equal(await lines(house, id), 0)
  t.equal(await canLogIn(admin, user), true)
})

for (const { move, action, back } of [
  { move: 'suspend', action: 'suspended', back: 'active' },
  { move: 'resume', action: 'resumed', back: 'suspended' },
] as const) {
  t.test(`${move}: logins follow what another process has made of it before its end`, async (t) => {
    let meanwhile: (() => Promise<unknown>) | undefined
    const house = await withTenant(t, `${move} and back`, {
      wrapDb: (own) => ({
        query: (statement) => own.query(statement),
        script: (text) => own.script(text),
        announce: (channel, payload) => own.announce(channel, payload),
        async transaction(fn) {
          const result = await own.transaction(fn)
          const due = meanwhile
          meanwhile = undefined
          await due?.()
          return result
        },
      }),
    })
    const { db, id, tenants, unsettled } = house
    const { user } = await leak(house, id)
    if (move === 'resume') await tenants.suspend(id)
    // It dies before it comes to the logins.
    meanwhile = () => db.query(sql`update lessor.tenants set status = ${back} where id = ${id}::uuid`)
    await rejectsLike(t, tenants[move](id), {
      code: 'TENANT_STATUS_CONFLICT',
      message: `A tenant that is ${back} cannot be ${action}.`,
    })
    t.equal(meanwhile, undefined)
    t.equal(await canLogIn(admin, user), back === 'active')
    t.equal(await lines(house, id), 0)
    t.strictSame(unsettled, [])
  })
}
