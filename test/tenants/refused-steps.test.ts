import t from 'tap'
import type { AfterStep } from '../../src/tenants/job.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike } from '../support/like.ts'
import { NOTHING, openHouse, traces } from './house.ts'
import { entering, hurry, leftBehind, NO_ROOM, type Refusal, refuse, textOf } from './refusals.ts'

t.setTimeout(120_000)
const { url } = await testDatabase(t, { template: 'control' })

/** What a tenant of placement `role` has. */
const WHOLE = { ...NOTHING, roles: 1, tenants: 1, credentials: 1, keys: 1 }

/** A house that keeps the steps that are done, in their order. */
async function open() {
  const steps: string[] = []
  const heard: { reserved?: () => Promise<void> } = {}
  const afterStep: AfterStep = async (_kind, step) => {
    steps.push(step)
    if (step === 'reserve') await heard.reserved?.()
  }
  return { ...(await openHouse(t, { url, afterStep })), heard, steps }
}

t.test('an onboarding that the control database refuses to go on with is taken back', async (t) => {
  const house = await open()
  const { db, heard, steps, tenants } = house
  let id = ''
  heard.reserved = async () => {
    id = (await tenants.list({ limit: 1, status: 'provisioning' })).records[0]?.id ?? ''
  }
  const done = ['reserve', 'logins', 'credential', 'check', 'key']
  const cases: [refusal: Refusal, done: number][] = [
    [entering('logins'), 1],
    [entering('credential'), 2],
    [{ table: 'credentials', verb: 'insert' }, 2],
    [entering('check'), 3],
    [entering('key'), 4],
    [{ table: 'api_keys', verb: 'insert' }, 4],
    [entering('activate'), 5],
    [{ table: 'tenants', verb: 'update', when: `new.status = 'active'` }, 5],
    [{ table: 'idempotency_keys', verb: 'update' }, 5],
  ]
  const onboard = () => tenants.onboard({ name: 'Refused' }, { scope: 's', key: 'k' })
  for (const [refusal, count] of cases) {
    const name = textOf(refusal)
    steps.splice(0)
    const lift = await refuse(db, refusal)
    await rejectsLike(t, onboard(), { code: NO_ROOM }, name)
    await lift()
    t.strictSame(steps, done.slice(0, count), name)
    t.strictSame(await traces(house, id), NOTHING, name)
    t.strictSame(house.failures, [], name)
  }
  like(t, await onboard(), { tenant: { status: 'active' } }, 'name and key are free')
})

t.test('a tenant without a login of its own is made without the steps of one', async (t) => {
  const house = await open()
  const { steps, tenants } = house
  const { tenant } = await tenants.onboard({ name: 'Row', placement: 'row' })
  t.strictSame(steps, ['reserve', 'key', 'activate'])
  t.strictSame(await traces(house, tenant.id), { ...NOTHING, tenants: 1, keys: 1 })
})

t.test('a rotation that the control database refuses to go on with changes nothing', async (t) => {
  const house = await open()
  const { db, steps, tenants } = house
  const { id } = (await tenants.onboard({ name: 'Refused rotation' })).tenant
  const before = await tenants.get(id)
  const done = ['begin', 'login', 'credential', 'check']
  const cases: [refusal: Refusal, done: number][] = [
    [{ table: 'jobs', verb: 'insert' }, 0],
    [entering('login'), 1],
    [entering('credential'), 2],
    [{ table: 'credentials', verb: 'insert' }, 2],
    [entering('check'), 3],
    [entering('flip'), 4],
    [entering('drain'), 4],
    [{ table: 'tenants', verb: 'update', when: 'new.colour <> old.colour' }, 4],
    [{ table: 'changes', verb: 'insert' }, 4],
  ]
  for (const [refusal, count] of cases) {
    const name = textOf(refusal)
    steps.splice(0)
    const lift = await refuse(db, refusal)
    await rejectsLike(t, tenants.rotateCredential(id), { code: NO_ROOM }, name)
    await lift()
    t.strictSame(steps, done.slice(0, count), name)
    t.strictSame(await tenants.get(id), before, name)
    t.strictSame(await traces(house, id), WHOLE, name)
    t.strictSame(house.failures, [], name)
  }
})

t.test('an end of a rotation that the control database refuses is tried again', async (t) => {
  const house = await openHouse(t, { url })
  const { db, failures, tenants } = house
  const { id } = (await tenants.onboard({ name: 'Refused end' })).tenant
  for (const refusal of [
    entering('retire'),
    { table: 'credentials', verb: 'delete' },
    { table: 'jobs', verb: 'delete' },
  ] as const) {
    const name = textOf(refusal)
    const lift = await refuse(db, refusal)
    const { colour } = await tenants.rotateCredential(id)
    await leftBehind(house, id)
    like(t, failures.splice(0), [[{ kind: 'rotate', tenantId: id }, { code: NO_ROOM }]], name)
    await lift()
    t.equal(await hurry(house, id), 1, name)
    like(t, await tenants.get(id), { colour, job: null }, name)
    t.strictSame(await traces(house, id), WHOLE, name)
    t.strictSame(failures, [], name)
  }
})
