import t from 'tap'
import { LessorError } from '../../src/errors.ts'
import { loginName } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import { Visits } from '../../src/tenants/visits.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { NOTHING, openHouse, ROLE_LIMITS, traces } from './house.ts'
import { canLogIn, lines } from './logins.ts'
import { hurry, NO_ROOM, type Refusal, refuse, textOf } from './refusals.ts'

const { url } = await testDatabase(t, { template: 'control' })

t.test(
  'a block that the control database refuses is none, and one that it does not lift stays',
  async (t) => {
    const house = await openHouse(t, { url })
    const { db, tenants } = house
    const { id } = (await tenants.onboard({ name: 'Blocked' })).tenant
    const login = loginName(id, 'blue')
    const before = await tenants.get(id)
    const told: Refusal = { table: 'changes', verb: 'insert' }
    const block = () =>
      tenants.blocks.block({ server: 'default', tenantId: id, login, reason: 'locks', isVisitor: false })
    for (const refusal of [{ table: 'login_blocks', verb: 'insert' }, told] as const) {
      const lift = await refuse(db, refusal)
      await rejectsLike(t, block(), { code: NO_ROOM }, textOf(refusal))
      await lift()
      t.strictSame(await tenants.get(id), before, textOf(refusal))
    }
    await block()
    const blocked = await tenants.get(id)
    like(t, blocked, { block: { reason: 'locks' } })
    for (const refusal of [{ table: 'login_blocks', verb: 'delete' }, told] as const) {
      const lift = await refuse(db, refusal)
      await rejectsLike(t, tenants.unblock(id), { code: NO_ROOM }, textOf(refusal))
      await lift()
      t.strictSame(await tenants.get(id), blocked, textOf(refusal))
    }
    like(t, await tenants.unblock(id), { block: null })
  },
)

t.test(
  'a visit whose end cannot be written down is not told as closed, and can be closed again',
  async (t) => {
    const { db, placements, servers, tenants } = await openHouse(t, { url })
    const { id } = (await tenants.onboard({ name: 'Visited' })).tenant
    const closed: string[] = []
    const visits = new Visits({
      db,
      servers,
      placements,
      limits: () => ROLE_LIMITS,
      visitObserver: { opened() {}, failed() {}, closed: ({ role }) => closed.push(role) },
    })
    const visit = await visits.open({ tenantId: id, visitor: 'ada', minutes: 5, writes: false })
    const lift = await refuse(db, { table: 'visits', verb: 'delete' })
    await rejectsLike(t, visits.close(visit), { code: NO_ROOM })
    await lift()
    t.strictSame(closed, [])
    await visits.close(visit)
    t.strictSame(closed, [visit.role])
    sameRows(t, await db.query(sql`select from lessor.visits`), [])
  },
)

t.test('an onboarding whose row cannot be removed is taken back by recovery', async (t) => {
  const house = await openHouse(t, { url })
  const { db, failures, tenants } = house
  const lifts = [
    await refuse(db, { table: 'credentials', verb: 'insert' }),
    await refuse(db, { table: 'tenants', verb: 'delete' }),
  ]
  await rejectsLike(t, tenants.onboard({ name: 'Not removed' }), { code: NO_ROOM })
  const [left] = (await tenants.list({ limit: 1, status: 'provisioning' })).records
  if (left === undefined) throw new Error('the reservation should still be there')
  like(t, left, { job: { kind: 'onboard', step: 'credential', error: NO_ROOM } })
  like(t, failures.splice(0), [[{ kind: 'onboard', tenantId: left.id }, { code: NO_ROOM }]])
  for (const lift of lifts) await lift()
  t.equal(await hurry(house, left.id), 1)
  t.strictSame(await traces(house, left.id), NOTHING)
  t.strictSame(failures, [])
})

t.test('a suspension tells of both when its failure cannot be written down either', async (t) => {
  const away = new LessorError('SERVER_UNAVAILABLE', 'Away.', { cause: new Error('the cable') })
  let isAway = false
  const house = await openHouse(t, {
    url,
    wrapAdmin: (admin) => {
      if (isAway) throw away
      return admin
    },
  })
  const { db, tenants, unsettled } = house
  const { id } = (await tenants.onboard({ name: 'Not settled' })).tenant
  isAway = true
  const lift = await refuse(db, { table: 'login_settlements', verb: 'update' })
  like(t, await tenants.suspend(id), {
    status: 'suspended',
    unsettledLogins: { wanted: 'closed', attempts: 0, error: null },
  })
  await lift()
  like(t, unsettled, [
    [{ tenantId: id }, away],
    [{ tenantId: id }, { code: NO_ROOM }],
  ])
  isAway = false
  await db.query(sql`update lessor.login_settlements set retry_at = now() - interval '1 second'`)
  await tenants.recover()
  t.equal(await lines(house, id), 0)
  t.equal(await canLogIn(db, loginName(id, 'blue')), false)
})
