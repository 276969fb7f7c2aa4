import t from 'tap'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { rejectsLike } from '../support/like.ts'
import { FakeClock, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

/** limited is a server whose limit the test moves. */
function limited(now: number) {
  const limit = { now }
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const registry = new PoolRegistry({
    limits: { ...LIMITS, maxConnections: 4, serverMaxConnections: 6 },
    clock,
    hasTimer: false,
    connect: driver.connect,
    locate: async ({ tenantId }) => target(tenantId),
    serverLimit: () => limit.now,
  })
  const use = (tenantId: string) =>
    registry.use({ tenantId, generation: 1 }, new AbortController(), (db) =>
      db.transaction((tx) => tx.query(sql`select 1`)),
    )
  const users = () => [...driver.live].map((each) => each.target.user)
  const answerAll = async () => {
    for (let busy = true; busy; ) {
      await settle()
      const live = [...driver.live].filter((each) => each.flights.length > 0)
      for (const each of live) each.answer()
      busy = live.length > 0
    }
  }
  return { answerAll, clock, driver, limit, registry, use, users }
}

type Limited = ReturnType<typeof limited>

t.test('a limit that goes down is obeyed as soon as statements end, and nothing is hurt', async (t) => {
  const { answerAll, driver, limit, registry, use } = limited(6)
  const work = ['a', 'a', 'a', 'b', 'b', 'b'].map(use)
  await settle()
  t.equal(driver.live.size, 6)
  limit.now = 2
  registry.rebalance()
  await settle()
  t.equal(driver.live.size, 6, 'all of them run something')
  while (driver.live.size > 2) {
    const [connection] = [...driver.live].filter((each) => each.flights.length > 0)
    if (!t.ok(connection, 'what is idle is closed')) break
    connection?.answer()
    await settle()
  }
  await answerAll()
  await Promise.all(work)
  t.equal(registry.used('default'), 2)
  await registry.close()
})

t.test('a turn is one connection, also where there is room for more of them', async (t) => {
  const { answerAll, limit, registry, use, users } = limited(2)
  const work = ['a', 'b', 'a', 'a', 'b', 'b'].map(use)
  await settle()
  t.strictSame(users(), ['a', 'b'])
  limit.now = 4
  registry.rebalance()
  await settle()
  t.strictSame(users(), ['a', 'b', 'a', 'b'])
  await answerAll()
  await Promise.all(work)
  await registry.close()
})

t.test('who finds room that another waits for leaves it to him, at once', async (t) => {
  const { answerAll, limit, registry, use, users } = limited(2)
  const work = ['a', 'b', 'a'].map(use)
  await settle()
  t.strictSame(users(), ['a', 'b'])
  // A share that has gone up, before anybody was told.
  limit.now = 3
  work.push(use('b'))
  await settle()
  t.strictSame(users(), ['a', 'b', 'a'])
  await answerAll()
  await Promise.all(work)
  await registry.close()
})

t.test('a limit that went down comes before the callers who wait', async (t) => {
  const { answerAll, driver, limit, registry, use } = limited(2)
  const work = Array.from({ length: 6 }, () => use('a'))
  await settle()
  t.equal(driver.live.size, 2)
  limit.now = 1
  registry.rebalance()
  const [first] = driver.live
  // The end of one transaction: begin, select, commit.
  for (let i = 0; i < 3; i++) {
    first?.answer()
    await settle()
  }
  t.equal(driver.live.size, 1)
  t.equal(first?.state, 'gone')
  await answerAll()
  await Promise.all(work)
  t.equal(driver.live.size, 1)
  await registry.close()
})

for (const { who, now, ask } of [
  { who: 'another tenant', now: 4, ask: ({ use }: Limited) => use('b') },
  {
    who: 'a reservation of the same tenant',
    now: 6,
    ask: async ({ registry }: Limited) =>
      (await registry.reserve('default', 'a', new AbortController())).release(),
  },
  {
    who: 'a limit that went down by one',
    now: 4,
    ask: ({ limit, registry }: Limited) => {
      limit.now = 3
      registry.rebalance()
    },
  },
]) {
  t.test(`one connection on its way out is enough for ${who}`, async (t) => {
    const world = limited(now)
    const { answerAll, clock, driver, registry, use } = world
    const work = Array.from({ length: 8 }, () => use('a'))
    await settle()
    const [first, second] = driver.live
    if (first === undefined || second === undefined) throw new Error('there are four')
    // The server takes its time for the goodbye.
    const gone = Promise.withResolvers<void>()
    first.close = async () => {
      first.state = 'closing'
      await gone.promise
      first.lose()
    }
    const asked = ask(world)
    await settle()
    clock.time += 1_000
    for (const connection of [first, second]) {
      for (let i = 0; i < 3; i++) {
        connection.answer()
        await settle()
      }
    }
    t.strictSame([first.state, second.state], ['closing', 'open'])
    gone.resolve()
    await answerAll()
    await Promise.all([...work, asked])
    await registry.close()
  })
}

t.test('no one gives up his only connection to one who has one, however long he has had it', async (t) => {
  const { answerAll, clock, driver, registry, use, users } = limited(2)
  const work = ['a', 'b', 'a', 'a', 'b', 'b'].map(use)
  await settle()
  t.strictSame(users(), ['a', 'b'])
  clock.time += 1_000
  const [first] = driver.live
  for (let i = 0; i < 3; i++) {
    first?.answer()
    await settle()
  }
  t.equal(first?.state, 'open')
  await answerAll()
  await Promise.all(work)
  await registry.close()
})

t.test('a share that has gone up untold is found within a tick', async (t) => {
  const { answerAll, limit, registry, use, users } = limited(1)
  const work = ['a', 'b'].map(use)
  await settle()
  t.strictSame(users(), ['a'])
  limit.now = 2
  registry.tick()
  await settle()
  t.strictSame(users(), ['a', 'b'])
  await answerAll()
  await Promise.all(work)
  await registry.close()
})

t.test('whose last connection is on its way out comes before one who has one', async (t) => {
  const { answerAll, driver, registry, use, users } = limited(3)
  const first = use('a')
  await answerAll()
  await first
  const [idle] = driver.live
  if (idle === undefined) throw new Error('there is one')
  const lost = rejectsLike(t, use('c'), { code: 'CONNECTION_LOST' })
  const work = ['b', 'b'].map(use)
  await settle()
  t.strictSame(users(), ['a', 'c', 'b'])
  // The server takes its time for the goodbye.
  const gone = Promise.withResolvers<void>()
  idle.close = async () => {
    idle.state = 'closing'
    await gone.promise
    idle.lose()
  }
  const evicted = registry.evict('a', 'operator')
  work.push(use('a'))
  await settle()
  for (const each of [...driver.live]) if (each.target.user === 'c') each.lose()
  await lost
  await settle()
  t.strictSame(users(), ['a', 'b', 'a'])
  gone.resolve()
  await answerAll()
  await Promise.all([...work, evicted])
  await registry.close()
})
