import t from 'tap'
import type { ConnectionTarget, PoolKey, PoolLimits } from '../../src/pool/contract.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { like, rejectsLike } from '../support/like.ts'
import { FakeClock, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

function setUp(changes: Partial<PoolLimits> = {}, where: (tenantId: string) => string = () => 'default') {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const located: string[] = []
  const registry = new PoolRegistry({
    limits: { ...LIMITS, ...changes },
    clock,
    hasTimer: false,
    connect: driver.connect,
    random: () => 0.5,
    locate: async ({ tenantId }: PoolKey): Promise<ConnectionTarget> => {
      located.push(tenantId)
      return target(tenantId, where(tenantId))
    },
  })
  const use = (tenantId: string, generation = 1) =>
    registry.use({ tenantId, generation }, new AbortController(), (db) => db.query(sql`select 1`))
  const answerAll = async () => {
    for (let busy = true; busy; ) {
      await settle()
      const live = [...driver.live].filter((each) => each.flights.length > 0)
      for (const each of live) each.answer()
      busy = live.length > 0
    }
  }
  const visit = async (tenantId: string) => {
    const work = use(tenantId)
    await answerAll()
    await work
  }
  const move = async (ms: number) => {
    clock.time += ms
    registry.tick()
    await settle()
  }
  return { registry, clock, driver, located, use, visit, move, answerAll }
}

const refused = (code: string) => Object.assign(new Error('no'), { code })

/** codeOf resolves with how a caller ended. */
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'ok',
    (error: { code?: string }) => error.code,
  )

t.test(
  'thrash lengthens a tenant’s idle time, within bounds, and coming back late shortens it again',
  async (t) => {
    const { registry, visit, move } = setUp({ idleMs: 10_000, maxIdleMs: 35_000, thrashMs: 5_000 })
    const idleLimit = () => registry.snapshot('a')?.idleLimitMs
    await visit('a')
    t.equal(idleLimit(), 10_000)
    for (const longer of [20_000, 35_000, 35_000]) {
      await registry.evict('a', 'capacity')
      await move(4_000)
      await visit('a')
      t.equal(idleLimit(), longer)
    }
    like(t, registry.counters(), { reopened: 3, idleExtended: 3 })
    await move(34_999)
    t.strictSame(registry.sweep().evicted, [])
    await move(1)
    like(t, registry.sweep().evicted, [{ tenantId: 'a', why: /No request for 35 s; the limit is 35 s/ }])
    await move(5_001)
    await visit('a')
    t.equal(idleLimit(), 35_000, 'one strike less, still four times')
    for (let i = 0; i < 3; i++) {
      await registry.evict('a', 'idle')
      await move(5_001)
      await visit('a')
    }
    t.equal(idleLimit(), 10_000)
  },
)

t.test('an eviction that was meant is no thrash', async (t) => {
  const { registry, visit } = setUp()
  for (const reason of ['operator', 'suspension', 'rotation', 'failure'] as const) {
    await visit('a')
    await registry.evict('a', reason)
  }
  await visit('a')
  like(t, registry.counters(), { reopened: 0, idleExtended: 0 })
})

t.test('for a place, of those idle for long the one goes that is cheapest to open again', async (t) => {
  const { registry, use, visit, answerAll, driver, clock, move } = setUp({ maxEntries: 3 })
  for (const [tenantId, ms] of [
    ['slow', 800],
    ['quick', 5],
  ] as const) {
    driver.automatic = false
    const work = use(tenantId)
    await settle()
    clock.time += ms
    for (const each of driver.openings) each.finish()
    driver.automatic = true
    await answerAll()
    await work
  }
  await move(1_000)
  await visit('recent')
  like(t, registry.candidates(10), [
    {
      tenantId: 'quick',
      reason: 'capacity',
      reopenMs: 5,
      why: 'Idle for 1.0 s; opening it again takes about 5 ms.',
    },
    { tenantId: 'slow', reason: 'capacity', reopenMs: 800 },
    { tenantId: 'recent', reason: 'capacity' },
    { tenantId: 'quick', reason: 'budget' },
    { tenantId: 'slow', reason: 'budget' },
    { tenantId: 'recent', reason: 'budget' },
  ])
  t.equal(registry.candidates(1).length, 2)
  await visit('new')
  like(t, registry.evictions(), [{ tenantId: 'quick', reason: 'capacity' }])
  await visit('quick')
  const again = registry.candidates(10).find(({ tenantId }) => tenantId === 'quick')
  t.match(again?.why, / It came back soon after 1 earlier evictions\.$/)
})

t.test(
  'a tenant whose logins fail is refused at once, costs no login, and is probed once a pause',
  async (t) => {
    const { registry, driver, use, visit, move, located } = setUp()
    driver.failNext = refused('3D000')
    await rejectsLike(t, use('a'), { code: 'POOL_OPEN_FAILED' })
    for (let i = 0; i < 100; i++)
      await rejectsLike(t, use('a'), { code: 'TENANT_UNAVAILABLE', retryAfterSeconds: 1 })
    t.strictSame(located, ['a'], 'nor a look at the credential')
    await visit('b')
    like(t, registry.gauges().breakers, { tenant: { open: 1, half_open: 0 } })
    like(t, registry.counters().breakers, { opened: { tenant: 1 }, refused: { tenant: 100 } })

    await move(500)
    driver.automatic = false
    const probe = use('a')
    await settle()
    t.equal(driver.openings.size, 1)
    await rejectsLike(t, use('a'), { code: 'TENANT_UNAVAILABLE' }, 'nobody waits behind the probe')
    like(t, registry.snapshot('a'), { state: 'opening', breaker: { state: 'half_open', lastCode: '3D000' } })
    for (const each of driver.openings) each.finish(refused('3D000'))
    await rejectsLike(t, probe, { code: 'POOL_OPEN_FAILED' })

    await move(999)
    await rejectsLike(t, use('a'), { code: 'TENANT_UNAVAILABLE' }, 'the second pause is twice as long')
    await move(1)
    driver.automatic = true
    await visit('a')
    like(t, registry.snapshot('a'), { breaker: { state: 'closed', failures: 0 } })
  },
)

t.test(
  'a data server that is down is probed by one tenant, and the other server is not touched',
  async (t) => {
    const { registry, driver, use, visit, move } = setUp({}, (id) => (id.startsWith('x') ? 'down' : 'up'))
    driver.automatic = false
    const first = ['x1', 'x2', 'x3', 'x4'].map((id) => rejectsLike(t, use(id), { code: 'POOL_OPEN_FAILED' }))
    await settle()
    for (const each of driver.openings) each.finish(refused('ECONNREFUSED'))
    await Promise.all(first)
    driver.automatic = true
    await rejectsLike(t, use('x5'), { code: 'SERVER_UNAVAILABLE' })
    await visit('a')
    like(t, registry.budget().servers, [{ server: 'down', breaker: { state: 'open' } }, { server: 'up' }])
    await move(500)
    driver.automatic = false
    const probe = use('x5')
    await settle()
    await rejectsLike(t, use('x6'), { code: 'SERVER_UNAVAILABLE' })
    t.equal(driver.openings.size, 1)
    for (const each of driver.openings) each.finish()
    driver.automatic = true
    await move(0)
    for (const each of driver.live) each.answer()
    await probe
    await visit('x6')
  },
)

t.test('a data server that hangs holds half of the openings, and one once it has failed', async (t) => {
  const { driver, use, move } = setUp(
    { maxOpening: 4, connectTimeoutMs: 60_000, acquireTimeoutMs: 60_000 },
    (id) => (id.startsWith('x') ? 'hangs' : 'up'),
  )
  const opening = (server: string) => [...driver.openings].filter((each) => each.target.server === server)
  const first = use('a')
  await settle()
  for (const each of driver.live) each.answer()
  await first
  driver.automatic = false
  const hanging = ['x1', 'x2', 'x3', 'x4', 'x5'].map((id) => use(id).catch((error) => error.code))
  await settle()
  t.equal(opening('hangs').length, 2)
  const others = ['b', 'c', 'd'].map((id) => use(id))
  await settle()
  t.equal(opening('up').length, 2, 'the other half')
  for (let i = 0; i < 2; i++) {
    for (const each of opening('up')) each.finish()
    await settle()
    for (const each of driver.live) while (each.flights.length > 0) each.answer()
    await settle()
  }
  await Promise.all(others)
  opening('hangs')[0]?.finish(refused('ETIMEDOUT'))
  await settle()
  t.equal(opening('hangs').length, 1, 'nobody takes the place that came free')
  opening('hangs')[0]?.finish(refused('ETIMEDOUT'))
  await settle()
  t.equal(opening('hangs').length, 1, 'one at a time')
  opening('hangs')[0]?.finish(refused('ETIMEDOUT'))
  await move(0)
  t.strictSame(await Promise.all(hanging), [
    ...Array.from({ length: 3 }, () => 'POOL_OPEN_FAILED'),
    ...Array.from({ length: 2 }, () => 'SERVER_UNAVAILABLE'),
  ])
})

t.test('where one connection is opened at a time, every data server has its turn', async (t) => {
  const { driver, use, visit, move } = setUp({ maxOpening: 1 }, (tenantId) => tenantId)
  await visit('a')
  await visit('b')
  driver.automatic = false
  const work = ['c', 'd'].map((tenantId) => use(tenantId))
  await settle()
  for (const server of ['c', 'd']) {
    const opening = [...driver.openings]
    t.strictSame(
      opening.map(({ target }) => target.server),
      [server],
    )
    opening[0]?.finish()
    await settle()
    for (const each of driver.live) each.answer()
    await move(0)
  }
  await Promise.all(work)
})

t.test('refused logins are not made up for before the credential was read again', async (t) => {
  const { driver, use, visit, move, located } = setUp({ maxConnections: 3 })
  await visit('a')
  driver.automatic = false
  for (const each of driver.live) each.lose()
  await settle()
  let logins = 0
  driver.onOpening = () => {
    logins += 1
  }
  const callers = Promise.all(Array.from({ length: 20 }, () => codeOf(use('a'))))
  await settle()
  t.equal(driver.openings.size, 3)
  for (const left of [2, 1]) {
    const [next] = driver.openings
    next?.finish(refused('28000'))
    await move(10)
    t.equal(driver.openings.size, left)
    t.equal(located.length, 1)
  }
  const [last] = driver.openings
  last?.finish(refused('28000'))
  await move(10)
  t.equal(located.length, 2, 'now it is read again')
  t.equal(driver.openings.size, 3)
  for (const each of [...driver.openings]) {
    each.finish(refused('28000'))
    await move(10)
  }
  const codes = await callers
  t.strictSame([...new Set(codes)], ['POOL_OPEN_FAILED'])
  t.equal(logins, 6)
})

t.test('a login that is let in after another was refused ends the doubt', async (t) => {
  const { driver, use, visit, move, located, answerAll } = setUp({ maxConnections: 2 })
  await visit('a')
  driver.automatic = false
  for (const each of driver.live) each.lose()
  await settle()
  const work = [use('a'), use('a')]
  await settle()
  const [one, other] = driver.openings
  one?.finish(refused('28000'))
  await move(10)
  t.equal(driver.openings.size, 1)
  other?.finish()
  await settle()
  await answerAll()
  await Promise.all(work)
  t.equal(located.length, 1)
  const [busy] = driver.live
  busy?.lose()
  await settle()
  const more = [use('a'), use('a')]
  await settle()
  t.equal(driver.openings.size, 2, 'others are opened again')
  for (const each of [...driver.openings]) each.finish()
  await answerAll()
  await Promise.all(more)
})

t.test('another failure after a refused login has the credential read again all the same', async (t) => {
  const { driver, use, visit, move, located } = setUp({ maxConnections: 2 })
  await visit('a')
  driver.automatic = false
  for (const each of driver.live) each.lose()
  await settle()
  const callers = Promise.all([codeOf(use('a')), codeOf(use('a'))])
  await settle()
  const [one, other] = driver.openings
  one?.finish(refused('28000'))
  await move(10)
  other?.finish(refused('ETIMEDOUT'))
  await move(10)
  t.equal(located.length, 2)
  t.strictSame(await callers, ['TENANT_UNAVAILABLE', 'TENANT_UNAVAILABLE'], 'and the breaker decides')
})

t.test('forgive ends a pause: what failed was mended', async (t) => {
  const { registry, driver, use, visit } = setUp()
  driver.failNext = refused('28000')
  driver.onOpening = () => {
    driver.failNext = refused('28000')
  }
  await rejectsLike(t, use('a'), { code: 'POOL_OPEN_FAILED' })
  driver.onOpening = () => {}
  driver.failNext = undefined
  await rejectsLike(t, use('a'), { code: 'TENANT_UNAVAILABLE' })
  registry.forgive('a')
  await visit('a')
})

t.test('a pool that cannot grow serves with what it has, and tries again after the pause', async (t) => {
  const { driver, use, visit, move, answerAll } = setUp({ maxConnections: 2 })
  await visit('a')
  driver.automatic = false
  const busy = [use('a'), use('a')]
  await settle()
  for (const each of driver.openings) each.finish(refused('53300'))
  await answerAll()
  await Promise.all(busy)
  const again = [use('a'), use('a')]
  await settle()
  t.equal(driver.openings.size, 0, 'the breaker is open')
  await move(500)
  t.equal(driver.openings.size, 0, 'nobody waits any more: the two share a connection')
  await answerAll()
  await Promise.all(again)
})

t.test('reservations count like connections, and wait like callers', async (t) => {
  const { registry, use, answerAll, driver } = setUp({ serverMaxConnections: 1 })
  const reservation = await registry.reserve('default', 'a', new AbortController())
  t.equal(registry.used('default'), 1)
  const work = use('b')
  await settle()
  t.equal(driver.live.size + driver.openings.size, 0)
  reservation.release()
  reservation.release()
  await answerAll()
  await work
  const second = await registry.reserve('default', 'a', new AbortController())
  t.equal(driver.live.size, 0, 'an idle pool made room')
  const gone = new AbortController()
  const third = registry.reserve('default', 'c', gone)
  const closed = registry.close()
  await rejectsLike(t, third, { code: 'SHUTTING_DOWN' })
  await rejectsLike(t, registry.reserve('default', 'a', gone), { code: 'SHUTTING_DOWN' })
  second.release()
  await closed
})

t.test('evictOlder leaves the generation that it names', async (t) => {
  const { registry, visit } = setUp()
  await visit('a')
  t.equal(await registry.evictOlder({ tenantId: 'a', generation: 1 }, 'rotation'), false)
  like(t, registry.snapshot('a'), { generation: 1, state: 'ready' })
  t.equal(await registry.evictOlder({ tenantId: 'a', generation: 2 }, 'rotation'), true)
  t.equal(registry.snapshot('a'), undefined)
})

t.test('evictOlder waits for older pools that drain already', async (t) => {
  const { registry, use, answerAll } = setUp()
  const old = use('a')
  await settle()
  const young = use('a', 2)
  await settle()
  t.equal(registry.gauges().outdated, 1)
  let isOver = false
  const drained = registry.evictOlder({ tenantId: 'a', generation: 2 }, 'rotation').then(() => {
    isOver = true
  })
  await settle()
  t.equal(isOver, false)
  await answerAll()
  await Promise.all([old, young, drained])
  t.equal(registry.gauges().outdated, 0)
  like(t, registry.snapshot('a'), { generation: 2 })
})

t.test('close says what it cut', async (t) => {
  const { registry, driver, use, move, visit } = setUp({ drainTimeoutMs: 1_000, maxConnections: 1 })
  await visit('a')
  const work = registry.use({ tenantId: 'a', generation: 1 }, new AbortController(), (db) =>
    db.transaction((tx) => tx.query(sql`select 1`)),
  )
  const waiting = use('a')
  const outcomes = [
    rejectsLike(t, work, { code: 'SHUTTING_DOWN' }),
    rejectsLike(t, waiting, { code: 'SHUTTING_DOWN' }),
  ]
  await settle()
  const closed = registry.close()
  await move(999)
  t.equal([...driver.live][0]?.cancels, 0)
  await move(1)
  await Promise.all(outcomes)
  like(t, await closed, { leases: 2, statementsCut: 1, waitersCut: 1, durationMs: 1_000 })
})

t.test('the budget tells peaks, and a quiet end says that nothing was cut', async (t) => {
  const { registry, use, answerAll } = setUp()
  const work = [use('a'), use('b'), use('b')]
  await answerAll()
  await Promise.all(work)
  await registry.evict('b', 'operator')
  like(t, registry.budget(), {
    entries: { used: 1, limit: 10, peak: 2 },
    opening: { used: 0, limit: 8 },
    waiting: { used: 0, limit: 1000, peak: 3 },
    servers: [
      { server: 'default', used: 1, limit: 20, claims: 0, holders: [{ tenantId: 'a', connections: 1 }] },
    ],
  })
  like(t, await registry.close(), { leases: 0, statementsCut: 0, waitersCut: 0 })
})
