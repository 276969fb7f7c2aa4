import t from 'tap'
import { newCounters } from '../../src/pool/counters.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { WaitingRoom, WaitQueue } from '../../src/pool/waiting-room.ts'
import { rejectsLike, throwsLike } from '../support/like.ts'
import { FakeClock, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

function setUp(limit: number) {
  const clock = new FakeClock()
  const counters = newCounters()
  const room = new WaitingRoom(clock, limit, counters)
  const refused: string[] = []
  const join = (queue: WaitQueue<string>, name: string, { timeoutMs = 60_000, isOwn = false } = {}) =>
    queue.add(name, isOwn ? undefined : new AbortController(), timeoutMs, (error) =>
      refused.push(`${name}: ${error.message}`),
    )
  const counts = () => [counters.saturated, counters.displaced]
  return {
    clock,
    room,
    refused,
    join,
    counts,
    queue: (weight?: number) => new WaitQueue<string>(room, weight),
  }
}

const FULL = '4 callers wait for a connection already.'

t.test(
  'in a full room the last caller of the longest queue gives way, and the others keep their turn',
  async (t) => {
    const { refused, join, counts, queue, room } = setUp(4)
    const [crowd, few] = [queue(), queue()]
    for (const name of ['first', 'second', 'third', 'last']) join(crowd, name)
    // The engine's own wait behind it holds no place, and keeps it.
    join(crowd, 'own', { isOwn: true })
    join(few, 'newcomer')
    t.strictSame(refused, [`last: ${FULL}`])
    t.strictSame(counts(), [1, 1])
    t.equal(room.size, 4)
    t.strictSame(
      [crowd.shift(), crowd.shift(), crowd.shift(), crowd.shift(), crowd.shift()].map(
        (waiter) => waiter?.want,
      ),
      ['first', 'second', 'third', 'own', undefined],
    )
    t.equal(room.isEmpty, false)
    t.equal(few.shift()?.want, 'newcomer')
    t.equal(room.isEmpty, true)
  },
)

t.test('a newcomer of the longest queue is refused itself, and counted', async (t) => {
  const { refused, join, counts, queue } = setUp(4)
  const [crowd, few] = [queue(), queue()]
  for (const name of ['first', 'second', 'third']) join(crowd, name)
  join(few, 'other')
  throwsLike(t, () => join(crowd, 'newcomer'), {
    code: 'POOL_SATURATED',
    message: FULL,
    retryAfterSeconds: 1,
  })
  t.strictSame([refused, counts()], [[], [1, 0]])
  join(few, 'second of few')
  t.strictSame([refused, counts()], [[`third: ${FULL}`], [2, 1]])
  throwsLike(t, () => join(few, 'third of few'), { code: 'POOL_SATURATED' }, 'they would only change places')
  t.strictSame(counts(), [3, 1])
})

t.test('the longest queue is the one with most callers for its weight', async (t) => {
  const { refused, join, queue } = setUp(4)
  const [heavy, light] = [queue(4), queue(1)]
  for (const name of ['one', 'two']) join(heavy, name)
  for (const name of ['three', 'four']) join(light, name)
  join(heavy, 'five')
  t.strictSame(refused, [`four: ${FULL}`])
})

t.test('each caller whose time is over is counted once, and none that was served', async (t) => {
  const { clock, refused, join, counts, queue, room } = setUp(10)
  const line = queue()
  join(line, 'served', { timeoutMs: 100 })
  join(line, 'early', { timeoutMs: 100 })
  join(line, 'late', { timeoutMs: 200 })
  line.shift()
  clock.time += 99
  room.tick()
  t.strictSame([refused, counts()], [[], [0, 0]])
  clock.time += 1
  room.tick()
  room.tick()
  t.strictSame([refused, counts()], [['early: No database connection came free within 100 ms.'], [1, 0]])
  clock.time += 100
  room.tick()
  t.strictSame(counts(), [2, 0])
  t.equal(room.isEmpty, true)
})

t.test('the registry counts those who waited in vain and those who found no place to wait', async (t) => {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const registry = new PoolRegistry({
    limits: { ...LIMITS, maxConnections: 1, maxWaiting: 1, acquireTimeoutMs: 1_000 },
    clock,
    hasTimer: false,
    connect: driver.connect,
    locate: async ({ tenantId }) => target(tenantId),
  })
  const use = () =>
    registry.use({ tenantId: 'a', generation: 1 }, new AbortController(), (db) =>
      db.transaction((tx) => tx.query(sql`select 1`)),
    )
  const counted = () => [registry.counters().saturated, registry.counters().displaced]
  const served = use()
  await settle()
  const inVain = rejectsLike(t, use(), { code: 'POOL_SATURATED' })
  await settle()
  t.strictSame(counted(), [0, 0])
  await rejectsLike(t, use(), { code: 'POOL_SATURATED' })
  t.strictSame(counted(), [1, 0])
  clock.time += 1_000
  registry.tick()
  await inVain
  t.strictSame(counted(), [2, 0])
  for (let i = 0; i < 3; i++) {
    for (const connection of driver.live) connection.answer()
    await settle()
  }
  await served
  await registry.close()
  t.strictSame(counted(), [2, 0])
})
