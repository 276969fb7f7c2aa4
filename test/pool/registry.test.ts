import t from 'tap'
import { LessorError } from '../../src/errors.ts'
import type { ConnectionTarget, PoolKey, PoolLimits } from '../../src/pool/contract.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { type Db, type Statement, sql } from '../../src/pool/statement.ts'
import { like, rejectsLike } from '../support/like.ts'
import { FakeClock, type FakeConnection, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

interface Row {
  readonly user: string
  readonly value: number
}

t.test('each caller who waits is observed once, and nobody who does not', async (t) => {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const waits: number[] = []
  const registry = new PoolRegistry({
    limits: { ...LIMITS, maxConnections: 1 },
    clock,
    hasTimer: false,
    connect: driver.connect,
    locate: async (key) => target(key.tenantId),
    observer: { opened() {}, drained() {}, swept() {}, evicted() {}, waited: (ms) => waits.push(ms) },
  })
  driver.automatic = false
  const use = () =>
    registry.use({ tenantId: 'a', generation: 1 }, new AbortController(), (db) => db.query(sql`select 1`))
  const first = [use(), use()]
  await settle()
  clock.time += 8
  for (const opening of driver.openings) opening.finish()
  await settle()
  only(driver).answer()
  only(driver).answer()
  await Promise.all(first)
  t.strictSame(waits, [8, 8])
  const hit = use()
  await settle()
  only(driver).answer()
  await hit
  t.equal(waits.length, 2)
})

function setUp(changes: Partial<PoolLimits> = {}, locate?: (key: PoolKey) => Promise<ConnectionTarget>) {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const located: string[] = []
  const registry = new PoolRegistry({
    limits: { ...LIMITS, ...changes },
    clock,
    hasTimer: false,
    connect: driver.connect,
    locate: async (key) => {
      located.push(key.tenantId)
      return locate === undefined ? target(key.tenantId) : locate(key)
    },
  })
  const key = (tenantId: string, generation = 1): PoolKey => ({ tenantId, generation })
  const use = (tenantId: string, value = 0, caller = new AbortController(), generation = 1) =>
    registry.use(key(tenantId, generation), caller, (db) => db.query<Row>(sql`select ${value}`))
  const answerAll = async () => {
    for (let busy = true; busy; ) {
      await settle()
      const live = [...driver.live].filter((each) => each.flights.length > 0)
      for (const each of live) each.answer()
      busy = live.length > 0
    }
  }
  const move = async (ms: number) => {
    clock.time += ms
    registry.tick()
    await settle()
  }
  return { clock, driver, located, registry, key, use, answerAll, move }
}

const only = (driver: FakeDriver): FakeConnection => {
  const [connection, ...others] = driver.live
  if (connection === undefined || others.length > 0) throw new Error(`${driver.live.size} connections`)
  return connection
}

t.test('nothing is sent on a connection whose end is known, idle or not', async (t) => {
  const { driver, use, answerAll, registry, move } = setUp({ maxConnections: 2 })
  const first = use('a', 1)
  await answerAll()
  await first
  const idle = only(driver)
  // Its socket is broken, and not closed yet.
  idle.state = 'closing'
  const second = use('a', 2)
  await settle()
  t.equal(driver.live.size, 2)
  const busy = [...driver.live].find((each) => each !== idle)
  if (busy === undefined) throw new Error('no other connection')
  t.equal(busy.flights.length, 1)
  busy.state = 'closing'
  const third = use('a', 3)
  await settle()
  t.strictSame([idle.flights.length, busy.flights.length], [0, 1], 'nor behind what runs there')
  busy.answer()
  t.equal((await second)[0]?.value, 2)
  idle.lose()
  await move(1)
  await answerAll()
  t.equal((await third)[0]?.value, 3)
  await registry.close()
})

t.test('many first callers of a tenant share one opening', async (t) => {
  const { use, answerAll, located, driver, registry } = setUp({ maxConnections: 1 })
  const work = Promise.all([1, 2, 3, 4, 5].map((value) => use('a', value)))
  await answerAll()
  t.strictSame(
    (await work).map(([row]) => row?.value),
    [1, 2, 3, 4, 5],
  )
  t.strictSame(located, ['a'])
  t.equal(driver.live.size, 1)
  t.strictSame(registry.counters().opens, { ok: 1, failed: 0 })
})

t.test('an evicted pool closes only after its last lease', async (t) => {
  const { use, driver, registry } = setUp()
  const work = use('a', 7)
  await settle()
  const connection = only(driver)
  const evicted = registry.evict('a', 'operator')
  await settle()
  t.equal(connection.state, 'open')
  t.equal(registry.snapshot('a'), undefined, 'it is out of the registry at once')
  t.equal(registry.gauges().entries.draining, 1)
  connection.answer()
  t.equal((await work)[0]?.value, 7)
  t.equal(await evicted, true)
  t.equal(connection.state, 'gone')
  like(t, registry.evictions(), [{ tenantId: 'a', reason: 'operator', leases: 1, connections: 1 }])
})

t.test('a tenant that comes back while its old pool drains gets a new one', async (t) => {
  const { use, driver, registry, answerAll } = setUp()
  const first = use('a', 1)
  await settle()
  const old = only(driver)
  void registry.evict('a', 'capacity')
  const second = use('a', 2)
  await settle()
  t.equal(driver.live.size, 2)
  for (const each of driver.live) if (each !== old) each.answer()
  t.equal((await second)[0]?.value, 2)
  t.equal(old.state, 'open')
  await answerAll()
  t.equal((await first)[0]?.value, 1)
  t.equal(registry.counters().reopened, 1, 'reopening so soon after an eviction is thrash')
})

t.test('a higher generation drains the older pool; a lower one uses the newer', async (t) => {
  const { use, registry, answerAll, located } = setUp()
  const old = use('a', 1)
  await settle()
  const fresh = use('a', 2, new AbortController(), 2)
  const stale = use('a', 3, new AbortController(), 1)
  await answerAll()
  await Promise.all([old, fresh, stale])
  t.strictSame(located, ['a', 'a'])
  like(t, registry.evictions(), [{ reason: 'rotation', generation: 1 }])
  t.equal(registry.snapshot('a')?.generation, 2)
})

t.test('the least recently used idle entry makes place, and one in use never does', async (t) => {
  const { use, registry, answerAll, driver } = setUp({ maxEntries: 2 })
  const busy = use('a', 1)
  await settle()
  const b = use('b', 2)
  await settle()
  for (const each of driver.live) if (each.target.user === 'b') each.answer()
  await b
  const c = use('c', 3)
  await settle()
  like(t, registry.evictions(), [{ tenantId: 'b', reason: 'capacity' }])
  const d = use('d', 4)
  await settle()
  t.equal(registry.gauges().waiting, 1, 'nobody is idle, so the fourth waits')
  await answerAll()
  await Promise.all([busy, c, d])
  t.equal(registry.gauges().entries.ready, 2)
})

t.test('who waits for a place gets 503 at the deadline', async (t) => {
  const { use, move, driver, answerAll } = setUp({ maxEntries: 1, connectTimeoutMs: 60_000 })
  driver.automatic = false
  const opening = use('a', 1)
  await settle()
  const refused = rejectsLike(t, use('b', 2), { code: 'POOL_SATURATED', status: 503, retryAfterSeconds: 1 })
  const refusedToo = rejectsLike(t, opening, { code: 'POOL_SATURATED' }, 'who waits for an opening as well')
  await settle()
  await move(4_999)
  await move(1)
  await refused
  await refusedToo
  for (const each of driver.openings) each.finish()
  await answerAll()
})

t.test('while all places are in use, tenants have them in turns, and no lease is hurt', async (t) => {
  const { use, move, registry, driver, answerAll } = setUp({ maxEntries: 1 })
  const busy = use('a', 1)
  await settle()
  const [held] = driver.live
  const waiting = [use('b', 2), use('b', 3)]
  await settle()
  await move(200)
  t.equal(registry.gauges().waiting, 2, 'a turn takes a quarter of a second')
  await move(50)
  t.equal(registry.gauges().waiting, 0, 'all callers of a tenant need one place')
  t.equal(held?.state, 'open')
  t.equal(registry.evictions()[0]?.reason, 'capacity')
  await answerAll()
  like(t, await Promise.all([busy, ...waiting]), [[{ value: 1 }], [{ value: 2 }], [{ value: 3 }]])
})

t.test('a pool grows with those who wait, up to its limit, and no further', async (t) => {
  const { use, driver, answerAll, registry } = setUp({ maxConnections: 3 })
  const work = Array.from({ length: 60 }, (_, value) => use('a', value))
  await settle()
  t.equal(driver.live.size, 3)
  t.strictSame(
    [...driver.live].map((each) => each.flights.length),
    [16, 16, 16],
    'each connection carries 16 young statements',
  )
  t.equal(registry.gauges().waiting, 12)
  await answerAll()
  await Promise.all(work)
})

t.test('no statement is sent behind one older than 3 ms', async (t) => {
  const { use, driver, clock, answerAll } = setUp({ maxConnections: 1 })
  const slow = use('a', 1)
  await settle()
  const connection = only(driver)
  clock.time += 4
  const second = use('a', 2)
  await settle()
  t.equal(connection.flights.length, 1)
  connection.answer()
  await settle()
  const third = use('a', 3)
  await settle()
  t.equal(connection.flights.length, 2, 'behind a young one it is')
  await answerAll()
  await Promise.all([slow, second, third])
})

t.test(
  'no statement is sent behind one that is known to be slow, until it has been fast for long',
  async (t) => {
    const { registry, key, driver, clock, answerAll } = setUp({ maxConnections: 1 })
    const run = (statement: Statement) =>
      registry.use(key('a'), new AbortController(), (db) => db.query(statement))
    const report = () => run(sql`select report`)
    const list = () => run(sql`select list`)

    const first = report()
    await settle()
    const connection = only(driver)
    clock.time += 25
    await answerAll()
    await first

    const again = report()
    const behind = list()
    await settle()
    t.equal(connection.flights.length, 1, 'the list waits')
    await answerAll()
    await Promise.all([again, behind])

    for (let i = 0; i < 100; i++) {
      const fast = report()
      await answerAll()
      await fast
    }
    const forgiven = report()
    const shared = list()
    await settle()
    t.equal(connection.flights.length, 2)
    await answerAll()
    await Promise.all([forgiven, shared])
  },
)

t.test('a transaction has its connection alone, and is rolled back when its work fails', async (t) => {
  const { driver, registry, key, use, answerAll } = setUp({ maxConnections: 1 })
  const sent: string[] = []
  const reason = new Error('changed my mind')
  const failing = registry.use(key('a'), new AbortController(), (db) =>
    db.transaction(async (tx) => {
      await tx.query(sql`insert ${1}`)
      throw reason
    }),
  )
  const rejected = rejectsLike(t, failing, reason)
  await settle()
  const other = use('a', 2)
  for (let i = 0; i < 4; i++) {
    const [connection] = driver.live
    sent.push(...(connection?.flights ?? []).map(({ statement }) => statement.strings[0] ?? ''))
    connection?.answer()
    await settle()
  }
  await answerAll()
  await rejected
  await other
  t.strictSame(sent, ['begin', 'insert ', 'rollback', 'select '])
})

t.test('a connection whose rollback fails is not given to anybody else', async (t) => {
  const { driver, registry, key, answerAll } = setUp()
  const failing = registry.use(key('a'), new AbortController(), (db) =>
    db.transaction(async () => {
      throw new Error('no')
    }),
  )
  const rejected = rejectsLike(t, failing, { message: 'no' })
  await settle()
  const connection = only(driver)
  connection.answer()
  await settle()
  connection.answer('error')
  await rejected
  await answerAll()
  t.equal(connection.state, 'gone')
})

const TRANSACTION_REFUSED = {
  message:
    'A transaction is not begun or ended by a statement; use db.transaction(), which commits, or rolls back when its function throws.',
}

t.test('a statement that begins or ends a transaction is refused before it is sent', async (t) => {
  const { driver, registry, key, answerAll, use } = setUp({ maxConnections: 1 })
  const work = use('a', 1)
  await answerAll()
  await work
  const db = <T>(fn: (db: Db) => Promise<T>) => registry.use(key('a'), new AbortController(), fn)
  for (const statement of [
    sql`BEGIN`,
    sql`start transaction`,
    sql`commit`,
    sql`end`,
    sql`rollback`,
    sql`abort`,
  ]) {
    await rejectsLike(
      t,
      db((each) => each.query(statement)),
      TRANSACTION_REFUSED,
    )
  }
  t.strictSame(only(driver).flights, [])
  t.equal(registry.gauges().connections.idle, 1, 'the connection is as it was')
})

t.test(
  'a statement that would end the transaction it stands in is refused, and the transaction goes on',
  async (t) => {
    const { driver, registry, key, answerAll } = setUp()
    const sent: string[] = []
    driver.onSend = ({ strings }) => sent.push(strings.join('?'))
    const work = registry.use(key('a'), new AbortController(), (db) =>
      db.transaction(async (tx) => {
        for (const statement of [sql`commit`, sql`/* a */ END;`, sql`rollback`, sql`abort`, sql`begin`]) {
          await rejectsLike(t, tx.query(statement), TRANSACTION_REFUSED)
        }
        await tx.transaction((inner) => rejectsLike(t, inner.query(sql`commit`), TRANSACTION_REFUSED))
        return tx.query<Row>(sql`select ${7}`)
      }),
    )
    await answerAll()
    t.equal((await work)[0]?.value, 7)
    t.strictSame(sent, ['begin', 'savepoint ?', 'release savepoint ?', 'select ?', 'commit'])
    t.equal(only(driver).state, 'open')
  },
)

t.test('a transaction whose function lets the refusal through is rolled back', async (t) => {
  const { driver, registry, key, answerAll } = setUp()
  const sent: string[] = []
  driver.onSend = ({ strings }) => sent.push(strings.join('?'))
  const rejected = rejectsLike(
    t,
    registry.use(key('a'), new AbortController(), (db) => db.transaction((tx) => tx.query(sql`commit`))),
    TRANSACTION_REFUSED,
  )
  await answerAll()
  await rejected
  t.strictSame(sent, ['begin', 'rollback'])
  t.equal(only(driver).state, 'open')
})

t.test('an empty statement is refused before it is sent', async (t) => {
  const { driver, registry, key, answerAll } = setUp()
  const message = { message: 'The statement is empty: it has no SQL but white space and comments.' }
  const empty = sql` -- nothing`
  const work = registry.use(key('a'), new AbortController(), async (db) => {
    await rejectsLike(t, db.query(empty), message)
    await db.transaction((tx) => rejectsLike(t, tx.query(empty), message))
  })
  await answerAll()
  await work
  t.equal(only(driver).state, 'open')
})

t.test('a caller who goes away leaves the queue, and his running statement is cancelled', async (t) => {
  const { use, driver, move, registry } = setUp({ maxConnections: 1 })
  const running = new AbortController()
  const waiting = new AbortController()
  const first = rejectsLike(t, use('a', 1, running), { code: 'CLIENT_CLOSED_REQUEST' })
  await settle()
  await move(10)
  const second = rejectsLike(t, use('a', 2, waiting), { code: 'CLIENT_CLOSED_REQUEST' })
  await settle()
  t.equal(registry.gauges().waiting, 1)
  await move(200)
  waiting.abort()
  await second
  t.equal(registry.gauges().waiting, 0)
  t.equal(only(driver).cancels, 0)
  running.abort()
  await move(50)
  await first
  t.equal(only(driver).cancels, 1)
  t.equal(registry.counters().cancelled, 1)
})

t.test('a cancel request waits while a neighbour could be hit', async (t) => {
  const { use, driver, move } = setUp({ maxConnections: 1 })
  const caller = new AbortController()
  const doomed = rejectsLike(t, use('a', 1, caller), { code: 'CLIENT_CLOSED_REQUEST' })
  const neighbour = use('a', 2)
  await settle()
  const connection = only(driver)
  t.equal(connection.flights.length, 2)
  await move(150)
  caller.abort()
  await move(50)
  t.equal(connection.cancels, 0)
  connection.answer('error')
  await doomed
  await move(50)
  t.equal(connection.cancels, 0, 'it has ended by itself')
  connection.answer()
  t.equal((await neighbour)[0]?.value, 2)
})

t.test('nothing goes onto a connection while a cancel request for it is under way', async (t) => {
  const { use, driver, move } = setUp({ maxConnections: 1 })
  const callers = [new AbortController(), new AbortController()]
  const doomed = callers.map((caller) => use('a', 1, caller).catch((error) => error))
  await settle()
  const connection = only(driver)
  connection.obeys = false
  const held = Promise.withResolvers<void>()
  connection.cancelsHeld = held.promise
  await move(150)
  for (const caller of callers) caller.abort()
  await move(50)
  t.equal(connection.cancels, 1, 'both are doomed, so neither is in the way')

  connection.answer('error')
  await settle()
  const next = use('a', 2)
  await settle()
  t.equal(connection.flights.length, 1, 'not behind the second one, though it is young')
  connection.answer('error')
  await settle()
  t.equal(connection.flights.length, 0, 'nor on the idle connection: the request may still arrive')
  held.resolve()
  await settle()
  t.equal(connection.flights.length, 1)
  connection.answer()
  t.equal((await next)[0]?.value, 2)
  t.strictSame(
    (await Promise.all(doomed)).map(({ code }) => code),
    ['CLIENT_CLOSED_REQUEST', 'CLIENT_CLOSED_REQUEST'],
  )
})

t.test(
  'a transaction that ends while a cancel request is under way takes its connection with it',
  async (t) => {
    const { registry, key, driver, move } = setUp({ maxConnections: 1 })
    const caller = new AbortController()
    const work = registry
      .use(key('a'), caller, (db) => db.transaction((tx) => tx.query(sql`select ${1}`)))
      .catch((error) => error)
    await settle()
    const connection = only(driver)
    connection.obeys = false
    const held = Promise.withResolvers<void>()
    connection.cancelsHeld = held.promise
    connection.answer()
    await settle()
    await move(150)
    caller.abort()
    await move(50)
    t.equal(connection.cancels, 1)
    connection.answer('error')
    await settle()
    t.equal(connection.flights[0]?.statement.strings[0], 'rollback')
    connection.answer()
    await settle()
    t.equal(connection.state, 'gone')
    held.resolve()
    like(t, await work, { code: 'CLIENT_CLOSED_REQUEST' })
  },
)

t.test('an entry that was idle and is in use again is left alone', async (t) => {
  const { use, registry, answerAll, clock } = setUp({ maxEntries: 2 })
  for (const tenant of ['a', 'b']) {
    const work = use(tenant)
    await answerAll()
    await work
  }
  const busy = use('a')
  await settle()
  clock.time += 120_000
  like(t, registry.sweep({ dryRun: true }).evicted, [{ tenantId: 'b' }])
  const newcomer = use('c')
  await settle()
  like(t, registry.evictions(), [{ tenantId: 'b', reason: 'capacity' }])
  await answerAll()
  await Promise.all([busy, newcomer])
})

t.test('a statement past its time limit is cancelled', async (t) => {
  const { use, driver, move } = setUp()
  const late = rejectsLike(t, use('a', 1), { code: 'STATEMENT_TIMEOUT', status: 504 })
  await settle()
  await move(15_000)
  t.equal(only(driver).cancels, 0, "the role's own limit comes first")
  await move(500)
  await late
  t.equal(only(driver).cancels, 1)
})

t.test('a statement that does not obey a cancel request loses its connection', async (t) => {
  const { use, driver, move } = setUp()
  const late = rejectsLike(t, use('a', 1), { code: 'STATEMENT_TIMEOUT' })
  await settle()
  const connection = only(driver)
  connection.obeys = false
  await move(15_500)
  t.equal(connection.cancels, 1)
  await move(499)
  t.equal(connection.cancels, 1)
  await move(1)
  t.equal(connection.cancels, 2, 'it is asked again')
  await move(4_499)
  t.equal(connection.state, 'open')
  await move(1)
  await late
  t.equal(connection.state, 'gone')
})

t.test('a cancel request that came too early for the server is sent again', async (t) => {
  const { use, driver, move, registry } = setUp({ maxConnections: 1 })
  const caller = new AbortController()
  const gone = rejectsLike(t, use('a', 1, caller), { code: 'CLIENT_CLOSED_REQUEST' })
  await settle()
  const connection = only(driver)
  connection.obeys = false
  await move(200)
  caller.abort()
  await move(10)
  t.equal(connection.cancels, 1)
  connection.obeys = true
  await move(500)
  await gone
  t.equal(connection.cancels, 2)
  t.equal(connection.state, 'open', 'the connection is kept')
  t.equal(registry.counters().cancelled, 1, 'it counts as one')
})

t.test('a cancel request that is still under way is not sent again', async (t) => {
  const { use, driver, move } = setUp({ maxConnections: 1 })
  const caller = new AbortController()
  const gone = rejectsLike(t, use('a', 1, caller), { code: 'CLIENT_CLOSED_REQUEST' })
  await settle()
  const connection = only(driver)
  const held = Promise.withResolvers<void>()
  connection.cancelsHeld = held.promise
  await move(200)
  caller.abort()
  await move(2_000)
  t.equal(connection.cancels, 1)
  held.resolve()
  await settle()
  await gone
})

t.test('a lost connection fails what ran on it, and the next statement gets another', async (t) => {
  const { use, driver, answerAll, registry } = setUp()
  const lost = rejectsLike(t, use('a', 1), { code: 'CONNECTION_LOST', status: 503 })
  await settle()
  only(driver).lose()
  await lost
  const next = use('a', 2)
  await answerAll()
  t.equal((await next)[0]?.value, 2)
  like(t, registry.counters(), { connectionsOpened: 2, connectionsClosed: 1 })
})

t.test('a refused login reads the credential once more', async (t) => {
  const { use, driver, located, answerAll } = setUp()
  driver.failNext = Object.assign(new Error('password authentication failed'), { code: '28P01' })
  const work = use('a', 1)
  await answerAll()
  t.equal((await work)[0]?.value, 1)
  t.strictSame(located, ['a', 'a'])
})

t.test('callers of a pool whose login was rotated meanwhile do not notice', async (t) => {
  const { use, driver, registry, located, answerAll } = setUp({ maxConnections: 2 })
  const first = use('a')
  await answerAll()
  await first
  only(driver).lose()
  await settle()
  driver.automatic = false
  const work = [use('a', 1), use('a', 2), use('a', 3)]
  await settle()
  t.equal(driver.openings.size, 2)
  for (const each of driver.openings) each.finish(Object.assign(new Error('no'), { code: '28P01' }))
  await settle()
  t.strictSame(located, ['a', 'a'], 'the credential is read once more')
  driver.automatic = true
  for (const each of driver.openings) each.finish()
  await answerAll()
  like(t, await Promise.all(work), [[{ value: 1 }], [{ value: 2 }], [{ value: 3 }]])
  like(t, registry.counters(), { opens: { ok: 1 }, breakers: { opened: { tenant: 0 } } })
})

t.test('an opening that fails is told to all who wait, and tried again after a pause', async (t) => {
  const { use, move, driver, registry, answerAll } = setUp()
  driver.failNext = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
  await Promise.all([
    rejectsLike(t, use('a', 1), { code: 'POOL_OPEN_FAILED', message: /ECONNREFUSED/ }),
    rejectsLike(t, use('a', 2), { code: 'POOL_OPEN_FAILED' }),
  ])
  t.strictSame(registry.counters().opens, { ok: 0, failed: 1 })
  t.equal(registry.snapshot('a'), undefined)
  await rejectsLike(t, use('a', 3), { code: 'TENANT_UNAVAILABLE', retryAfterSeconds: 1 })
  await move(750)
  const again = use('a', 3)
  await answerAll()
  t.equal((await again)[0]?.value, 3)
})

t.test('what locating the tenant throws on purpose reaches the caller as it is', async (t) => {
  const reason = new LessorError('TENANT_SUSPENDED')
  const known = setUp({}, () => Promise.reject(reason))
  await rejectsLike(t, known.use('a'), reason)
  const unknown = setUp({}, () => Promise.reject(new Error('disk on fire')))
  await rejectsLike(t, unknown.use('a'), { code: 'POOL_OPEN_FAILED', cause: { message: 'disk on fire' } })
})

t.test(
  'a server that hangs while a connection is opened costs its callers the connect timeout',
  async (t) => {
    const { use, driver, move } = setUp({ connectTimeoutMs: 2_000 })
    driver.automatic = false
    const refused = rejectsLike(t, use('a'), { code: 'POOL_OPEN_FAILED', message: /2000 ms/ })
    await settle()
    await move(2_000)
    await refused
    t.equal(driver.openings.size, 0)
  },
)

t.test('when a server has no connection left, the idle entry that costs least gives one back', async (t) => {
  const { use, driver, registry, answerAll, move } = setUp({ serverMaxConnections: 2, maxConnections: 1 })
  const a = use('a', 1)
  await answerAll()
  await a
  await move(10)
  const b = use('b', 2)
  await answerAll()
  await b
  const c = use('c', 3)
  await answerAll()
  t.equal((await c)[0]?.value, 3)
  like(t, registry.evictions(), [{ tenantId: 'a', reason: 'budget' }])
  t.equal(driver.live.size, 2)
})

t.test('a surplus connection goes before a whole entry does', async (t) => {
  const { use, registry, answerAll } = setUp({ serverMaxConnections: 2, maxConnections: 2 })
  const work = [use('a', 1), use('a', 2)]
  await answerAll()
  await Promise.all(work)
  t.equal(registry.snapshot('a')?.connections.idle, 2)
  const b = use('b', 3)
  await answerAll()
  await b
  t.strictSame(registry.evictions(), [])
  t.equal(registry.snapshot('a')?.connections.idle, 1)
})

t.test('a sweep evicts what has been idle for too long, and a dry run only says so', async (t) => {
  const { use, registry, answerAll, clock, driver } = setUp({ idleMs: 60_000 })
  for (const tenant of ['a', 'b']) {
    const work = use(tenant)
    await answerAll()
    await work
    clock.time += 40_000
  }
  const busy = use('c')
  await settle()
  clock.time += 10_000
  like(t, registry.sweep({ dryRun: true }).evicted, [{ tenantId: 'a', reason: 'idle', idleMs: 90_000 }])
  t.equal(registry.gauges().entries.ready, 3)
  t.equal(registry.sweep().evicted.length, 1)
  clock.time += 70_000
  like(t, registry.sweep().evicted, [{ tenantId: 'b', idleMs: 120_000 }], 'the one in use stays')
  await answerAll()
  await busy
  like(t, registry.counters().evictions, { idle: 2 })
  t.equal(driver.live.size, 1)
})

t.test('a sweep closes surplus connections of a pool that stays, but not its last', async (t) => {
  const { use, registry, answerAll, clock, driver } = setUp({ connectionIdleMs: 10_000 })
  const work = [1, 2, 3].map((value) => use('a', value))
  await answerAll()
  await Promise.all(work)
  clock.time += 10_000
  t.equal(registry.sweep({ dryRun: true }).connectionsClosed, 2)
  t.equal(driver.live.size, 3)
  t.equal(registry.sweep().connectionsClosed, 2)
  await settle()
  t.equal(driver.live.size, 1)
  t.equal(registry.gauges().entries.ready, 1)
})

t.test('last access is the time of the last checkout', async (t) => {
  const { use, registry, answerAll, clock } = setUp()
  const first = use('a')
  await answerAll()
  await first
  clock.time += 5_000
  like(t, registry.snapshot('a'), { idleMs: 5_000, lastAccess: clock.time - 5_000, hits: 0 })
  const second = use('a')
  await answerAll()
  await second
  like(t, registry.snapshot('a'), { idleMs: 0, lastAccess: clock.time, hits: 1 })
})

t.test('close lets work end, refuses new work, and is the same promise each time', async (t) => {
  const { use, registry, answerAll, driver } = setUp()
  const work = use('a', 1)
  await settle()
  const closed = registry.close()
  t.equal(registry.close(), closed)
  await rejectsLike(t, use('a', 2), { code: 'SHUTTING_DOWN', status: 503 })
  await answerAll()
  t.equal((await work)[0]?.value, 1)
  await closed
  t.equal(driver.live.size, 0)
})

t.test('at the drain deadline what still runs is cancelled at the server', async (t) => {
  const { use, registry, move, driver } = setUp({ drainTimeoutMs: 1_000, statementTimeoutMs: 60_000 })
  const work = rejectsLike(t, use('a', 1), { code: 'SHUTTING_DOWN' })
  await settle()
  const connection = only(driver)
  const closed = registry.close()
  await move(999)
  t.equal(connection.cancels, 0)
  await move(1)
  t.equal(connection.cancels, 1)
  await work
  await closed
  t.equal(connection.state, 'gone')
})

t.test('destroy fails what runs with the reason as its cause', async (t) => {
  const { use, registry } = setUp()
  const reason = new Error('enough')
  const work = rejectsLike(t, use('a', 1), { code: 'SHUTTING_DOWN', cause: reason })
  await settle()
  await registry.destroy(reason)
  await work
})

t.test('a lease is released once, however often its holder says so', async (t) => {
  const { registry, key } = setUp()
  const one = await registry.acquire(key('a'), new AbortController())
  const two = await registry.acquire(key('a'), new AbortController())
  t.equal(registry.gauges().leases, 2)
  one.release()
  one.release()
  t.equal(registry.gauges().leases, 1)
  t.throws(() => one.db.query(sql`select 1`), /after its lease was released/)
  {
    await using lease = two
    t.equal(lease.tenantId, 'a')
  }
  t.equal(registry.gauges().leases, 0)
})

t.test('callers past the limit are refused at once', async (t) => {
  const { use, answerAll } = setUp({ maxConnections: 1, maxWaiting: 2 })
  const work = [use('a')]
  await settle()
  for (let i = 0; i < 17; i++) {
    work.push(use('a', i))
    await settle()
  }
  await rejectsLike(t, use('a', 99), { code: 'POOL_SATURATED' })
  await answerAll()
  await Promise.all(work)
})

t.test('a caller who is refused while the pool opens leaves no lease behind', async (t) => {
  const { use, answerAll, driver, registry } = setUp({ maxWaiting: 1 })
  driver.automatic = false
  const first = use('a')
  await settle()
  await rejectsLike(t, use('a'), { code: 'POOL_SATURATED' })
  t.equal(registry.gauges().leases, 1)
  for (const opening of driver.openings) opening.finish()
  await answerAll()
  await first
  t.equal(registry.gauges().leases, 0)
})

t.test('an evicted pool keeps a connection for the lease that is held, though it runs nothing', async (t) => {
  const { answerAll, driver, key, registry } = setUp()
  const lease = await registry.acquire(key('a'), new AbortController())
  const connection = only(driver)
  const evicted = registry.evict('a', 'operator')
  await settle()
  t.equal(connection.state, 'open')
  const work = lease.db.query(sql`select 1`)
  await answerAll()
  await work
  t.equal(only(driver), connection)
  lease.release()
  await evicted
  t.equal(connection.state, 'gone')
})
