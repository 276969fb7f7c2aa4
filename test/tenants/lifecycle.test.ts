import t, { type Test } from 'tap'
import { LessorError } from '../../src/errors.ts'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike } from '../support/like.ts'
import { type House, type HouseOptions, NOTHING, openHouse, traces } from './house.ts'

const { url } = await testDatabase(t, { template: 'control' })

async function withTenant(t: Test, name: string, options: Partial<HouseOptions> = {}) {
  const house = await openHouse(t, { url, ...options })
  const { tenant } = await house.tenants.onboard({ name })
  return { ...house, id: tenant.id }
}

/** use leases the tenant's pool as a request would, which has looked the tenant up. */
async function use(house: Pick<House, 'directory' | 'pools'>, id: string) {
  const ref = await house.directory.resolve(id)
  if (ref === undefined) throw new Error('the tenant should be known')
  return house.pools.use(ref, new AbortController(), async (db) => {
    const [row] = await db.query<{ pid: number }>(sql`select pg_backend_pid() as pid`)
    return row?.pid
  })
}

t.test('a suspended tenant is refused at once, its pool drains, and it can be resumed', async (t) => {
  const house = await withTenant(t, 'Suspended')
  const { id, tenants, directory, pools } = house
  await use(house, id)
  like(t, directory.peek(id), { status: 'active', generation: 1 })
  const lease = await pools.acquire({ tenantId: id, generation: 1 }, new AbortController())
  const suspending = tenants.suspend(id)
  while (pools.evictions().length === 0) await new Promise(setImmediate)
  like(t, await directory.resolve(id), { status: 'suspended' })
  like(t, pools.evictions()[0], { tenantId: id, reason: 'suspension', leases: 1 })
  like(t, await lease.db.query(sql`select 1 as one`), [{ one: 1 }], 'a request under way is not hurt')
  lease.release()
  const suspended = await suspending
  t.strictSame([suspended.status, suspended.generation], ['suspended', 2])
  await rejectsLike(
    t,
    use(house, id),
    { code: 'TENANT_SUSPENDED' },
    'no new pool, even for who looked it up before',
  )
  // Its logins may not have been closed yet when the first answer came.
  const { unsettledLogins: _, ...rest } = suspended
  like(t, await tenants.suspend(id), rest, 'a second time changes nothing')
  like(t, await tenants.resume(id), { status: 'active', generation: 2 })
  like(t, await tenants.resume(id), { status: 'active', generation: 2 })
  t.type(await use(house, id), 'number')
})

t.test('a deletion answers at once and leaves a tombstone whose name is free', async (t) => {
  const house = await withTenant(t, 'Deleted')
  const { id, tenants, pools } = house
  await pools.use({ tenantId: id, generation: 1 }, new AbortController(), (db) =>
    db.query(
      sql`insert into app.users (first_name, last_name) select 'A', n::text from generate_series(1, 50) n`,
    ),
  )
  like(t, await tenants.delete(id), { id, status: 'deleting', generation: 2 })
  t.match((await tenants.delete(id)).status, /^delet(ing|ed)$/, 'a second time changes nothing')
  await tenants.close()
  like(t, await tenants.get(id), { name: 'Deleted', status: 'deleted' })
  t.strictSame(await traces(house, id), { ...NOTHING, tenants: 1 })
  like(t, pools.evictions()[0], { tenantId: id, reason: 'deletion' })
  const next = await openHouse(t, { url })
  like(t, await next.tenants.delete(id), { status: 'deleted' })
  await t.resolves(next.tenants.onboard({ name: 'Deleted' }))
  t.notOk(
    (await next.tenants.list({ limit: 100 })).records.some((each) => each.id === id),
    'it is not listed',
  )
  like(t, (await next.tenants.list({ limit: 100, status: 'deleted' })).records, [{ id }])
})

t.test('a deletion waits for the lease that is held', async (t) => {
  const house = await withTenant(t, 'Busy')
  const { id, tenants, pools } = house
  const lease = await pools.acquire({ tenantId: id, generation: 1 }, new AbortController())
  await tenants.delete(id)
  like(t, await lease.db.query(sql`select pg_sleep(0.1), 1 as one`), [{ one: 1 }])
  like(t, await traces(house, id), { roles: 1, credentials: 1 })
  lease.release()
  await tenants.close()
  t.equal((await tenants.get(id)).status, 'deleted')
})

t.test('a deletion that fails is tried again later, and ends', async (t) => {
  let broken = true
  const house = await withTenant(t, 'Stubborn', {
    jobClaimMs: 50,
    wrap: (placement) =>
      new Proxy(placement, {
        get: (target, name: keyof typeof placement) =>
          broken && name === 'removeRows'
            ? () => Promise.reject(new LessorError('SERVER_UNAVAILABLE'))
            : target[name],
      }),
  })
  const { id, tenants, failures } = house
  await tenants.delete(id)
  while (failures.length === 0) await new Promise(setImmediate)
  like(t, failures, [[{ kind: 'delete', step: 'begin' }, { code: 'SERVER_UNAVAILABLE' }]])
  t.equal((await tenants.get(id)).status, 'deleting')
  await rejectsLike(t, tenants.onboard({ name: 'Stubborn' }), { code: 'TENANT_NAME_TAKEN' })
  broken = false
  while ((await tenants.recover()) === 0) await new Promise(setImmediate)
  t.equal((await tenants.get(id)).status, 'deleted')
  t.strictSame(await traces(house, id), { ...NOTHING, tenants: 1 })
})

t.test('two processes that recover at once do each job once', async (t) => {
  const dead = await openHouse(t, { url })
  const ids: string[] = []
  for (const name of ['Left 1', 'Left 2', 'Left 3', 'Left 4']) {
    const { tenant } = await dead.tenants.onboard({ name })
    ids.push(tenant.id)
    await dead.db.query(sql`
      with gone as (
        update lessor.tenants set status = 'deleting' where id = ${tenant.id} returning id)
      insert into lessor.jobs (id, kind, tenant_id, step, claimed_by, claimed_until)
      select gen_random_uuid(), 'delete', id, 'begin', gen_random_uuid(), now() - interval '1 minute' from gone`)
  }
  const houses = [await openHouse(t, { url }), await openHouse(t, { url })]
  const taken = await Promise.all(houses.map(({ tenants }) => tenants.recover()))
  t.equal(
    taken.reduce((sum, each) => sum + each, 0),
    ids.length,
  )
  for (const house of houses) t.strictSame(house.failures, [])
  for (const id of ids) t.strictSame(await traces(dead, id), { ...NOTHING, tenants: 1 })
})

t.test('a long job is not taken over while its process lives', async (t) => {
  let go = () => {}
  const held = new Promise<void>((resolve) => {
    go = resolve
  })
  const house = await openHouse(t, {
    url,
    jobClaimMs: 150,
    afterStep: (_kind, step) => (step === 'logins' ? held : undefined),
  })
  const other = await openHouse(t, { url })
  const running = house.tenants.onboard({ name: 'Long' })
  const claimedUntil = async () => {
    const [row] = await other.db.query<{ until: Date }>(sql`
      select claimed_until as until from lessor.jobs where step = 'logins'`)
    return row?.until.getTime() ?? 0
  }
  let first = 0
  while (first === 0) first = await claimedUntil()
  // Several renewals: by now the first claim would have run out.
  while ((await claimedUntil()) < first + 300) t.equal(await other.tenants.recover(), 0)
  go()
  like(t, await running, { tenant: { status: 'active' } })
})

t.test('a change of name or quota is seen at once', async (t) => {
  const house = await withTenant(t, 'Before')
  const { id, tenants, pools, directory } = house
  like(t, await tenants.update(id, { name: ' After ' }), { name: 'After', generation: 1 })
  like(
    t,
    await tenants.update(id, { name: 'AFTER' }),
    { name: 'AFTER' },
    'to another spelling of its own name',
  )
  await use(house, id)
  like(t, await tenants.update(id, { quota: { connections: 1 } }), {
    quota: { connections: 1 },
    generation: 2,
  })
  like(t, await tenants.update(id, { quota: { connections: 1 } }), { generation: 2 })
  like(t, await directory.resolve(id), { generation: 2 })
  const pids = await Promise.all(Array.from({ length: 4 }, () => use(house, id)))
  t.equal(new Set(pids).size, 1, 'the new pool has one connection')
  like(t, pools.snapshot(id), { generation: 2 })
  like(t, await tenants.update(id, { quota: { weight: 7 } }), { quota: { weight: 7 }, generation: 3 })
  await use(house, id)
  like(t, pools.snapshot(id), { generation: 3, weight: 7 }, 'the new pool has the weight')
  like(t, await tenants.update(id, { quota: {} }), { quota: {}, generation: 4 })
  await use(house, id)
  like(t, pools.snapshot(id), { weight: 1 })
  await tenants.onboard({ name: 'Neighbour' })
  await rejectsLike(t, tenants.update(id, { name: 'neighbour', quota: { connections: 2 } }), {
    code: 'TENANT_NAME_TAKEN',
  })
  like(t, await tenants.get(id), { name: 'AFTER', quota: {} }, 'all or nothing')
  await rejectsLike(t, tenants.update(id, { name: '' }), { code: 'INVALID_REQUEST' })
  await rejectsLike(t, tenants.update(id, { quota: { connections: 99 } }), { code: 'INVALID_REQUEST' })
})

/** What cannot be done to a tenant that is not there yet, or is about to go. */
const OF_THE_LIVING = ['promoted', 'demoted', 'given a new credential', 'visited']

t.test('each status allows its own moves only', async (t) => {
  const house = await withTenant(t, 'Moves')
  const { db, id, tenants } = house
  const set = (status: string) => db.query(sql`update lessor.tenants set status = ${status} where id = ${id}`)
  const refused = {
    provisioning: ['suspended', 'resumed', 'deleted', 'changed', ...OF_THE_LIVING],
    deleting: ['suspended', 'resumed', 'changed', ...OF_THE_LIVING],
    deleted: ['suspended', 'resumed', 'changed', ...OF_THE_LIVING],
  }
  const calls: Record<string, () => Promise<unknown>> = {
    suspended: () => tenants.suspend(id),
    resumed: () => tenants.resume(id),
    deleted: () => tenants.delete(id),
    changed: () => tenants.update(id, { name: 'x' }),
    promoted: () => tenants.promote(id),
    demoted: () => tenants.demote(id),
    'given a new credential': () => tenants.rotateCredential(id),
    visited: () => tenants.visits.open({ tenantId: id, visitor: 'ada', minutes: 1, writes: false }),
  }
  for (const [status, moves] of Object.entries(refused)) {
    await set(status)
    for (const move of moves) {
      await rejectsLike(
        t,
        calls[move]?.() ?? Promise.resolve(),
        { code: 'TENANT_STATUS_CONFLICT', message: `A tenant that is ${status} cannot be ${move}.` },
        `${move} while ${status}`,
      )
    }
    like(t, await tenants.get(id), { status, name: 'Moves' })
  }
  await set('suspended')
  like(t, await tenants.delete(id), { status: 'deleting' }, 'a suspended tenant can be deleted')
})
