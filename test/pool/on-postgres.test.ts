import postgres from 'postgres'
import t from 'tap'
import { systemClock } from '../../src/clock.ts'
import type { PoolLimits } from '../../src/pool/contract.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { type Db, ident, sql } from '../../src/pool/statement.ts'
import { atOnce } from '../support/at-once.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { targetOf } from '../support/target.ts'
import { LIMITS } from './fake-driver.ts'

async function setUp(t: Parameters<typeof testDatabase>[0], changes: Partial<PoolLimits> = {}) {
  const { url } = await testDatabase(t)
  const target = targetOf(url)
  const watcher = postgres(url, { max: 1, onnotice: () => {} })
  const registry = new PoolRegistry({
    limits: { ...LIMITS, ...changes },
    clock: systemClock,
    connect: openConnection,
    locate: async (key) => ({ ...target, parameters: { 'lessor.tenant': key.tenantId } }),
  })
  t.teardown(async () => {
    await registry.destroy(new Error('test over'))
    await watcher.end()
  })
  const key = (tenantId: string) => ({ tenantId, generation: 1 })
  // Not the autovacuum worker that may be in any database.
  const pids = async () => {
    const rows = await watcher<{ pid: number }[]>`
      select pid from pg_stat_activity
      where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()`
    return rows.map(({ pid }) => pid)
  }
  const backends = () => atOnce(pids)
  return { registry, key, backends, watcher }
}

for (const loginSeconds of [0, 0.03]) {
  t.test(
    `churning tenants never have more backends than the budget, with logins of ${loginSeconds} s`,
    async (t) => {
      const { registry, key, backends, watcher } = await setUp(t, {
        maxEntries: 5,
        maxConnections: 3,
        serverMaxConnections: 6,
        acquireTimeoutMs: 60_000,
      })
      // Seen in pg_stat_activity all the while (event triggers on login: PostgreSQL 17 and later).
      await watcher.unsafe(`
    create function slow_login() returns event_trigger language plpgsql as 'begin perform pg_sleep(${loginSeconds}); end';
    create event trigger slow_login on login execute function slow_login();
    alter event trigger slow_login enable always`)
      let isDone = false
      let peak = 0
      const watching = (async () => {
        while (!isDone) peak = Math.max(peak, await backends())
      })()
      const names = Array.from({ length: 20 }, (_, i) => `t${i}`)
      const work = Array.from({ length: 400 }, async (_, i) => {
        const tenant = names[(i * 7) % names.length] ?? 't0'
        const rows = await registry.use(key(tenant), new AbortController(), (db) =>
          db.query<{ tenant: string; i: number }>(
            sql`select current_setting('lessor.tenant') as tenant, ${i}::int as i, pg_sleep(0.002)`,
          ),
        )
        return rows[0]?.tenant === tenant && rows[0].i === i
      })
      const right = (await Promise.all(work)).filter(Boolean).length
      isDone = true
      await watching
      t.equal(right, 400, 'every answer is its own')
      t.ok(peak > 0 && peak <= 6, `at most 6 backends, seen ${peak}`)
      const { evictions, connectionsOpened } = registry.counters()
      t.ok(evictions.capacity > 0)
      t.ok(connectionsOpened > 6)
      await registry.close()
      t.equal(await backends(), 0)
    },
  )
}

t.test('arrays of text and of UUIDs go as parameters and come back as arrays', async (t) => {
  const { registry, key } = await setUp(t)
  const [text, ids] = [['a', 'b,"c\\'], ['11111111-2222-4333-8444-555555555555']]
  sameRows(
    t,
    await registry.use(key('a'), new AbortController(), (db) =>
      db.query(
        sql`select ${text}::text[] as text, ${ids}::uuid[] as ids, 'x' = any(${['x', 'y']}) as "isIn"`,
      ),
    ),
    [{ text, ids, isIn: true }],
  )
})

t.test('a statement that fails after some of its rows leaves the next result as it is', async (t) => {
  const { registry, key } = await setUp(t, { maxConnections: 1 })
  const use = <T>(fn: (db: Db) => Promise<T>) => registry.use(key('a'), new AbortController(), fn)
  const fails = (db: Db) => db.query(sql`select 1 / (5 - i) from generate_series(1, 9) i`)
  const two = (db: Db) => db.query(sql`select i from generate_series(1, 2) i`)
  for (let i = 0; i < 2; i++) {
    await rejectsLike(t, use(fails), { code: '22012' })
    await rejectsLike(t, use(fails), { code: '22012' })
    const rows = await use(two)
    sameRows(t, rows, [{ i: 1 }, { i: 2 }])
    t.equal(rows.length, 2)
  }
  await rejectsLike(t, use(fails), { code: '22012' })
  sameRows(t, await use((db) => db.query(sql`select where false`)), [])
  await rejectsLike(
    t,
    use((db) => db.transaction(async (tx) => fails(tx))),
    { code: '22012' },
  )
  sameRows(t, await use(two), [{ i: 1 }, { i: 2 }])
  const [failed, rows] = await Promise.allSettled([use(fails), use(two)])
  like(t, failed, { status: 'rejected' })
  like(t, rows, { status: 'fulfilled', value: [{ i: 1 }, { i: 2 }] }, 'one that was sent right behind it')
})

const COPY_REFUSED = {
  message: /^COPY to or from the client is not sent as a statement; use SELECT or INSERT/,
}

t.test('COPY is refused before it is sent, and its connection serves on', async (t) => {
  const { registry, key, watcher } = await setUp(t, { maxConnections: 1 })
  await watcher`create table copied (a integer)`
  const use = <T>(fn: (db: Db) => Promise<T>) => registry.use(key('a'), new AbortController(), fn)
  for (const copy of [
    sql`copy (select repeat('x', 10000) from generate_series(1, 1000)) to stdout`,
    sql`copy (select 1) to stdout`,
    sql`copy copied from stdin`,
  ]) {
    await rejectsLike(
      t,
      use((db) => db.query(copy)),
      COPY_REFUSED,
    )
    await rejectsLike(
      t,
      use((db) => db.transaction((tx) => tx.query(copy))),
      COPY_REFUSED,
    )
    t.strictSame([...(await use((db) => db.query(sql`select 1 as one`)))], [{ one: 1 }])
  }
  t.equal(registry.counters().connectionsOpened, 1)
})

t.test(
  'a COPY that its text did not betray costs its connection, and who comes next has another',
  async (t) => {
    const { registry, key, watcher } = await setUp(t, { maxConnections: 1 })
    // Then what follows the backslash is still in the string.
    await watcher.unsafe(`do $$ begin
    execute format('alter database %I set standard_conforming_strings = off', current_database()); end $$`)
    const use = <T>(fn: (db: Db) => Promise<T>) => registry.use(key('a'), new AbortController(), fn)
    const copy = sql`copy (select 'a\\') to ''b''') to stdout`
    await rejectsLike(
      t,
      use((db) => db.query(copy)),
      COPY_REFUSED,
    )
    t.strictSame([...(await use((db) => db.query(sql`select 1 as one`)))], [{ one: 1 }])
    await rejectsLike(
      t,
      use((db) => db.transaction((tx) => tx.query(copy))),
      COPY_REFUSED,
    )
    t.strictSame([...(await use((db) => db.query(sql`select 2 as two`)))], [{ two: 2 }])
    t.equal(registry.counters().connectionsOpened, 3)
  },
)

t.test('a transaction is not ended by a statement in it, nor by one beside it', async (t) => {
  const { registry, key, watcher } = await setUp(t, { maxConnections: 1 })
  await watcher`create table kept (id int primary key)`
  const use = <T>(fn: (db: Db) => Promise<T>) => registry.use(key('a'), new AbortController(), fn)
  const refused = { message: /use db.transaction\(\)/ }
  const ends = [sql`commit`, sql`END`, sql`;rollback`, sql`/* /* */ */ abort`, sql`commit and chain`]
  for (const end of ends) {
    await rejectsLike(
      t,
      use((db) =>
        db.transaction(async (tx) => {
          await tx.query(sql`insert into kept values (1)`)
          await tx.query(end)
        }),
      ),
      refused,
    )
    await rejectsLike(
      t,
      use((db) => db.query(end)),
      refused,
    )
  }
  sameRows(t, [...(await watcher`select id from kept`)], [], 'all of them were rolled back')
  await use((db) =>
    db.transaction(async (tx) => {
      await tx.query(sql`set transaction isolation level serializable`)
      await tx.query(sql`savepoint a`)
      await tx.query(sql`insert into kept values (1)`)
      await tx.query(sql`rollback to savepoint a`)
      await tx.query(sql`insert into kept values (2)`)
      await tx.query(sql`release a`)
    }),
  )
  sameRows(t, [...(await watcher`select id from kept`)], [{ id: 2 }], 'savepoints are for all to use')
  t.equal(registry.counters().connectionsOpened, 1)
})

t.test('a transaction commits, rolls back, and knows a silent rollback', async (t) => {
  const { registry, key, watcher } = await setUp(t)
  await watcher`create table things (id int primary key)`
  const caller = new AbortController()
  await registry.use(key('a'), caller, (db) =>
    db.transaction(async (tx) => {
      await tx.query(sql`insert into ${ident('things')} values (${1})`)
      await rejectsLike(
        t,
        tx.transaction(async (inner) => {
          await inner.query(sql`insert into things values (${2})`)
          await inner.query(sql`insert into things values (${1})`)
        }),
        { code: '23505' },
      )
      await tx.query(sql`insert into things values (${3})`)
    }),
  )
  await rejectsLike(
    t,
    registry.use(key('a'), caller, (db) =>
      db.transaction(async (tx) => {
        await tx.query(sql`insert into things values (${4})`)
        throw new Error('no')
      }),
    ),
    { message: 'no' },
  )
  await t.rejects(
    registry.use(key('a'), caller, (db) =>
      db.transaction(async (tx) => {
        await tx.query(sql`insert into things values (${5})`)
        await tx.query(sql`select 1 / 0`).catch(() => {})
      }),
    ),
    /rolled back/,
  )
  const rows = await watcher<{ id: number }[]>`select id from things order by id`
  t.strictSame(
    rows.map(({ id }) => id),
    [1, 3],
  )
  t.equal(registry.snapshot('a')?.connections.idle, 1, 'the connection is clean and kept')
})

t.test('a cancel request that comes before the server has read the statement is sent again', async (t) => {
  const { registry, key } = await setUp(t)
  const caller = new AbortController()
  const [row] = await registry.use(key('a'), caller, (db) =>
    db.query<{ pid: number }>(sql`select pg_backend_pid() as pid`),
  )
  const pid = Number(row?.pid)
  process.kill(pid, 'SIGSTOP')
  try {
    const gone = rejectsLike(
      t,
      registry.use(key('a'), caller, (db) => db.query(sql`select pg_sleep(300)`)),
      { code: 'CLIENT_CLOSED_REQUEST' },
    )
    await new Promise((resolve) => setTimeout(resolve, 150))
    caller.abort()
    while (registry.counters().cancelled === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    // The signal waits for the backend, which has read nothing yet.
    await new Promise((resolve) => setTimeout(resolve, 100))
    process.kill(pid, 'SIGCONT')
    await gone
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  const [next] = await registry.use(key('a'), new AbortController(), (db) =>
    db.query<{ pid: number }>(sql`select pg_backend_pid() as pid`),
  )
  t.equal(Number(next?.pid), pid, 'the connection is kept')
})

t.test('a caller who goes away stops his statement at the server', async (t) => {
  const { registry, key, watcher } = await setUp(t)
  const caller = new AbortController()
  const gone = rejectsLike(
    t,
    registry.use(key('a'), caller, (db) => db.query(sql`select pg_sleep(300)`)),
    { code: 'CLIENT_CLOSED_REQUEST' },
  )
  const sleeping = async () =>
    (
      await watcher`select 1 from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()`
    ).length
  while ((await sleeping()) === 0);
  caller.abort()
  await gone
  t.equal(await sleeping(), 0)
  const [row] = await registry.use(key('a'), new AbortController(), (db) => db.query(sql`select 1 as one`))
  t.strictSame(row, { one: 1 })
})

t.test('a statement_timeout of the session answers STATEMENT_TIMEOUT', async (t) => {
  const { registry, key } = await setUp(t)
  await rejectsLike(
    t,
    registry.use(key('a'), new AbortController(), (db) =>
      db.transaction(async (tx) => {
        await tx.query(sql`set local statement_timeout = 10`)
        await tx.query(sql`select pg_sleep(300)`)
      }),
    ),
    { code: 'STATEMENT_TIMEOUT' },
  )
})

t.test('a backend that the server ends fails only what ran on it', async (t) => {
  const { registry, key, watcher } = await setUp(t)
  const cut = rejectsLike(
    t,
    registry.use(key('a'), new AbortController(), (db) => db.query(sql`select pg_sleep(300)`)),
    { code: 'CONNECTION_LOST' },
  )
  const kill = () => watcher`
    select pg_terminate_backend(pid) from pg_stat_activity
    where wait_event = 'PgSleep' and datname = current_database()`
  while ((await kill()).length === 0);
  await cut
  const [row] = await registry.use(key('a'), new AbortController(), (db) => db.query(sql`select 1 as one`))
  t.strictSame(row, { one: 1 })
})

t.test('the server refuses a statement, and its error reaches the caller as it is', async (t) => {
  const { registry, key } = await setUp(t)
  await rejectsLike(
    t,
    registry.use(key('a'), new AbortController(), (db) => db.query(sql`select 1 / ${0}::int`)),
    { code: '22012' },
  )
  t.equal(registry.snapshot('a')?.connections.idle, 1)
})
