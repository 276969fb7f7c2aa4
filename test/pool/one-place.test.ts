import t from 'tap'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { rejectsLike } from '../support/like.ts'
import { FakeClock, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

function world(limits: Partial<typeof LIMITS>, isShared: boolean) {
  const driver = new FakeDriver()
  const registry = new PoolRegistry({
    limits: { ...LIMITS, ...limits },
    clock: new FakeClock(),
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
  return { driver, registry, hold }
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
