import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import t from 'tap'
import { systemClock } from '../../src/clock.ts'
import type { PoolLimits } from '../../src/pool/contract.ts'
import { beginBound } from '../../src/pool/driver/commands.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { SESSION_RESET } from '../../src/pool/session-reset.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { targetOf } from '../support/target.ts'
import { LIMITS } from './fake-driver.ts'

const A = randomUUID()
const B = randomUUID()

/** A table behind row level security by `rls.tenant_id`, and a login that all tenants share. */
async function setUp(t: Parameters<typeof testDatabase>[0], changes: Partial<PoolLimits> = {}) {
  const { url } = await testDatabase(t)
  const watcher = postgres(url, { max: 2, onnotice: () => {} })
  const user = `row_${randomUUID().slice(0, 8)}`
  const password = randomUUID()
  await watcher.unsafe(`
    create role ${user} login password '${password}';
    grant connect on database ${new URL(url).pathname.slice(1)} to ${user};
    create schema shared;
    create table shared.notes (
      tenant_id uuid not null default current_setting('rls.tenant_id')::uuid,
      id integer not null,
      text text not null,
      twin integer,
      primary key (tenant_id, id),
      foreign key (tenant_id, twin) references shared.notes deferrable initially deferred);
    alter table shared.notes enable row level security, force row level security;
    create policy by_setting on shared.notes
      using (tenant_id = current_setting('rls.tenant_id')::uuid)
      with check (tenant_id = current_setting('rls.tenant_id')::uuid);
    grant usage on schema shared to ${user};
    grant select, insert, update, delete on shared.notes to ${user}`)
  const target = targetOf(url, {
    user,
    password: new Secret(password),
    parameters: { search_path: 'shared' },
    isShared: true,
  })
  const registry = new PoolRegistry({
    limits: { ...LIMITS, sharedMaxConnections: 1, ...changes },
    clock: systemClock,
    connect: openConnection,
    locate: async () => target,
  })
  t.teardown(async () => {
    await registry.destroy(new Error('test over'))
    await watcher.unsafe(`drop owned by ${user}; drop role ${user}`)
    await watcher.end()
  })
  const use = <T>(tenantId: string, fn: (db: Db) => Promise<T>, caller = new AbortController()) =>
    registry.use({ tenantId, generation: 1 }, caller, fn)
  const add = (tenantId: string, id: number) =>
    use(tenantId, (db) => db.query(sql`insert into notes (id, text) values (${id}, ${`of ${tenantId}`})`))
  const read = (tenantId: string) =>
    use(tenantId, (db) => db.query<{ id: number; text: string }>(sql`select id, text from notes order by id`))
  return { registry, use, add, read, watcher, target }
}

t.test('tenants on one connection read and write their own rows, all at once', async (t) => {
  const { add, read, registry } = await setUp(t)
  const tenants = Array.from({ length: 8 }, () => randomUUID())
  await Promise.all(
    tenants.flatMap((tenantId) => [1, 2, 3].map((id) => add(tenantId, id).then(() => read(tenantId)))),
  )
  const found = await Promise.all(tenants.map(read))
  for (const [i, rows] of found.entries()) {
    t.strictSame(
      rows.map(({ id, text }) => [id, text]),
      [1, 2, 3].map((id) => [id, `of ${tenants[i]}`]),
    )
  }
  t.equal(registry.counters().connectionsOpened, 1)
})

t.test('a statement that fails is rolled back and hurts no neighbour', async (t) => {
  const { use, add, read } = await setUp(t)
  await add(A, 1)
  const outcomes = await Promise.allSettled([
    add(B, 1),
    add(A, 1),
    add(B, 2),
    use(A, (db) => db.query(sql`select 1 / 0`)),
    add(A, 2),
  ])
  t.strictSame(
    outcomes.map((each) => (each.status === 'fulfilled' ? 'ok' : (each.reason as { code?: string }).code)),
    ['ok', '23505', 'ok', '22012', 'ok'],
  )
  t.strictSame(
    (await read(A)).map(({ id }) => id),
    [1, 2],
  )
  t.strictSame(
    (await read(B)).map(({ id }) => id),
    [1, 2],
  )
})

t.test("a statement that fails after some of its rows leaves a neighbour's result as it is", async (t) => {
  const { use, add, read } = await setUp(t)
  await add(B, 1)
  const fails = () => use(A, (db) => db.query(sql`select 1 / (5 - i) from generate_series(1, 9) i`))
  await rejectsLike(t, fails(), { code: '22012' })
  sameRows(t, await read(B), [{ id: 1, text: `of ${B}` }])
  const [failed, found] = await Promise.allSettled([fails(), read(B)])
  like(t, failed, { status: 'rejected' })
  like(t, found, { status: 'fulfilled', value: [{ id: 1, text: `of ${B}` }] }, 'one sent right behind it')
  await rejectsLike(
    t,
    use(A, (db) => db.transaction((tx) => tx.query(sql`select 1 / (5 - i) from generate_series(1, 9) i`))),
    { code: '22012' },
  )
  sameRows(t, await read(B), [{ id: 1, text: `of ${B}` }])
})

t.test('COPY and the end of a transaction are refused before they are sent', async (t) => {
  const { use, add, read, registry } = await setUp(t)
  await add(A, 1)
  const copy = { message: /^COPY to or from the client is not sent as a statement/ }
  const end = { message: /use db.transaction\(\)/ }
  for (const [statement, refused] of [
    [sql`copy (select id from notes) to stdout`, copy],
    [sql`copy (select 1) to stdout`, copy],
    [sql`commit`, end],
    [
      sql`-- a
      Rollback`,
      end,
    ],
    [sql`begin`, end],
  ] as const) {
    await rejectsLike(
      t,
      use(A, (db) => db.query(statement)),
      refused,
    )
    await rejectsLike(
      t,
      use(A, (db) =>
        db.transaction(async (tx) => {
          await tx.query(sql`insert into notes (id, text) values (2, 'x')`)
          await tx.query(statement)
        }),
      ),
      refused,
    )
    t.strictSame([...(await read(B))], [])
    t.equal((await read(A)).length, 1)
  }
  t.equal(registry.counters().connectionsOpened, 1)
})

t.test('what the commit refuses is an error of the statement, and is not there', async (t) => {
  const { use, read } = await setUp(t)
  await rejectsLike(
    t,
    use(A, (db) => db.query(sql`insert into notes (id, text, twin) values (1, 'x', 2)`)),
    { code: '23503' },
  )
  t.strictSame([...(await read(A))], [])
})

t.test(
  'a statement that the driver has to describe first keeps its place between BEGIN and COMMIT',
  async (t) => {
    const { use } = await setUp(t)
    const ask = (tenantId: string, n: number) =>
      use(tenantId, (db) =>
        db.query<{ tenant: string; n: number }>(
          // An unknown type has to be asked of the server.
          n === 1
            ? sql`select current_setting('rls.tenant_id') as tenant, coalesce(${null}, 1) as n, ${n}::int as m`
            : sql`select current_setting('rls.tenant_id') as tenant, coalesce(${null}, 2) as n, ${'x'} as m`,
        ),
      )
    const rows = await Promise.all([ask(A, 1), ask(B, 2), ask(A, 2), ask(B, 1)])
    t.strictSame(
      rows.map(([row]) => [row?.tenant, row?.n]),
      [
        [A, 1],
        [B, 2],
        [A, 2],
        [B, 1],
      ],
    )
  },
)

t.test('a transaction is the tenant that began it, to its end, and after a savepoint', async (t) => {
  const { use, read } = await setUp(t)
  await use(A, (db) =>
    db.transaction(async (tx) => {
      await tx.query(sql`insert into notes (id, text) values (1, 'a')`)
      await rejectsLike(
        t,
        tx.transaction((inner) => inner.query(sql`insert into notes (id, text) values (1, 'again')`)),
        { code: '23505' },
      )
      await tx.query(sql`insert into notes (id, text) values (2, 'b')`)
    }),
  )
  t.strictSame(
    (await read(A)).map(({ id }) => id),
    [1, 2],
  )
  await rejectsLike(
    t,
    use(A, (db) =>
      db.transaction(async (tx) => {
        await tx.query(sql`delete from notes`)
        throw new Error('changed my mind')
      }),
    ),
    { message: 'changed my mind' },
  )
  t.equal((await read(A)).length, 2)
  t.strictSame([...(await read(B))], [])
})

t.test('a caller who goes away has his statement cancelled, and the next tenant is served', async (t) => {
  const { use, read, add, watcher, target } = await setUp(t)
  await add(B, 1)
  const caller = new AbortController()
  const slept = rejectsLike(
    t,
    use(A, (db) => db.query(sql`select pg_sleep(60), count(*) from notes`), caller),
    { code: 'CLIENT_CLOSED_REQUEST' },
  )
  const isAsleep = async () =>
    (
      await watcher`select from pg_stat_activity where usename = ${target.user} and query like '%pg_sleep%'
      and state = 'active'`
    ).length > 0
  while (!(await isAsleep())) await new Promise((resolve) => setTimeout(resolve, 10))
  caller.abort()
  await slept
  t.strictSame(
    (await read(B)).map(({ id }) => id),
    [1],
  )
  t.strictSame([...(await read(A))], [])
})

t.test('without a binding the shared login sees nothing and says so', async (t) => {
  const { add, target } = await setUp(t)
  await add(A, 1)
  const connection = await openConnection(target, new AbortController().signal)
  t.teardown(() => connection.close())
  const count = sql`select count(*) from notes`
  await rejectsLike(t, connection.run(count).result, { code: '42704' }, 'never set')
  t.strictSame([...(await connection.run(count, A).result)], [{ count: '1' }])
  await rejectsLike(t, connection.run(count).result, { code: '22P02' }, 'set before, and empty since')
  t.strictSame([...(await connection.run(count, B).result)], [{ count: '0' }])
  await rejectsLike(
    t,
    connection.run(sql`insert into notes (tenant_id, id, text) values (${A}, 2, 'x')`, B).result,
    { code: '42501' },
  )
})

t.test('what a statement set for its session does not reach the next tenant', async (t) => {
  const { use, registry } = await setUp(t)
  const settings = (tenantId: string) =>
    use(tenantId, (db) =>
      db.query<{ tenant: string; timeout: string }>(
        sql`select current_setting('rls.tenant_id') as tenant, current_setting('lock_timeout') as timeout`,
      ),
    )
  await use(A, (db) => db.query(sql`set lock_timeout = '7s'`))
  t.strictSame([...(await settings(B))], [{ tenant: B, timeout: '0' }])
  t.equal(registry.counters().connectionsOpened, 2, 'that connection serves nobody any more')
  // A function leaves no trace in the command tag; the binding holds all the same.
  await use(A, (db) => db.query(sql`select set_config('rls.tenant_id', ${A}, false)`))
  like(t, await settings(B), [{ tenant: B }])
})

t.test('a table that changes under a prepared statement changes no binding', async (t) => {
  const { use, add, read, watcher, registry } = await setUp(t)
  await add(A, 1)
  await add(B, 2)
  const all = (tenantId: string) => use(tenantId, (db) => db.query<{ id: number }>(sql`select * from notes`))
  await Promise.all([all(A), all(B)])
  for (const column of ['one', 'two', 'three']) {
    await watcher.unsafe(`alter table shared.notes add column ${column} integer`)
    const found = await Promise.all([all(A), all(B), read(A), all(A), all(B)])
    t.strictSame(
      found.map((rows) => rows.map(({ id }) => id)),
      [[1], [2], [1], [1], [2]],
    )
    t.ok(found.every((rows, i) => i === 2 || column in (rows[0] ?? {})))
  }
  t.equal(registry.counters().connectionsOpened, 1)
})

t.test('only a canonical UUID is ever put into the text', async (t) => {
  t.equal(beginBound(A).text, `begin; ${SESSION_RESET}; set local rls.tenant_id = '${A}'`)
  for (const wrong of ['', A.toUpperCase(), A.replaceAll('-', ''), `${A}'`, `{${A}}`, `${A}\n`]) {
    t.throws(() => beginBound(wrong), TypeError)
  }
})
