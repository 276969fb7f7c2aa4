import t from 'tap'
import type { ConnectionTarget, PoolLimits } from '../../src/pool/contract.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { like, rejectsLike } from '../support/like.ts'
import { FakeClock, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

const A = '0a000000-0000-4000-8000-00000000000a'
const B = '0b000000-0000-4000-8000-00000000000b'

/** A server on which the tenants share a pool; one whose id begins with `1` has its own. */
function world(changes: Partial<PoolLimits> = {}, of: Partial<ConnectionTarget> = {}) {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const registry = new PoolRegistry({
    limits: { ...LIMITS, ...changes },
    clock,
    hasTimer: false,
    connect: driver.connect,
    locate: async ({ tenantId }) =>
      tenantId.startsWith('1') ? target(tenantId) : { ...target('row'), isShared: true, ...of },
  })
  const use = <T>(tenantId: string, fn: (db: Db) => Promise<T>, generation = 1) =>
    registry.use({ tenantId, generation }, new AbortController(), fn)
  const ask = (tenantId: string) =>
    use(tenantId, (db) => db.query<{ user: string }>(sql`select ${tenantId}`)).then(([row]) => row?.user)
  const end = async () => {
    const closed = registry.close()
    for (let i = 0; i < 20; i++) {
      for (const connection of [...driver.live]) connection.answer()
      await settle()
    }
    await closed
  }
  return { clock, driver, registry, use, ask, end }
}

const bindings = (driver: FakeDriver) =>
  [...driver.live].map(({ flights }) => flights.map(({ binding }) => binding))

t.test('tenants of one login share its connections, and each statement is bound to its own', async (t) => {
  const { ask, driver, registry, end } = world({ sharedMaxConnections: 1 })
  const answers = Promise.all([ask(A), ask(B), ask(A)])
  await settle()
  t.strictSame(bindings(driver), [[A, A, B]], 'one connection, first come, first served')
  for (let i = 0; i < 3; i++) for (const connection of driver.live) connection.answer()
  t.strictSame(await answers, [A, B, A])
  like(t, registry.gauges(), { entries: { ready: 2 }, connections: { idle: 1 }, leases: 0 })
  t.equal(registry.counters().opens.ok, 2, 'each tenant has an entry of its own')
  like(t, registry.snapshot(A), { tenantId: A, server: 'default', hits: 0 })
  like(t, registry.budget().servers, [{ holders: [{ tenantId: 'shared:default', connections: 1 }] }])
  await end()
  t.equal(driver.live.size, 0)
})

t.test('a second tenant opens no connection', async (t) => {
  const { ask, driver, registry, end } = world()
  for (const tenantId of [A, B]) {
    const asked = ask(tenantId)
    await settle()
    for (const connection of driver.live) connection.answer()
    await asked
  }
  t.equal(registry.counters().connectionsOpened, 1)
  await end()
})

t.test('a transaction is bound where it begins and has its connection alone', async (t) => {
  const { use, ask, driver, end } = world({ sharedMaxConnections: 1 })
  const read = use(A, (db) => db.transaction((tx) => tx.query<{ user: string }>(sql`select ${1}`)))
  await settle()
  t.strictSame(bindings(driver), [[A]], 'BEGIN carries the tenant')
  for (const connection of driver.live) connection.answer()
  await settle()
  t.strictSame(bindings(driver), [[undefined]], 'what is inside is bound already')
  const other = ask(B)
  await settle()
  t.strictSame(bindings(driver), [[undefined]], 'nobody goes behind it')
  for (let i = 0; i < 3; i++) {
    for (const connection of driver.live) connection.answer()
    await settle()
  }
  t.equal((await read)[0]?.user, A)
  t.equal(await other, B)
  await end()
})

t.test('a tenant is on no more connections than it may have of its own', async (t) => {
  const { ask, driver, registry, end } = world({ maxConnections: 2, sharedMaxConnections: 5 })
  const crowd = Promise.all(Array.from({ length: 50 }, () => ask(A)))
  await settle()
  t.equal(driver.live.size, 2)
  like(t, registry.snapshot(A), { connections: { busy: 2 }, waiting: 18 })
  const other = ask(B)
  await settle()
  t.equal(driver.live.size, 3, 'another tenant gets one although callers of the first wait')
  for (let i = 0; i < 60; i++) {
    for (const connection of driver.live) connection.answer()
    await settle()
  }
  t.equal((await crowd).length, 50)
  t.equal(await other, B)
  await end()
})

t.test('the callers of one tenant do not stand before another one who came later', async (t) => {
  const { use, driver, clock, end } = world({ maxConnections: 1, sharedMaxConnections: 1 })
  const order: string[] = []
  const transact = async (tenantId: string) => {
    await use(tenantId, (db) => db.transaction((tx) => tx.query(sql`select 1`)))
    order.push(tenantId)
  }
  const crowd = Array.from({ length: 20 }, () => transact(A))
  await settle()
  const other = transact(B)
  for (let i = 0; i < 80; i++) {
    clock.time += 5
    for (const connection of driver.live) connection.answer()
    await settle()
  }
  await Promise.all([...crowd, other])
  t.ok(order.indexOf(B) <= 2, `B was served as number ${order.indexOf(B) + 1} of 21`)
  await end()
})

for (const ms of [10, 0])
  t.test(
    `where tenants want more than there is, each is served by its weight, by statements of ${ms} ms`,
    async (t) => {
      const weights: Readonly<Record<string, number>> = { [A]: 3, [B]: 1 }
      const clock = new FakeClock()
      const driver = new FakeDriver()
      const registry = new PoolRegistry({
        limits: { ...LIMITS, maxConnections: 1, sharedMaxConnections: 1, acquireTimeoutMs: 1_000_000 },
        clock,
        hasTimer: false,
        connect: driver.connect,
        locate: async ({ tenantId }) => ({
          ...target('row'),
          isShared: true,
          weight: weights[tenantId] ?? 1,
        }),
      })
      const served: Record<string, number> = { [A]: 0, [B]: 0 }
      let isOver = false
      const call = async (tenantId: string) => {
        while (!isOver) {
          await registry.use({ tenantId, generation: 1 }, new AbortController(), (db) =>
            db.transaction((tx) => tx.query(sql`select 1`)),
          )
          served[tenantId] = (served[tenantId] ?? 0) + 1
        }
      }
      const calls = [A, A, A, B, B, B].map(call)
      const run = async (turns: number) => {
        for (let i = 0; i < turns; i++) {
          clock.time += ms
          for (const connection of driver.live) connection.answer()
          await settle()
        }
      }
      await run(1_200)
      t.ok(Math.abs((served[A] ?? 0) / (served[B] ?? 1) - 3) < 0.3, JSON.stringify(served))
      isOver = true
      await run(60)
      await Promise.all(calls)
      await registry.close()
    },
  )

t.test('statements that take no time count all the same', async (t) => {
  const { use, ask, driver, end } = world({ maxConnections: 1, sharedMaxConnections: 1 })
  const answer = async () => {
    for (const connection of driver.live) connection.answer()
    await settle()
  }
  for (const tenantId of [A, B]) {
    const asked = ask(tenantId)
    await settle()
    await answer()
    await asked
  }
  const order: string[] = []
  const work = (tenantId: string) =>
    use(tenantId, (db) => db.transaction((tx) => tx.query(sql`select 1`))).then(() => order.push(tenantId))
  const all = [...Array.from({ length: 10 }, () => work(A)), ...Array.from({ length: 10 }, () => work(B))]
  for (let i = 0; i < 80; i++) await answer()
  await Promise.all(all)
  const early = order.slice(0, 10).filter((each) => each === B).length
  t.ok(early >= 4 && early <= 6, `${early} of the first ten are of B`)
  await end()
})

t.test('whoever comes anew has no turns saved up', async (t) => {
  const { use, ask, driver, clock, end } = world({ maxConnections: 1, sharedMaxConnections: 1 })
  const answer = async () => {
    clock.time += 10
    for (const connection of driver.live) connection.answer()
    await settle()
  }
  const order: string[] = []
  const work = (tenantId: string) =>
    use(tenantId, (db) => db.transaction((tx) => tx.query(sql`select 1`))).then(() => order.push(tenantId))
  const first = ask(B)
  await settle()
  await answer()
  await first
  const alone = Array.from({ length: 40 }, () => work(A))
  for (let i = 0; i < 90; i++) await answer()
  const both = [...Array.from({ length: 20 }, () => work(B)), ...Array.from({ length: 20 }, () => work(A))]
  for (let i = 0; i < 200; i++) await answer()
  await Promise.all([...alone, ...both])
  const early = order.slice(40, 60).filter((each) => each === A).length
  t.ok(early >= 6, `A had ${early} of 20 turns while B had as much to do`)
  await end()
})

t.test('what one tenant used long ago does not keep it back for long', async (t) => {
  const { use, ask, driver, clock, end } = world({ maxConnections: 1, sharedMaxConnections: 1 })
  const answer = async () => {
    for (const connection of driver.live) connection.answer()
    await settle()
  }
  const first = ask(B)
  await settle()
  await answer()
  await first
  const long = ask(A)
  await settle()
  clock.time += 10_000
  await answer()
  await long
  const order: string[] = []
  const work = (tenantId: string) =>
    use(tenantId, (db) => db.transaction((tx) => tx.query(sql`select 1`))).then(() => order.push(tenantId))
  const all = [...Array.from({ length: 30 }, () => work(B)), work(A)]
  for (let i = 0; i < 120; i++) {
    clock.time += 10
    await answer()
  }
  await Promise.all(all)
  t.ok(order.indexOf(A) < 15, `A was served as number ${order.indexOf(A) + 1} of 31`)
  await end()
})

t.test('an eviction of one tenant closes nothing, that of the last one closes the pool', async (t) => {
  const { ask, driver, registry } = world()
  for (const tenantId of [A, B]) {
    const asked = ask(tenantId)
    await settle()
    for (const connection of driver.live) connection.answer()
    await asked
  }
  t.equal(await registry.evict(A, 'operator'), true)
  t.equal(driver.live.size, 1)
  t.equal(registry.snapshot(A), undefined)
  t.equal(await registry.evict(B, 'operator'), true)
  t.equal(driver.live.size, 0)
  like(t, registry.counters().evictions, { operator: 2 })
  await registry.close()
})

t.test('an eviction waits for the work of its tenant alone', async (t) => {
  const { ask, driver, registry, end } = world({ sharedMaxConnections: 2 })
  const first = ask(A)
  await settle()
  let isEvicted = false
  const evicted = registry.evict(A, 'suspension').then(() => {
    isEvicted = true
  })
  await settle()
  t.equal(isEvicted, false)
  const other = ask(B)
  await settle()
  for (const connection of driver.live) {
    if (connection.flights[0]?.binding === A) connection.answer()
  }
  t.equal(await first, A)
  await evicted
  t.equal(registry.gauges().leases, 1, 'the other one is still at work')
  for (const connection of driver.live) connection.answer()
  t.equal(await other, B)
  await end()
})

t.test('at the drain deadline nobody else is cancelled', async (t) => {
  const { ask, use, driver, clock, registry, end } = world({
    sharedMaxConnections: 1,
    maxConnections: 1,
    drainTimeoutMs: 1_000,
  })
  const cut = rejectsLike(t, ask(A), { code: 'SHUTTING_DOWN' })
  const other = ask(B)
  await settle()
  t.strictSame(bindings(driver), [[A, B]])
  let isEvicted = false
  const evicted = registry.evict(A, 'shutdown').then(() => {
    isEvicted = true
  })
  clock.time += 1_500
  registry.tick()
  registry.tick()
  await settle()
  t.equal(isEvicted, false, 'its statement still runs')
  const [connection] = driver.live
  t.equal(connection?.cancels, 0, 'B stands behind it on the same connection')
  connection?.answer('error')
  await cut
  await evicted
  connection?.answer()
  t.equal(await other, B)
  const alone = rejectsLike(
    t,
    use(A, (db) => db.transaction((tx) => tx.query(sql`select 1`)), 2),
    { code: 'SHUTTING_DOWN' },
  )
  await settle()
  const evictedAgain = registry.evict(A, 'shutdown')
  clock.time += 1_500
  registry.tick()
  registry.tick()
  await settle()
  t.equal(connection?.cancels, 1, 'alone on its connection it is cancelled')
  for (let i = 0; i < 5; i++) {
    connection?.answer()
    await settle()
  }
  await alone
  await evictedAgain
  await end()
})

t.test('a connection on which a session was changed serves nobody else', async (t) => {
  const { use, ask, driver, registry, end } = world({ sharedMaxConnections: 1 })
  const changed = use(A, (db) => db.query(sql`set statement_timeout = 1`))
  await settle()
  const [first] = driver.live
  first?.answer()
  await changed
  const next = ask(B)
  await settle()
  const [second] = driver.live
  t.not(second, first)
  second?.answer()
  t.equal(await next, B)
  t.equal(registry.counters().connectionsClosed, 1)
  const inside = use(A, (db) => db.transaction((tx) => tx.query(sql`listen everything`)))
  for (let i = 0; i < 4; i++) {
    second?.answer()
    await settle()
  }
  await inside
  t.equal(second?.state, 'gone')
  await end()
})

t.test('a tenant whose id is no UUID gets no part of a shared pool', async (t) => {
  const { ask, driver, registry } = world()
  await rejectsLike(t, ask("x'; drop table users; --"), { cause: { message: /must be a UUID/ } })
  t.equal(driver.live.size + driver.openings.size, 0)
  await registry.close()
})

t.test('the pool that tenants share and a pool of one tenant share the budget of the server', async (t) => {
  const own = '1c000000-0000-4000-8000-00000000000c'
  const { ask, use, driver, clock, registry, end } = world({
    maxConnections: 4,
    serverMaxConnections: 4,
    sharedMaxConnections: 4,
    acquireTimeoutMs: 60_000,
  })
  let isOver = false
  const served = new Map<string, number>()
  const call = async (tenantId: string) => {
    while (!isOver) {
      await use(tenantId, (db) => db.transaction((tx) => tx.query(sql`select 1`)))
      served.set(tenantId, (served.get(tenantId) ?? 0) + 1)
    }
  }
  const calls = [A, A, A, A, A, A, B, B, own, own].map(call)
  const run = async (turns: number) => {
    for (let i = 0; i < turns; i++) {
      clock.time += 10
      for (const connection of [...driver.live]) connection.answer()
      await settle()
      if (i % 5 === 0) registry.tick()
      t.ok(driver.live.size + driver.openings.size <= 4)
    }
  }
  await run(200)
  for (const tenantId of [A, B, own]) t.ok((served.get(tenantId) ?? 0) > 20, JSON.stringify([...served]))
  isOver = true
  await run(30)
  await Promise.all(calls)
  const last = ask(B)
  await settle()
  for (const connection of driver.live) connection.answer()
  await last
  await end()
})

t.test('a failed login is told to whoever waits, and does not close the entries', async (t) => {
  const { ask, driver, registry, clock, end } = world()
  driver.failNext = Object.assign(new Error('no'), { code: 'ECONNREFUSED' })
  await rejectsLike(t, ask(A), { code: 'POOL_OPEN_FAILED' })
  clock.time += 1_000
  const again = ask(A)
  await settle()
  for (const connection of driver.live) connection.answer()
  t.equal(await again, A)
  for (const connection of [...driver.live]) connection.lose()
  await settle()
  driver.failNext = Object.assign(new Error('no'), { code: 'ECONNREFUSED' })
  await rejectsLike(t, ask(A), { code: /POOL_OPEN_FAILED|TENANT_UNAVAILABLE/ })
  t.equal(registry.snapshot(A)?.state, 'ready')
  clock.time += 1_000
  const later = ask(A)
  await settle()
  for (const connection of driver.live) connection.answer()
  t.equal(await later, A)
  await end()
})
