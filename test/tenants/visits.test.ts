import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { LessorError } from '../../src/errors.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { PLACEMENTS } from '../../src/tenants/tenant.ts'
import type { VisitRecord } from '../../src/tenants/visit-store.ts'
import { type Visit, Visits, type VisitsOptions } from '../../src/tenants/visits.ts'
import { openSession } from '../placement/support.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { type House, openHouse, ROLE_LIMITS, traces } from './house.ts'

const { url } = await testDatabase(t, { template: 'control' })

const WISH = { visitor: 'ada@desk', minutes: 5, writes: false }

/** Visits of placement role, and what they told. */
function visitsOf({ db, servers, placement }: House, instead: Partial<VisitsOptions> = {}) {
  const told: [what: string, of: Partial<VisitRecord>, more?: unknown][] = []
  const visits = new Visits({
    db,
    servers,
    placements: new Map([['role', placement]]),
    limits: () => ROLE_LIMITS,
    visitObserver: {
      opened: (visit, writes) => told.push(['opened', visit, writes]),
      closed: (visit) => told.push(['closed', visit]),
      failed: (visit, error) => told.push(['failed', visit, error]),
    },
    ...instead,
  })
  return { visits, told }
}

function login(t: Test, { role, password, database, parameters }: Visit): Promise<Db> {
  const address = new URL(url)
  address.username = role
  address.password = password.reveal()
  address.pathname = `/${database}`
  return openSession(t, address.href, parameters)
}

t.test('a visit is written down, told with who and until when, and ends', async (t) => {
  const house = await openHouse(t, { url })
  const { visits, told } = visitsOf(house)
  const { tenant } = await house.tenants.onboard({ name: 'Visited' })
  const visit = await visits.open({ ...WISH, tenantId: tenant.id, writes: true })
  t.equal(visit.parameters['rls.tenant_id'], tenant.id)
  await login(t, visit)
  const [row] = await house.db.query(sql`
    select role, tenant_id, server, visitor,
      valid_until between now() + interval '4 minutes' and now() + interval '5 minutes' as soon
    from lessor.visits`)
  t.strictSame(row, {
    role: visit.role,
    tenant_id: tenant.id,
    server: 'default',
    visitor: 'ada@desk',
    soon: true,
  })
  like(t, told, [
    ['opened', { role: visit.role, tenantId: tenant.id, visitor: 'ada@desk', validUntil: Date }, true],
  ])
  t.notOk(JSON.stringify(told).includes(visit.password.reveal()))
  await visits.close(visit)
  sameRows(t, await house.db.query(sql`select from lessor.visits`), [])
  like(t, told[1], ['closed', { role: visit.role, tenantId: tenant.id }])
  await rejectsLike(t, login(t, visit), { code: '28P01' })
})

for (const placement of PLACEMENTS) {
  t.test(`${placement}: a tenant that is deleted takes its visitors along, also those at work`, async (t) => {
    const house = await openHouse(t, { url })
    const { tenants } = house
    const { tenant } = await tenants.onboard({ name: `Deleted ${placement}`, placement })
    const visit = await tenants.visits.open({ ...WISH, tenantId: tenant.id })
    const session = await login(t, visit)
    sameRows(t, await session.query(sql`select first_name from users`), [])
    await tenants.delete(tenant.id)
    while ((await tenants.get(tenant.id)).status !== 'deleted') await turn()
    await rejectsLike(t, session.query(sql`select 1`), { code: /57P01|CONNECTION/ })
    like(t, await traces(house, tenant.id), { roles: 0, schemas: 0, databases: 0, rows: 0 })
    sameRows(t, await house.db.query(sql`select from lessor.visits where tenant_id = ${tenant.id}::uuid`), [])
  })
}

t.test('a visit that a deletion passes by leaves no login', async (t) => {
  const house = await openHouse(t, { url })
  const { tenant } = await house.tenants.onboard({ name: 'Passed by' })
  const real = visitsOf(house)
  let statements = 0
  const db: Db = {
    // The third one asks whether the login is still wanted: before it a deletion drops what it finds.
    async query(statement) {
      if (++statements === 3) await house.db.query(sql`delete from lessor.visits`)
      return house.db.query(statement)
    },
    transaction: (fn) => house.db.transaction(fn),
  }
  const { visits } = visitsOf(house, { db })
  await rejectsLike(t, visits.open({ ...WISH, tenantId: tenant.id }), {
    code: 'TENANT_STATUS_CONFLICT',
    message: 'A tenant that is deleting cannot be visited.',
  })
  t.equal(statements, 3)
  like(t, await traces(house, tenant.id), { roles: 1 }, "the tenant's own login alone")
  await real.visits.open({ ...WISH, tenantId: tenant.id })
  like(t, await traces(house, tenant.id), { roles: 2 })
})

t.test('who is not there is not visited', async (t) => {
  const house = await openHouse(t, { url })
  const { visits, told } = visitsOf(house)
  await rejectsLike(t, visits.open({ ...WISH, tenantId: '00000000-0000-4000-8000-000000000000' }), {
    code: 'TENANT_NOT_FOUND',
  })
  t.strictSame(told, [])
})

t.test('a login that cannot be dropped when its time is over is tried again', async (t) => {
  const house = await openHouse(t, { url })
  const { tenant } = await house.tenants.onboard({ name: 'Overdue' })
  let isAway = false
  const { visits, told } = visitsOf(house, {
    servers: {
      address: (name) => house.servers.address(name),
      ping: (name) => house.servers.ping(name),
      admin: async (name) => {
        if (isAway) throw new LessorError('SERVER_UNAVAILABLE')
        return house.servers.admin(name)
      },
    },
  })
  const { role } = await visits.open({ ...WISH, tenantId: tenant.id })
  await visits.sweep()
  t.equal(told.length, 1, 'its time is not over yet')
  await house.db.query(
    sql`update lessor.visits set valid_until = now() - interval '1 second' where role = ${role}`,
  )
  isAway = true
  await visits.sweep()
  like(t, told[1], ['failed', { role }, { code: 'SERVER_UNAVAILABLE' }])
  isAway = false
  await visits.sweep()
  like(t, told[2], ['closed', { role }])
  like(t, await traces(house, tenant.id), { roles: 1 })
})
