import t from 'tap'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { rejectsLike } from '../support/like.ts'
import { FakeClock, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

function world(limits: Partial<typeof LIMITS>, isShared: boolean) {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const registry = new PoolRegistry({
    limits: { ...LIMITS, ...limits },
    clock,
    hasTimer: false,
    connect: driver.connect,
    locate: async ({ tenantId }) => (isShared ? { ...target('row'), isShared } : target(tenantId)),
  })
  /** hold leases the tenant's pool until it is released. */
  const hold = (tenantId: string) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    let state = 'waits'
    const ended = registry
      .use({ tenantId, generation: 1 }, new AbortController(), async () => {
        state = 'has a lease'
        await promise
      })
      .then(
        () => {
          state = 'done'
        },
        (error: Error) => {
          state = error.message
        },
      )
    return { release: resolve, ended, state: () => state }
  }
  const move = async (ms: number) => {
    clock.time += ms
    registry.tick()
    await settle()
  }
  return { driver, registry, hold, move }
}

t.test('of those who wait for the one place only the first is let in, the others wait on', async (t) => {
  const { hold, registry } = world({ maxEntries: 1 }, false)
  const all = ['a', 'b', 'c'].map(hold)
  const states = () => all.map(({ state }) => state())
  await settle()
  t.strictSame(states(), ['has a lease', 'waits', 'waits'])
  for (const [place, expected] of [
    ['done', 'has a lease', 'waits'],
    ['done', 'done', 'has a lease'],
    ['done', 'done', 'done'],
  ].entries()) {
    all[place]?.release()
    await all[place]?.ended
    await settle()
    t.strictSame(states(), expected)
  }
  await registry.close()
})

t.test('who is let in has the place for a turn, however long the next one has waited', async (t) => {
  const { hold, move, registry } = world({ maxEntries: 1 }, false)
  const all = ['a', 'b', 'c'].map(hold)
  const states = () => all.map(({ state }) => state())
  await settle()
  for (const [ms, expected] of [
    [249, ['has a lease', 'waits', 'waits']],
    [1, ['has a lease', 'has a lease', 'waits']],
    [249, ['has a lease', 'has a lease', 'waits']],
    [1, ['has a lease', 'has a lease', 'has a lease']],
  ] as const) {
    await move(ms)
    t.strictSame(states(), expected)
  }
  for (const { ended, release } of all) {
    release()
    await ended
  }
  await registry.close()
})

t.test('callers of a tenant that has the place need no other, though another waits', async (t) => {
  const { driver, hold, registry } = world({ maxEntries: 1 }, false)
  driver.automatic = false
  const all: ReturnType<typeof hold>[] = []
  for (const tenantId of ['a', 'b', 'a']) {
    all.push(hold(tenantId))
    await settle()
  }
  const states = () => all.map(({ state }) => state())
  for (const expected of [
    ['has a lease', 'waits', 'has a lease'],
    ['done', 'has a lease', 'done'],
  ]) {
    for (const opening of driver.openings) opening.finish()
    await settle()
    t.strictSame(states(), expected)
    for (const place of [0, 2]) all[place]?.release()
    await settle()
  }
  all[1]?.release()
  await all[1]?.ended
  await registry.close()
})

t.test('the place of a pool that could not be opened goes to who waits, at once', async (t) => {
  const { driver, hold, registry } = world({ maxEntries: 1 }, false)
  driver.automatic = false
  const failing = hold('a')
  await settle()
  const next = hold('b')
  await settle()
  const users = () => [...driver.openings].map(({ target }) => target.user)
  t.strictSame(users(), ['a'])
  for (const opening of driver.openings) opening.finish(new Error('refused'))
  await settle()
  t.strictSame(users(), ['b'])
  for (const opening of driver.openings) opening.finish()
  await settle()
  t.equal(next.state(), 'has a lease')
  next.release()
  await Promise.all([failing.ended, next.ended])
  await registry.close()
})

t.test(
  'the place of a pool that can open nothing goes to who waits, before its own callers end',
  async (t) => {
    const { driver, hold, registry } = world({ maxEntries: 1 }, false)
    const asked = Promise.withResolvers<unknown>()
    const end = Promise.withResolvers<void>()
    const failing = registry.use({ tenantId: 'a', generation: 1 }, new AbortController(), async (db) => {
      for (const connection of driver.live) connection.lose()
      await settle()
      driver.failNext = new Error('refused')
      await rejectsLike(t, db.query(sql`select 1`), { code: 'POOL_OPEN_FAILED' })
      asked.resolve(undefined)
      await end.promise
    })
    await settle()
    const next = hold('b')
    await asked.promise
    await settle()
    t.equal(next.state(), 'has a lease')
    next.release()
    end.resolve()
    await Promise.all([failing, next.ended])
    await registry.close()
  },
)

t.test('a shutdown waits for the connection that tenants share', async (t) => {
  const { driver, hold, registry } = world({}, true)
  const one = hold('0a000000-0000-4000-8000-00000000000a')
  await settle()
  one.release()
  await one.ended
  const [connection] = driver.live
  if (connection === undefined) throw new Error('there is one')
  // The server takes its time for the goodbye.
  const gone = Promise.withResolvers<void>()
  connection.close = async () => {
    connection.state = 'closing'
    await gone.promise
    connection.lose()
  }
  let isClosed = false
  const closed = registry.close().then(() => {
    isClosed = true
  })
  await settle()
  t.equal(connection.state, 'closing')
  t.equal(isClosed, false)
  gone.resolve()
  await closed
  t.equal(driver.live.size, 0)
})
