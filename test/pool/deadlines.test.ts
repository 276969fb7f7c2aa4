import t from 'tap'
import { isLessorError, LessorError } from '../../src/errors.ts'
import type { ConnectionTarget } from '../../src/pool/contract.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { FakeClock, type FakeConnection, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

/** The statement timeout of the engine's limits, with what it adds before it acts. */
const LATE_MS = LIMITS.statementTimeoutMs + 500
/** How long the server may take to obey. */
const OBEY_MS = 5_000

const TENANTS = Array.from({ length: 16 }, (_, i) => `0a000000-0000-4000-8000-0000000000${10 + i}`)

/** A server with one connection: a tenant's own, or the one that the tenants of `row` share. */
const PLACEMENTS: Readonly<Record<'role' | 'row', (tenantId: string) => ConnectionTarget>> = {
  role: (tenantId) => target(tenantId),
  row: () => ({ ...target('row'), isShared: true }),
}

function setUp(placement: keyof typeof PLACEMENTS) {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const registry = new PoolRegistry({
    limits: {
      ...LIMITS,
      maxEntries: 20,
      maxConnections: 1,
      sharedMaxConnections: 1,
      acquireTimeoutMs: 60_000,
    },
    clock,
    hasTimer: false,
    connect: driver.connect,
    locate: async ({ tenantId }) => PLACEMENTS[placement](tenantId),
  })
  /** In `row` each statement is of another tenant. */
  const tenant = (n: number) => TENANTS[placement === 'row' ? n : 0] ?? ''
  const use = <T>(n: number, fn: (db: Db) => Promise<T>, caller = new AbortController()) =>
    registry.use({ tenantId: tenant(n), generation: 1 }, caller, fn)
  const ask = (n: number, caller = new AbortController()) =>
    use(n, (db) => db.query<{ value: number }>(sql`select ${n}`), caller).then(([row]) => row?.value)
  /** What has come of each, so far: its value, or the code of its error. */
  const watch = (work: readonly Promise<unknown>[]) => {
    const outcomes: unknown[] = work.map(() => 'pending')
    for (const [i, each] of work.entries()) {
      each.then(
        (value) => {
          outcomes[i] = value
        },
        (error: unknown) => {
          outcomes[i] = isLessorError(error) ? error.code : error
        },
      )
    }
    return outcomes
  }
  const move = async (ms: number) => {
    clock.time += ms
    registry.tick()
    await settle()
  }
  /** Everybody has an entry; statements can then share a connection from the start. */
  const warm = async (count: number) => {
    for (let n = 0; n < count; n++) {
      const asked = ask(n)
      await settle()
      only(driver).answer()
      await asked
    }
  }
  return { driver, registry, use, ask, watch, move, warm }
}

function only(driver: FakeDriver): FakeConnection {
  const [connection, ...others] = driver.live
  if (connection === undefined || others.length > 0) throw new Error(`${driver.live.size} connections`)
  return connection
}

/** What is on a silent connection ends like that: the first one's time was up, the others' was not. */
function ends(count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => (i === 0 ? 'STATEMENT_TIMEOUT' : 'CONNECTION_LOST'))
}

for (const placement of ['role', 'row'] as const) {
  for (const count of [1, 2, 3, 16]) {
    t.test(`${placement}: ${count} statements on a silent connection end in time`, async (t) => {
      const { driver, ask, watch, move, warm } = setUp(placement)
      await warm(count)
      const outcomes = watch(Array.from({ length: count }, (_, n) => ask(n)))
      await settle()
      const connection = only(driver)
      t.equal(connection.flights.length, count)
      connection.obeys = false
      await move(LATE_MS - 1)
      t.equal(connection.cancels, 0)
      await move(1)
      t.equal(connection.cancels, 1)
      for (let ms = 0; ms < OBEY_MS - 1; ms += 500) await move(ms === 0 ? 499 : 500)
      t.strictSame(outcomes, Array(count).fill('pending'))
      await move(1)
      t.strictSame(outcomes, ends(count))
      t.equal(connection.state, 'gone')
      const next = ask(0)
      await settle()
      only(driver).answer()
      t.equal(await next, 0, 'who comes next has another connection')
    })
  }

  t.test(`${placement}: a connection that falls silent after an answer ends what is left`, async (t) => {
    const { driver, ask, watch, move, warm } = setUp(placement)
    await warm(3)
    const outcomes = watch([ask(0), ask(1), ask(2)])
    await settle()
    const connection = only(driver)
    connection.obeys = false
    await move(10_000)
    connection.answer()
    await settle()
    await move(LATE_MS - 1)
    t.strictSame(
      [outcomes, connection.cancels],
      [[0, 'pending', 'pending'], 0],
      'time counts from the answer',
    )
    await move(1)
    t.equal(connection.cancels, 1)
    await move(OBEY_MS)
    t.strictSame(outcomes, [0, ...ends(2)])
    t.equal(connection.state, 'gone')
  })

  t.test(`${placement}: a late statement that obeys its cancel request hurts none behind it`, async (t) => {
    const { driver, ask, watch, move, warm } = setUp(placement)
    await warm(3)
    const outcomes = watch([ask(0), ask(1), ask(2)])
    await settle()
    const connection = only(driver)
    await move(LATE_MS)
    t.strictSame([outcomes, connection.cancels], [['STATEMENT_TIMEOUT', 'pending', 'pending'], 1])
    await move(LATE_MS - 1)
    t.equal(connection.cancels, 1, 'the next one has its own time')
    connection.answer()
    connection.answer()
    await settle()
    t.strictSame(outcomes, ['STATEMENT_TIMEOUT', 1, 2])
    t.equal(connection.state, 'open')
  })

  t.test(`${placement}: a caller who has gone holds up none behind him on a silent connection`, async (t) => {
    const { driver, ask, watch, move, warm } = setUp(placement)
    await warm(2)
    const caller = new AbortController()
    const outcomes = watch([ask(0, caller), ask(1)])
    await settle()
    const connection = only(driver)
    connection.obeys = false
    await move(150)
    caller.abort()
    await move(LATE_MS - 151)
    t.equal(connection.cancels, 0, 'a neighbour could be hit')
    await move(1)
    await move(OBEY_MS)
    t.strictSame(outcomes, ['CLIENT_CLOSED_REQUEST', 'CONNECTION_LOST'])
  })

  t.test(
    `${placement}: a cancel request that is never taken does not keep a connection for good`,
    async (t) => {
      const { driver, ask, watch, move, warm } = setUp(placement)
      await warm(1)
      const caller = new AbortController()
      const outcomes = watch([ask(0, caller)])
      await settle()
      const connection = only(driver)
      connection.cancelsHeld = new Promise(() => {})
      await move(150)
      caller.abort()
      await move(50)
      t.equal(connection.cancels, 1)
      connection.answer()
      await settle()
      const next = ask(0)
      await move(OBEY_MS - 1)
      t.equal(connection.state, 'open')
      t.strictSame([outcomes, connection.flights.length], [[0], 0], 'nothing goes onto it')
      await move(1)
      t.equal(connection.state, 'gone')
      await settle()
      only(driver).answer()
      t.equal(await next, 0)
    },
  )

  const steps: Readonly<Record<string, (tx: Db) => Promise<unknown>>> = {
    begin: async () => {},
    'its first statement': (tx) => tx.query(sql`select 1`),
    'two statements at once': (tx) => Promise.all([tx.query(sql`select 1`), tx.query(sql`select 2`)]),
    commit: (tx) => tx.query(sql`select 1`),
    rollback: async (tx) => {
      await tx.query(sql`select 1`)
      throw new Error('changed my mind')
    },
  }
  for (const [name, fn] of Object.entries(steps)) {
    t.test(`${placement}: a transaction on a connection that is silent from ${name} on ends`, async (t) => {
      const { driver, use, ask, watch, move, warm } = setUp(placement)
      await warm(1)
      const outcomes = watch([use(0, (db) => db.transaction(fn))])
      await settle()
      const connection = only(driver)
      connection.obeys = false
      const answers = { begin: 0, commit: 2, rollback: 2 }[name] ?? 1
      for (let i = 0; i < answers; i++) {
        connection.answer()
        await settle()
      }
      t.ok(connection.flights.length > 0)
      await move(LATE_MS)
      t.equal(connection.cancels, 1)
      await move(OBEY_MS - 1)
      t.strictSame(outcomes, ['pending'])
      await move(1)
      t.strictSame(outcomes.map(String), [
        name === 'rollback' ? 'Error: changed my mind' : 'STATEMENT_TIMEOUT',
      ])
      t.equal(connection.state, 'gone')
      const next = ask(0)
      await settle()
      only(driver).answer()
      t.equal(await next, 0)
    })
  }
}

t.test('a statement whose answer is refused already is cancelled, and told why', async (t) => {
  const { ask, driver, move, watch, registry } = setUp('role')
  const [outcome] = [watch([ask(0)])]
  await settle()
  const connection = only(driver)
  connection.refusal = new LessorError('RESULT_TOO_LARGE')
  await move(99)
  t.equal(connection.cancels, 0, 'it is not looked at yet')
  await move(1)
  t.equal(connection.cancels, 1)
  t.strictSame(outcome, ['RESULT_TOO_LARGE'])
  connection.refusal = undefined
  await registry.close()
})
