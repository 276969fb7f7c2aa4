import t from 'tap'
import type { PoolLimits } from '../../src/pool/contract.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { like } from '../support/like.ts'
import { FakeClock, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

/**
 * World is a server on which every statement takes 10 ms, and callers who each ask again as soon as
 * they have their answer.
 */
function world(changes: Partial<PoolLimits>, weights: Readonly<Record<string, number>> = {}) {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const registry = new PoolRegistry({
    limits: { ...LIMITS, acquireTimeoutMs: 60_000, ...changes },
    clock,
    hasTimer: false,
    connect: driver.connect,
    locate: async ({ tenantId }) => ({ ...target(tenantId), weight: weights[tenantId] ?? 1 }),
  })
  const served = new Map<string, number>()
  const refused: string[] = []
  const waits = new Map<string, number>()
  let isOver = false

  /** A slow statement, so that none shares a connection with it. */
  async function call(tenantId: string): Promise<void> {
    while (!isOver) {
      const since = clock.now()
      try {
        await registry.use({ tenantId, generation: 1 }, new AbortController(), (db) =>
          db.transaction((tx) => tx.query(sql`select 1`)),
        )
      } catch (error) {
        refused.push(`${tenantId} ${(error as { code?: string }).code}`)
        return
      }
      served.set(tenantId, (served.get(tenantId) ?? 0) + 1)
      waits.set(tenantId, Math.max(waits.get(tenantId) ?? 0, clock.now() - since))
    }
  }

  async function run(ms: number): Promise<void> {
    for (const until = clock.time + ms; clock.time < until; ) {
      clock.time += 10
      // Its statements: begin, select, commit.
      for (let i = 0; i < 3; i++) {
        for (const connection of [...driver.live]) connection.answer()
        await settle()
      }
      if (clock.time % 50 === 0) registry.tick()
      await settle()
    }
  }

  async function end(): Promise<void> {
    isOver = true
    const closed = registry.close()
    for (let isClosed = false; !isClosed; ) {
      await run(10)
      isClosed = await Promise.race([closed.then(() => true), settle().then(() => false)])
    }
  }

  return { registry, driver, served, refused, waits, call, run, end, clock }
}

t.test('one caller gets his connection while 500 of another tenant wait', async (t) => {
  const { call, run, end, served, waits, refused, registry } = world({
    maxConnections: 4,
    serverMaxConnections: 4,
  })
  for (let i = 0; i < 500; i++) void call('crowd')
  await run(500)
  like(t, registry.budget().servers[0]?.holders, [{ tenantId: 'crowd', connections: 4, fairShare: 4 }])
  const before = served.get('crowd') ?? 0
  void call('one')
  await run(1_000)
  const holders = registry.budget().servers[0]?.holders
  like(t, holders, [
    { tenantId: 'crowd', connections: 3 },
    { tenantId: 'one', connections: 1, fairShare: 1 },
  ])
  t.ok((waits.get('one') ?? Number.POSITIVE_INFINITY) <= 40, `it waited ${waits.get('one')} ms at most`)
  t.ok((served.get('one') ?? 0) >= 90, 'a call takes 10 ms')
  t.ok((served.get('crowd') ?? 0) - before > 250, 'the crowd has what is left')
  t.strictSame(refused, [])
  await end()
})

t.test('connections are divided by weight', async (t) => {
  const { call, run, end, registry } = world(
    { maxConnections: 8, serverMaxConnections: 8 },
    { light: 1, heavy: 3 },
  )
  for (const tenant of ['light', 'heavy']) for (let i = 0; i < 50; i++) void call(tenant)
  await run(2_000)
  const shares = new Map(registry.budget().servers[0]?.holders.map((each) => [each.tenantId, each]))
  like(t, shares.get('heavy'), { connections: 6, fairShare: 6 })
  like(t, shares.get('light'), { connections: 2, fairShare: 2 })
  await end()
})

t.test('no weight takes the first connection from another tenant', async (t) => {
  const { call, run, end, registry, refused } = world(
    { maxConnections: 3, serverMaxConnections: 3 },
    { light: 1, heavy: 100 },
  )
  for (let i = 0; i < 50; i++) void call('heavy')
  await run(100)
  void call('light')
  await run(500)
  like(t, registry.budget().servers[0]?.holders, [
    { tenantId: 'heavy', connections: 2 },
    { tenantId: 'light', connections: 1 },
  ])
  t.strictSame(refused, [])
  await end()
})

t.test('more tenants than connections take turns, and none is left out', async (t) => {
  const tenants = Array.from({ length: 9 }, (_, i) => `t${i}`)
  const { call, run, end, served, refused, driver } = world({
    maxEntries: 20,
    maxConnections: 4,
    serverMaxConnections: 3,
    acquireTimeoutMs: 5_000,
  })
  for (const tenant of tenants) for (let i = 0; i < (tenant === 't0' ? 100 : 2); i++) void call(tenant)
  let most = 0
  for (let i = 0; i < 60; i++) {
    await run(100)
    most = Math.max(most, driver.live.size)
  }
  t.equal(most, 3)
  const counts = tenants.map((tenant) => served.get(tenant) ?? 0)
  t.ok(Math.min(...counts) > 0, `served: ${counts}`)
  t.ok(Math.max(...counts) <= 2 * Math.min(...counts), `served: ${counts}`)
  t.strictSame(refused, [])
  await end()
})

t.test(
  'tenants that share the only connection keep it for 250 ms in turn, for each unit of weight',
  async (t) => {
    const { call, run, end, driver, clock, registry } = world(
      { maxConnections: 1, serverMaxConnections: 1 },
      { light: 1, heavy: 4 },
    )
    /** Who has had the connection, and from when on. */
    const turns: { user: string; since: number }[] = []
    driver.onChange = () => {
      const [user] = [...driver.live].map((each) => each.target.user)
      if (user !== undefined && turns.at(-1)?.user !== user) turns.push({ user, since: clock.time })
    }
    for (const tenant of ['light', 'heavy']) for (let i = 0; i < 3; i++) void call(tenant)
    await run(3_000)
    const lengths = turns.slice(1).map(({ since }, i) => [turns[i]?.user, since - (turns[i]?.since ?? 0)])
    t.strictSame(lengths, [
      ['light', 250],
      ['heavy', 1_000],
      ['light', 250],
      ['heavy', 1_000],
      ['light', 250],
    ])
    t.equal(registry.counters().yielded, 5)
    await end()
  },
)

t.test('in a full queue the longest one gives way, not the newcomer', async (t) => {
  const { call, run, end, refused, registry } = world({
    maxConnections: 1,
    serverMaxConnections: 1,
    maxWaiting: 10,
  })
  for (let i = 0; i < 10; i++) void call('crowd')
  await run(50)
  void call('crowd')
  await settle()
  t.equal(registry.gauges().waiting, 10)
  void call('one')
  await settle()
  t.strictSame(refused, ['crowd POOL_SATURATED'])
  like(t, registry.counters(), { saturated: 1, displaced: 1 })
  await run(1_000)
  void call('crowd')
  await settle()
  t.strictSame(
    refused,
    ['crowd POOL_SATURATED', 'crowd POOL_SATURATED'],
    'nor does another tenant for the crowd',
  )
  await end()
})

for (const full of ['maxConnections', 'serverMaxConnections', 'processMaxConnections'] as const) {
  t.test(`a reservation of a tenant that is always busy gets its turn (${full})`, async (t) => {
    const { call, run, end, registry, refused } = world({ [full]: 1 })
    for (let i = 0; i < 20; i++) void call('busy')
    await run(100)
    let reserved = false
    const reservation = registry.reserve('default', 'busy', new AbortController()).then((each) => {
      reserved = true
      return each
    })
    await run(140)
    t.equal(reserved, false, 'its connection has not yet had its quarter second')
    await run(60)
    t.equal(reserved, true)
    t.equal(registry.used('default'), 1)
    const place = await reservation
    place.release()
    await run(100)
    like(t, registry.budget().servers[0]?.holders, [{ tenantId: 'busy', connections: 1 }])
    t.strictSame(refused, [])
    await end()
  })
}

t.test('a reservation that waits at another data server takes no connection from this one', async (t) => {
  const { call, run, end, registry } = world({ serverMaxConnections: 1 })
  const far = await registry.reserve('far', 'other', new AbortController())
  for (let i = 0; i < 5; i++) void call('busy')
  await run(100)
  const reservation = registry.reserve('far', 'busy', new AbortController())
  await run(2_000)
  t.equal(registry.counters().yielded, 0)
  far.release()
  const place = await reservation
  place.release()
  await end()
})
