import t, { type Test } from 'tap'
import type { ConnectionTarget, PoolLimits } from '../../src/pool/contract.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { type Db, type Statement, sql } from '../../src/pool/statement.ts'
import { FakeClock, type FakeConnection, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

const A = '0a000000-0000-4000-8000-00000000000a'
const B = '0b000000-0000-4000-8000-00000000000b'
/** Older than this, a connection that takes no writes is given up. */
const OLD_MS = 5_000
const INSERT = sql`insert into app.notes values (1)`

function world(t: Test, of: Partial<ConnectionTarget> = {}, changes: Partial<PoolLimits> = {}) {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const registry = new PoolRegistry({
    limits: { ...LIMITS, ...changes },
    clock,
    hasTimer: false,
    connect: driver.connect,
    locate: async ({ tenantId }) => ({ ...target(of.isShared ? 'row' : tenantId), ...of }),
  })
  const use = <T>(tenantId: string, fn: (db: Db) => Promise<T>) =>
    registry.use({ tenantId, generation: 1 }, new AbortController(), fn)
  const send = (tenantId: string, statement: Statement) => use(tenantId, (db) => db.query(statement))
  t.teardown(async () => {
    const closed = registry.close()
    for (let i = 0; i < 20; i++) {
      for (const connection of [...driver.live]) connection.answer()
      await settle()
    }
    await closed
  })
  return { clock, driver, registry, use, send }
}

/** only is the one connection that is open. */
function only({ live }: FakeDriver): FakeConnection {
  const [connection, ...others] = live
  if (connection === undefined || others.length > 0) throw new Error(`${live.size} connections are open`)
  return connection
}

function refuse(connection: FakeConnection, code = '25006'): void {
  const error = Object.assign(new Error('cannot execute INSERT in a read-only transaction'), { code })
  connection.flights.shift()?.reject(error)
}

/** outcome is the code of what a promise is rejected with, `ok`, or `pending`. */
function outcomeOf(promise: Promise<unknown>): () => string {
  let outcome = 'pending'
  promise.then(
    () => {
      outcome = 'ok'
    },
    (error: { code?: string; retryAfterSeconds?: number }) => {
      outcome = [error.code, error.retryAfterSeconds].join(' ')
    },
  )
  return () => outcome
}

for (const isShared of [false, true]) {
  const of = isShared ? 'that tenants share' : "of a tenant's own"

  t.test(`a connection ${of} that turned read only is given up, and its caller gets 503`, async (t) => {
    const { clock, driver, send, registry } = world(t, { isShared })
    const first = outcomeOf(send(A, sql`select 1`))
    await settle()
    const turned = only(driver)
    turned.answer()
    await settle()
    t.equal(first(), 'ok')
    clock.time += OLD_MS

    const write = outcomeOf(send(A, INSERT))
    await settle()
    refuse(turned)
    await settle()
    t.equal(write(), 'DATABASE_READ_ONLY 1')
    t.equal(turned.state, 'gone')
    const again = outcomeOf(send(A, INSERT))
    await settle()
    t.not(only(driver), turned, 'the next one goes onto a connection that was looked for again')
    only(driver).answer()
    await settle()
    t.equal(again(), 'ok')
    t.strictSame(registry.counters().breakers.opened, { tenant: 0, server: 0 })
  })
}

t.test('what else is on such a connection ends, and nothing new goes onto it', async (t) => {
  const { clock, driver, send } = world(t, { isShared: true }, { sharedMaxConnections: 1 })
  const first = outcomeOf(send(A, sql`select 1`))
  await settle()
  const turned = only(driver)
  turned.answer()
  await settle()
  clock.time += OLD_MS
  const write = outcomeOf(send(A, INSERT))
  const read = outcomeOf(send(B, sql`select 2`))
  await settle()
  t.equal(turned.flights.length, 2)
  refuse(turned)
  await settle()
  const next = outcomeOf(send(B, sql`select 3`))
  await settle()
  t.strictSame([first(), write(), read(), next()], ['ok', 'DATABASE_READ_ONLY 1', 'pending', 'pending'])
  t.equal(turned.flights.length, 1)
  turned.answer()
  await settle()
  t.strictSame([read(), turned.state], ['ok', 'gone'])
  only(driver).answer()
  await settle()
  t.equal(next(), 'ok')
})

t.test('a young one is given up when it is old enough, so that each statement opens none', async (t) => {
  const { clock, driver, registry, send } = world(t)
  for (let i = 0; i < 5; i++) {
    const write = outcomeOf(send(A, INSERT))
    await settle()
    refuse(only(driver))
    await settle()
    t.equal(write(), 'DATABASE_READ_ONLY 1')
    registry.tick()
  }
  t.equal(registry.counters().connectionsOpened, 1)
  const turned = only(driver)
  clock.time += OLD_MS - 1
  registry.tick()
  await settle()
  t.equal(turned.state, 'open')
  clock.time += 1
  registry.tick()
  await settle()
  t.equal(turned.state, 'gone')
})

t.test('a transaction that fails so is rolled back, and its connection is given up', async (t) => {
  const { clock, driver, use } = world(t)
  const result = outcomeOf(
    use(A, (db) =>
      db.transaction(async (tx) => {
        await tx.query(sql`select 1`)
        return tx.query(INSERT)
      }),
    ),
  )
  await settle()
  const turned = only(driver)
  clock.time += OLD_MS
  for (let i = 0; i < 2; i++) {
    turned.answer()
    await settle()
  }
  refuse(turned)
  await settle()
  t.equal(turned.flights[0]?.statement.strings[0], 'rollback')
  turned.answer()
  await settle()
  t.strictSame([result(), turned.state], ['DATABASE_READ_ONLY 1', 'gone'])
})

t.test('a transaction that made itself read only is told so, and its connection stays', async (t) => {
  const { clock, driver, use, registry } = world(t)
  const transact = (first: Statement) =>
    use(A, (db) =>
      db.transaction(async (tx) => {
        await tx.query(first)
        return tx.query(INSERT)
      }),
    )
  const result = outcomeOf(transact(sql`set transaction read only`))
  await settle()
  const connection = only(driver)
  clock.time += OLD_MS
  for (let i = 0; i < 2; i++) {
    connection.answer()
    await settle()
  }
  refuse(connection)
  await settle()
  connection.answer()
  await settle()
  t.equal(result(), '25006 ')
  registry.tick()
  await settle()
  t.equal(connection.state, 'open')

  const next = outcomeOf(transact(sql`select 1`))
  await settle()
  for (let i = 0; i < 2; i++) {
    connection.answer()
    await settle()
  }
  refuse(connection)
  await settle()
  connection.answer()
  await settle()
  t.strictSame([next(), connection.state], ['DATABASE_READ_ONLY 1', 'gone'], 'which is forgotten with it')
})

t.test(
  'a connection that the server reports as read only is given up, also when it is only read from',
  async (t) => {
    const { clock, driver, registry, send } = world(t)
    const ask = async () => {
      const read = outcomeOf(send(A, sql`select 1`))
      await settle()
      const connection = only(driver)
      connection.answer()
      await settle()
      t.equal(read(), 'ok')
      return connection
    }
    const turned = await ask()
    clock.time += OLD_MS
    t.equal(await ask(), turned)
    t.equal(turned.state, 'open')
    turned.standing = 'read-only'
    await ask()
    t.equal(turned.state, 'gone', 'at the end of the statement with which it was reported')

    driver.standing = 'read-only'
    const opened = await ask()
    t.equal(await ask(), opened, 'one that was opened so is used for a while')
    clock.time += OLD_MS
    registry.tick()
    await settle()
    t.equal(opened.state, 'gone')
    t.equal(registry.counters().connectionsOpened, 2)
  },
)
