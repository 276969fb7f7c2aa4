import t from 'tap'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { throwsLike } from '../support/like.ts'
import { FakeClock, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

function setUp() {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const registry = new PoolRegistry({
    limits: { ...LIMITS, idleMs: 10_000, maxIdleMs: 80_000, thrashMs: 5_000 },
    clock,
    hasTimer: false,
    connect: driver.connect,
    locate: async ({ tenantId }) => target(tenantId),
  })
  const visit = async (tenantId: string) => {
    const work = registry.use({ tenantId, generation: 1 }, new AbortController(), (db) =>
      db.query(sql`select 1`),
    )
    await settle()
    for (const connection of driver.live) connection.answer()
    await work
  }
  /** Evicted for want of room and back at once, so that it may be idle for twice as long each time. */
  const thrash = async (tenantId: string) => {
    await visit(tenantId)
    await registry.evict(tenantId, 'capacity')
    await visit(tenantId)
  }
  return { clock, registry, thrash, visit }
}

t.test('a sweep goes past an entry that may be idle for longer, to those behind it', async (t) => {
  const { clock, registry, thrash, visit } = setUp()
  await thrash('longer')
  for (const tenantId of ['first', 'second']) {
    clock.time += 1
    await visit(tenantId)
  }
  clock.time += 1_000
  await thrash('longer too')
  clock.time += 1
  await visit('third')
  clock.time += 10_000
  await visit('young')
  const gone = (dryRun: boolean) => registry.sweep({ dryRun }).evicted.map(({ tenantId }) => tenantId)
  t.strictSame(gone(true), ['first', 'second', 'third'])
  t.strictSame(gone(false), ['first', 'second', 'third'])
  const stays = ['longer', 'longer too', 'young']
  t.strictSame(
    stays.map((tenantId) => registry.snapshot(tenantId)?.idleLimitMs),
    [20_000, 20_000, 10_000],
  )
  clock.time += 9_000
  t.strictSame(gone(false), ['longer'], 'its own time is over')
  await registry.close()
})

t.test('a sweep says why each entry goes', async (t) => {
  const { clock, registry, thrash, visit } = setUp()
  await thrash('longer')
  await visit('other')
  clock.time += 20_000
  t.strictSame(
    registry.sweep().evicted.map(({ tenantId, reason, idleMs, why }) => ({ tenantId, reason, idleMs, why })),
    [
      {
        tenantId: 'longer',
        reason: 'idle',
        idleMs: 20_000,
        why: 'No request for 20 s; the limit is 20 s.',
      },
      { tenantId: 'other', reason: 'idle', idleMs: 20_000, why: 'No request for 20 s; the limit is 10 s.' },
    ],
  )
  await registry.close()
})

t.test(
  'a pool that cannot be evicted keeps no other from being swept, and the sweep has failed',
  async (t) => {
    const clock = new FakeClock()
    const driver = new FakeDriver()
    const bug = new Error('bug: an observer throws')
    const registry = new PoolRegistry({
      limits: { ...LIMITS, idleMs: 60_000, connectionIdleMs: 10_000 },
      clock,
      hasTimer: false,
      connect: driver.connect,
      locate: async (key) => target(key.tenantId),
      observer: {
        opened() {},
        waited() {},
        drained() {},
        swept() {},
        evicted({ tenantId }) {
          if (tenantId === 'first') throw bug
        },
      },
    })
    const use = (tenantId: string) =>
      registry.use({ tenantId, generation: 1 }, new AbortController(), (db) => db.query(sql`select 1`))
    const answerAll = async (work: Promise<unknown>) => {
      for (let isOver = false; !isOver; ) {
        await settle()
        for (const connection of driver.live) connection.answer()
        isOver = await Promise.race([work.then(() => true), settle().then(() => false)])
      }
    }
    await answerAll(use('first'))
    await answerAll(use('second'))
    clock.time += 50_000
    await answerAll(Promise.all([use('busy'), use('busy')]))
    clock.time += 20_000
    throwsLike(t, () => registry.sweep(), bug)
    t.strictSame(registry.snapshot('second'), undefined, 'it came after the one that failed')
    t.equal(registry.snapshot('busy')?.connections.idle, 1, 'surplus connections are closed as well')
  },
)
