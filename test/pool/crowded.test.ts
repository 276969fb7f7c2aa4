import t from 'tap'
import type { ConnectionTarget, PoolKey, PoolLimits } from '../../src/pool/contract.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { FakeClock, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

// Where others have taken all the sessions of a data server, or its room for locks. Tenants whose name begins with
// "x" are on a server of their own.

function setUp(changes: Partial<PoolLimits> = {}, { hasTimer = false, isShared = false } = {}) {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const registry = new PoolRegistry({
    limits: { ...LIMITS, ...changes },
    clock,
    hasTimer,
    connect: driver.connect,
    random: () => 0.5,
    locate: async ({ tenantId }: PoolKey): Promise<ConnectionTarget> =>
      isShared
        ? { ...target('row'), isShared }
        : target(tenantId, tenantId.startsWith('x') ? 'other' : 'default'),
  })
  const ends: string[] = []
  const outcome = (name: string, work: Promise<unknown>) => {
    void work.then(
      () => ends.push(`${name}: served`),
      (error: { code?: string; message: string }) => ends.push(`${name}: ${error.code ?? error.message}`),
    )
  }
  const use = (tenantId: string, caller = new AbortController()) => {
    const work = registry.use({ tenantId, generation: 1 }, caller, (db) => db.query(sql`select 1`))
    outcome(tenantId, work)
    return caller
  }
  const ended = async () => {
    await settle()
    return ends.splice(0).toSorted()
  }
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
  /** Ends what opens, and tells of whom it was. */
  const openings = async (error?: Error) => {
    await settle()
    const all = [...driver.openings]
    for (const each of all) each.finish(error)
    await settle()
    return all.map((each) => each.target.user)
  }
  /** Refuses what runs, and tells how much that was. */
  const refuse = async (error: Error, isUndone = true) => {
    await settle()
    const busy = [...driver.live].filter((each) => each.flights.length > 0)
    for (const each of busy) each.refuse(error, isUndone)
    await settle()
    return busy.length
  }
  return { registry, clock, driver, outcome, use, ended, answerAll, move, openings, refuse }
}

const refusal = (fields: Readonly<Record<string, unknown>>) => Object.assign(new Error('no'), fields)
const FULL = refusal({ code: '53300', routine: 'InitProcess' })
const OF_ROLE = refusal({ code: '53300', routine: 'InitializeSessionUserId' })
const NO_LOCKS = refusal({ code: '53200', severity: 'ERROR', file: 'lock.c' })
const NO_MEMORY = refusal({ code: '53200', severity: 'ERROR', file: 'aset.c' })

const CLOSED = { tenant: { open: 0, half_open: 0 }, server: { open: 0, half_open: 0 } }

t.test('callers of a full server wait for the next try, one for all its tenants', async (t) => {
  const { answerAll, driver, ended, move, openings, registry, use } = setUp()
  driver.automatic = false
  for (const tenantId of ['a', 'b', 'c']) use(tenantId)
  t.strictSame(await openings(FULL), ['a', 'b', 'c'])
  t.strictSame(await openings(), [], 'nothing is opened in the pause')
  use('x')
  t.strictSame(await openings(), ['x'], 'another server goes on')
  await answerAll()
  t.strictSame(await ended(), ['x: served'])
  await move(49)
  t.strictSame(await openings(), [])
  await move(1)
  t.equal((await openings(FULL)).length, 1, 'one is tried')
  await move(99)
  t.strictSame(await openings(), [])
  await move(1)
  t.equal((await openings()).length, 1)
  t.equal((await openings()).length, 2, 'it has let one in, so the others are opened at once')
  await answerAll()
  t.strictSame(await ended(), ['a: served', 'b: served', 'c: served'])
  t.strictSame(registry.gauges().breakers, CLOSED)
})

t.test('a pool that has connections serves with them while the server is full', async (t) => {
  const { answerAll, driver, ended, openings, registry, use } = setUp({ maxConnections: 2 })
  use('a')
  await answerAll()
  driver.automatic = false
  use('a')
  use('a')
  t.strictSame(await openings(FULL), ['a'])
  await answerAll()
  t.strictSame(await ended(), ['a: served', 'a: served', 'a: served'])
  t.strictSame(registry.gauges().breakers, CLOSED)
})

t.test('a server that stays full has failed in the end', async (t) => {
  const { driver, ended, move, openings, registry, use } = setUp({
    acquireTimeoutMs: 60_000,
    connectTimeoutMs: 300,
  })
  driver.automatic = false
  use('a')
  let tries = 0
  for (let ms = 0; ms < 300; ms += 50) {
    tries += (await openings(FULL)).length
    await move(50)
  }
  t.equal(tries, 3)
  t.strictSame(await ended(), ['a: POOL_OPEN_FAILED'])
  t.strictSame(registry.gauges().breakers, { ...CLOSED, tenant: { open: 1, half_open: 0 } })
})

t.test('a role that has all sessions of its own is its tenant’s failure', async (t) => {
  const { answerAll, driver, ended, openings, registry, use } = setUp()
  driver.automatic = false
  use('a')
  t.strictSame(await openings(OF_ROLE), ['a'])
  t.strictSame(await ended(), ['a: POOL_OPEN_FAILED'])
  use('b')
  t.strictSame(await openings(), ['b'])
  await answerAll()
  t.strictSame(await ended(), ['b: served'])
  t.strictSame(registry.gauges().breakers, { ...CLOSED, tenant: { open: 1, half_open: 0 } })
})

t.test(
  'a statement that found no room for its locks is sent again, and holds no connection meanwhile',
  async (t) => {
    const { answerAll, driver, ended, move, refuse, registry, use } = setUp({ maxConnections: 1 })
    use('a')
    t.equal(await refuse(NO_LOCKS), 1)
    use('a')
    await answerAll()
    t.strictSame(await ended(), ['a: served'], 'the next one runs in the pause')
    await move(49)
    t.equal(await refuse(NO_LOCKS), 0)
    await move(1)
    t.equal(await refuse(NO_LOCKS), 1)
    await move(99)
    t.equal(await refuse(NO_LOCKS), 0, 'the second pause is twice as long')
    await move(1)
    await answerAll()
    t.strictSame(await ended(), ['a: served'])
    t.equal(registry.counters().sentAgain, 2)
    t.equal(driver.live.size, 1)
  },
)

t.test('what may have taken effect is not sent again, nor what asks for too much memory', async (t) => {
  const { ended, move, refuse, registry, use } = setUp()
  use('a')
  t.equal(await refuse(NO_LOCKS, false), 1)
  use('a')
  t.equal(await refuse(NO_MEMORY), 1)
  t.strictSame(await ended(), ['a: 53200', 'a: 53200'])
  await move(1_000)
  t.equal(registry.counters().sentAgain, 0)
})

t.test('a statement in a transaction of its caller is not sent again', async (t) => {
  const { answerAll, driver, ended, move, outcome, registry } = setUp()
  const sent: string[] = []
  driver.onSend = ({ strings }) => sent.push(strings.join('?'))
  const work = registry.use({ tenantId: 'a', generation: 1 }, new AbortController(), (db) =>
    db.transaction((tx) => tx.query(sql`select 1`)),
  )
  outcome('a', work)
  await settle()
  const [connection] = driver.live
  if (connection === undefined) throw new Error('a connection should be open')
  connection.answer()
  await settle()
  connection.refuse(NO_LOCKS, true)
  await answerAll()
  t.strictSame(await ended(), ['a: 53200'])
  await move(1_000)
  t.strictSame(sent, ['begin', 'select 1', 'rollback'])
  t.equal(registry.counters().sentAgain, 0)
})

t.test('a statement is sent again for as long as statements may take', async (t) => {
  const { ended, move, refuse, registry, use } = setUp({ statementTimeoutMs: 349 })
  use('a')
  let tries = 0
  for (let ms = 0; ms < 500; ms += 50) {
    tries += await refuse(NO_LOCKS)
    await move(50)
  }
  t.equal(tries, 3, 'after 0, 50 and 150 ms; the next one would come too late')
  t.strictSame(await ended(), ['a: 53200'])
  t.equal(registry.counters().sentAgain, 2)
})

t.test('so many pause at most as may wait', async (t) => {
  const { answerAll, ended, move, refuse, use } = setUp({ maxWaiting: 1 })
  for (const tenantId of ['a', 'b']) {
    use(tenantId)
    await answerAll()
  }
  t.strictSame(await ended(), ['a: served', 'b: served'])
  use('a')
  use('b')
  t.equal(await refuse(NO_LOCKS), 2)
  t.strictSame(await ended(), ['b: 53200'])
  await move(50)
  await answerAll()
  t.strictSame(await ended(), ['a: served'])
})

t.test('a caller who goes, and a pool that is cut, end a pause', async (t) => {
  const { ended, move, refuse, registry, use } = setUp({ drainTimeoutMs: 30 })
  const caller = use('a')
  t.equal(await refuse(NO_LOCKS), 1)
  caller.abort()
  t.strictSame(await ended(), ['a: CLIENT_CLOSED_REQUEST'])
  use('b')
  t.equal(await refuse(NO_LOCKS), 1)
  void registry.evict('b', 'operator')
  await move(30)
  t.strictSame(await ended(), ['b: CONNECTION_LOST'])
  await move(50)
  t.equal(registry.counters().sentAgain, 0)
})

t.test('a tenant that is cut ends its own pauses, in a pool that tenants share', async (t) => {
  const { answerAll, ended, move, refuse, registry, use } = setUp({ drainTimeoutMs: 30 }, { isShared: true })
  const [a, b] = ['0a000000-0000-4000-8000-00000000000a', '0b000000-0000-4000-8000-00000000000b']
  for (const tenantId of [a, b]) {
    use(tenantId)
    await answerAll()
  }
  await ended()
  use(a)
  use(b)
  while ((await refuse(NO_LOCKS)) > 0);
  void registry.evict(a, 'operator')
  await move(30)
  t.strictSame(await ended(), [`${a}: CONNECTION_LOST`])
  await move(20)
  await answerAll()
  t.strictSame(await ended(), [`${b}: served`])
  t.equal(registry.counters().sentAgain, 1)
})

t.test('a statement whose pool has gone in the pause is not sent again', async (t) => {
  const { driver, ended, move, outcome, refuse, registry } = setUp()
  // Its caller does not wait for it.
  await registry.use({ tenantId: 'a', generation: 1 }, new AbortController(), async (db) => {
    outcome('a', db.query(sql`select 1`))
  })
  t.equal(await refuse(NO_LOCKS), 1)
  await registry.evict('a', 'operator')
  t.equal(driver.live.size, 0)
  await move(50)
  t.strictSame(await ended(), ['a: 53200'])
  t.equal(driver.live.size + driver.openings.size, 0)
})

t.test('a pause ends by the timer, though its connection is lost meanwhile', async (t) => {
  const { answerAll, clock, driver, ended, refuse, registry, use } = setUp({}, { hasTimer: true })
  use('a')
  t.equal(await refuse(NO_LOCKS), 1)
  for (const each of driver.live) each.lose()
  await settle()
  registry.tick()
  clock.time += 50
  // The timer alone keeps no process.
  const opened = new Promise<void>((resolve) => {
    const alive = setInterval(() => {}, 1_000)
    driver.onOpening = () => {
      clearInterval(alive)
      resolve()
    }
  })
  await opened
  await answerAll()
  t.strictSame(await ended(), ['a: served'])
  await registry.close()
})
