import t from 'tap'
import type { PoolLimits } from '../../src/pool/contract.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { like } from '../support/like.ts'
import { FakeClock, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

function setUp(changes: Partial<PoolLimits>, where: (tenantId: string) => string = () => 'default') {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const registry = new PoolRegistry({
    limits: { ...LIMITS, ...changes },
    clock,
    hasTimer: false,
    connect: driver.connect,
    locate: async ({ tenantId }) => target(tenantId, where(tenantId)),
  })
  const use = (tenantId: string) =>
    registry.use({ tenantId, generation: 1 }, new AbortController(), (db) => db.query(sql`select 1`))
  const answer = async () => {
    for (const each of [...driver.live]) while (each.flights.length > 0) each.answer()
    await settle()
  }
  /** One statement of a tenant, whose connection takes so long to open where it has none. */
  const visit = async (tenantId: string, openMs = 0) => {
    driver.automatic = false
    const work = use(tenantId)
    await settle()
    clock.time += openMs
    for (const each of driver.openings) each.finish()
    driver.automatic = true
    await settle()
    await answer()
    await work
  }
  const users = () => [...driver.live].map((each) => each.target.user)
  return { registry, clock, driver, use, answer, visit, users }
}

t.test('where a server is full, the idle entry that is cheapest to open again is evicted', async (t) => {
  const { registry, clock, use, answer, visit, users } = setUp({ serverMaxConnections: 3 })
  await visit('slow', 800)
  await visit('quick', 5)
  await visit('slower', 900)
  clock.time += 1_000
  const work = use('new')
  await settle()
  await answer()
  await work
  t.strictSame(users(), ['slow', 'slower', 'new'])
  like(t, registry.evictions(), [{ tenantId: 'quick', reason: 'budget' }])
  t.equal(registry.snapshot('quick'), undefined)
  await registry.close()
})

t.test('a surplus connection goes before any entry, and its entry stays', async (t) => {
  const { registry, clock, use, answer, visit, users } = setUp({ serverMaxConnections: 3 })
  await visit('one', 5)
  const two = [use('two'), use('two')]
  await settle()
  await answer()
  await Promise.all(two)
  t.strictSame(users(), ['one', 'two', 'two'])
  clock.time += 1_000
  const work = use('new')
  await settle()
  await answer()
  await work
  t.strictSame(users(), ['one', 'two', 'new'])
  t.strictSame(registry.evictions(), [])
  await registry.close()
})

t.test('a tenant that has all it may have gives its idle connection to its own reservation', async (t) => {
  const { registry, visit, users } = setUp({ maxConnections: 1 })
  await visit('a')
  await visit('b')
  t.strictSame(users(), ['a', 'b'])
  let isReserved = false
  const reserving = registry.reserve('default', 'a', new AbortController()).then((place) => {
    isReserved = true
    return place
  })
  await settle()
  t.strictSame([isReserved, users()], [true, ['b']])
  const place = await reserving
  place.release()
  await registry.close()
})

t.test('who is kept waiting by his own limit costs no other tenant a connection', async (t) => {
  const { registry, answer, clock, use, users, visit } = setUp({ maxConnections: 1, serverMaxConnections: 2 })
  await visit('other')
  clock.time += 1_000
  const busy = use('a')
  await settle()
  const reserving = registry.reserve('default', 'a', new AbortController())
  await settle()
  registry.tick()
  await settle()
  t.strictSame(users(), ['other', 'a'])
  t.strictSame(registry.evictions(), [])
  await answer()
  await busy
  const place = await reserving
  t.strictSame(users(), ['other'])
  place.release()
  await registry.close()
})

t.test('who has a connection leaves another his only one between two requests', async (t) => {
  const { registry, answer, clock, users, visit } = setUp({ serverMaxConnections: 2 })
  await visit('a')
  const hold = () =>
    registry.use({ tenantId: 'b', generation: 1 }, new AbortController(), (db) =>
      db.transaction((tx) => tx.query(sql`select 1`)),
    )
  const working = [hold(), hold()]
  await settle()
  for (const [ms, expected] of [
    [0, ['a', 'b']],
    [249, ['a', 'b']],
    [1, ['b', 'b']],
  ] as const) {
    clock.time += ms
    registry.tick()
    await settle()
    t.strictSame(users(), expected, `${ms} ms later`)
  }
  for (let i = 0; i < 3; i++) await answer()
  await Promise.all(working)
  await registry.close()
})

t.test('each reservation that its own tenant keeps waiting is looked after', async (t) => {
  const { registry, answer, clock, use, users, visit } = setUp({ maxConnections: 1 })
  await visit('b')
  const busy = use('a')
  await settle()
  const end = Promise.withResolvers<void>()
  // A lease that runs nothing for now.
  const idle = registry.use({ tenantId: 'b', generation: 1 }, new AbortController(), () => end.promise)
  const reserving = ['a', 'b'].map((tenantId) => registry.reserve('default', tenantId, new AbortController()))
  await settle()
  t.strictSame(users(), ['b', 'a'])
  clock.time += 10
  registry.tick()
  await settle()
  t.strictSame(users(), ['a'])
  t.strictSame(registry.evictions(), [], 'a lease keeps the place')
  end.resolve()
  await answer()
  await Promise.all([busy, idle])
  for (const place of await Promise.all(reserving)) place.release()
  await registry.close()
})

t.test('the end of a lease that ran nothing lets go of its connection at once', async (t) => {
  const { registry, answer, use, users, visit } = setUp({ serverMaxConnections: 1 })
  await visit('a')
  const end = Promise.withResolvers<void>()
  const idle = registry.use({ tenantId: 'a', generation: 1 }, new AbortController(), () => end.promise)
  const waiting = use('b')
  await settle()
  t.strictSame(users(), ['a'])
  end.resolve()
  await settle()
  t.strictSame(users(), ['b'])
  await answer()
  await Promise.all([idle, waiting])
  await registry.close()
})

t.test('whose last waiting caller is served wants no more room', async (t) => {
  const { registry, answer, clock, driver, users, visit } = setUp({ serverMaxConnections: 2 })
  await visit('other')
  const hold = () =>
    registry.use({ tenantId: 'a', generation: 1 }, new AbortController(), (db) =>
      db.transaction((tx) => tx.query(sql`select 1`)),
    )
  const working = [hold(), hold()]
  await settle()
  t.equal(registry.budget().servers[0]?.claims, 1)
  // The end of the first transaction: begin, select, commit.
  for (let i = 0; i < 3; i++) {
    for (const each of driver.live) each.answer()
    await settle()
  }
  t.equal(registry.budget().servers[0]?.claims, 0)
  clock.time += 1_000
  registry.tick()
  await settle()
  t.strictSame(users(), ['other', 'a'])
  t.strictSame(registry.evictions(), [])
  for (let i = 0; i < 3; i++) await answer()
  await Promise.all(working)
  await registry.close()
})

t.test(
  'where a server is full a statement goes behind a young one before it costs another an entry',
  async (t) => {
    const { registry, answer, clock, use, users, visit } = setUp({ serverMaxConnections: 2 })
    await visit('other')
    clock.time += 1_000
    const working = [use('a')]
    await settle()
    working.push(use('a'))
    await settle()
    t.strictSame(users(), ['other', 'a'])
    t.strictSame(registry.evictions(), [])
    await answer()
    await Promise.all(working)
    await registry.close()
  },
)

t.test('an idle connection stays where those who wait could not use its place', async (t) => {
  const { registry, answer, clock, driver, use, users, visit } = setUp(
    { maxConnections: 1, serverMaxConnections: 2 },
    (tenantId) => (tenantId.startsWith('far') ? 'far' : 'near'),
  )
  await visit('a')
  clock.time += 1_000
  const working = ['b', 'far 1', 'far 2', 'far 3'].map(use)
  await settle()
  t.strictSame(users(), ['a', 'b', 'far 1', 'far 2'])
  for (const each of driver.live) if (each.target.user === 'b') each.answer()
  await settle()
  registry.tick()
  await settle()
  t.strictSame(users(), ['a', 'b', 'far 1', 'far 2'])
  t.strictSame(registry.evictions(), [])
  await answer()
  await answer()
  await Promise.all(working)
  await registry.close()
})

t.test('a pool tells what each of its connections does', async (t) => {
  const { registry, driver, use, visit } = setUp({ maxConnections: 3 })
  const counts = () => registry.snapshot('a')?.connections
  await visit('a')
  t.strictSame(counts(), { opening: 0, idle: 1, busy: 0 })
  driver.automatic = false
  const held = registry.use({ tenantId: 'a', generation: 1 }, new AbortController(), (db) =>
    db.transaction((tx) => tx.query(sql`select 1`)),
  )
  await settle()
  t.strictSame(counts(), { opening: 0, idle: 0, busy: 1 }, 'one that is held is busy')
  const work = use('a')
  await settle()
  t.strictSame(counts(), { opening: 1, idle: 0, busy: 1 })
  for (const each of driver.openings) each.finish()
  await settle()
  t.strictSame(counts(), { opening: 0, idle: 0, busy: 2 })
  driver.automatic = true
  for (let i = 0; i < 3; i++) {
    for (const each of driver.live) each.answer()
    await settle()
  }
  await Promise.all([held, work])
  t.strictSame(counts(), { opening: 0, idle: 2, busy: 0 })
  await registry.close()
})
