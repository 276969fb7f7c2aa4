import { randomUUID } from 'node:crypto'
import type { TransactionSql } from 'postgres'
import t, { type Test } from 'tap'
import { errorCode } from '../../src/pool/driver-errors.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { type Db, type Statement, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { targetOf } from '../support/target.ts'
import { withAdmin } from '../support/template.ts'
import { LIMITS, settle } from './fake-driver.ts'

const { url } = await testDatabase(t)
const role = `reset_${randomUUID().slice(0, 8)}`
t.teardown(() => withAdmin(url, (admin) => admin.unsafe(`drop owned by ${role}; drop role ${role}`)))
// What an application's own functions may do, and what no command tag tells of.
await withAdmin(url, (admin) =>
  admin.unsafe(`
    create role ${role};
    create schema other;
    create function other.lower(text) returns text language sql as $$ select 'the other function of ' || $1 $$;
    create sequence counter start 4711;
    create table written (id integer);
    create table sizes (size numeric);
    insert into sizes values (1.5);
    create function public.keep_settings() returns void language plpgsql as $$ begin
      perform set_config('search_path', 'other, pg_catalog', false);
      perform set_config('TimeZone', 'Asia/Tokyo', false);
      perform set_config('DateStyle', 'German', false);
      perform set_config('statement_timeout', '123456', false);
      perform set_config('app.secret', 'secret of A', false);
      perform set_config('rls.tenant_id', 'secret of A', false);
    end $$;
    create function public.keep_role() returns void language plpgsql as $$ begin
      set role ${role};
    end $$;
    create function public.keep_cursor() returns void language plpgsql as $$ begin
      execute 'declare report cursor with hold for select ''secret of A'' as text';
    end $$;
    create function public.keep_subscription() returns void language plpgsql as $$ begin
      execute 'listen secrets';
    end $$;
    create function public.keep_table() returns void language plpgsql as $$ begin
      create temporary table if not exists report (text text);
      insert into report values ('secret of A');
    end $$;
    create function public.keep_prepared() returns void language plpgsql as $$ begin
      execute 'prepare report as select ''left by A'' as text';
    end $$`),
)

/** What a tenant leaves, and what another one that comes to the same connection is answered. */
interface Trace {
  readonly leave: Statement
  readonly look: Statement
  readonly sees: unknown
}

const SETTINGS = sql`
  select pg_catalog.lower('A'), pg_catalog.current_setting('search_path') as path,
    pg_catalog.current_setting('TimeZone') as zone, pg_catalog.current_setting('DateStyle') as style,
    pg_catalog.current_setting('statement_timeout') as timeout, pg_catalog.current_setting('app.secret', true) as secret`

const TRACES: Readonly<Record<string, Trace>> = {
  'settings that a function has set': {
    leave: sql`select public.keep_settings()`,
    look: SETTINGS,
    sees: [
      { lower: 'a', path: 'pg_catalog, public', zone: 'UTC', style: 'ISO, MDY', timeout: '0', secret: '' },
    ],
  },
  'the role that a function has taken': {
    leave: sql`select public.keep_role()`,
    look: sql`select current_user = session_user as "isOwn"`,
    sees: [{ isOwn: true }],
  },
  'a cursor that a function holds': {
    leave: sql`select public.keep_cursor()`,
    look: sql`fetch all from report`,
    sees: '34000',
  },
  'a temporary table of a function': {
    leave: sql`select public.keep_table()`,
    look: sql`select text from pg_temp.report`,
    sees: '42P01',
  },
  'a temporary table by CREATE TABLE AS': {
    leave: sql`create temporary table report as select 'secret of A' as text`,
    look: sql`select text from pg_temp.report`,
    sees: '42P01',
  },
  'a temporary table by SELECT INTO': {
    leave: sql`select 'secret of A' as text into temporary report`,
    look: sql`select text from pg_temp.report`,
    sees: '42P01',
  },
  'the last value of a sequence': {
    leave: sql`select nextval('public.counter')`,
    look: sql`select lastval()`,
    sees: '55000',
  },
}

/** Tenants of `row` on one connection. */
async function open(t: Test, parameters: Readonly<Record<string, string>> = {}) {
  const target = targetOf(url, {
    isShared: true,
    parameters: { search_path: 'pg_catalog, public', DateStyle: 'ISO', ...parameters },
  })
  let stopped: number | undefined
  const registry = new PoolRegistry({
    limits: { ...LIMITS, sharedMaxConnections: 1 },
    clock: { now: () => stopped ?? Date.now() },
    connect: openConnection,
    locate: async () => target,
  })
  t.teardown(() => registry.destroy(new Error('test over')))
  const tenant = () => {
    const tenantId = randomUUID()
    return <T>(fn: (db: Db) => Promise<T>) =>
      registry.use({ tenantId, generation: 1 }, new AbortController(), fn)
  }
  /** What is asked for in `fn` goes behind each other onto the connection, however long that takes. */
  const inOneWrite = async <T>(fn: () => Promise<T>) => {
    stopped = Date.now()
    const work = fn()
    await settle()
    stopped = undefined
    return work
  }
  return { registry, a: tenant(), b: tenant(), c: tenant(), inOneWrite }
}

async function seen(rows: Promise<readonly object[]>): Promise<unknown> {
  try {
    return (await rows).map((row) => ({ ...row }))
  } catch (error) {
    return errorCode(error)
  }
}

for (const [name, { leave, look, sees }] of Object.entries(TRACES)) {
  t.test(`${name}: gone for the next tenant on the connection`, async (t) => {
    const { a, b, c, registry, inOneWrite } = await open(t)
    const looks = (use: typeof a) => seen(use((db) => db.query(look)))
    const looksInTransaction = (use: typeof a) => seen(use((db) => db.transaction((tx) => tx.query(look))))
    const fails = (use: typeof a) => seen(use((db) => db.query(sql`select 1 / 0`)))
    const leaves = (use: typeof a) => use((db) => db.query(leave))
    const leavesInTransaction = (use: typeof a) => use((db) => db.transaction((tx) => tx.query(leave)))

    await leaves(a)
    t.strictSame(await looks(b), sees, 'after a statement')
    await leaves(a)
    t.strictSame(await looksInTransaction(b), sees, 'in a transaction after a statement')
    await leavesInTransaction(a)
    t.strictSame(await looks(b), sees, 'after a transaction')
    await leavesInTransaction(a)
    t.strictSame(await looksInTransaction(b), sees, 'in a transaction after another')
    await leaves(a)
    t.strictSame(await fails(b), '22012')
    t.strictSame(await looks(c), sees, 'after a failure took the reset back')
    await leaves(a)
    await seen(
      b((db) =>
        db.transaction(async (tx) => {
          await tx.query(sql`select 1 / 0`)
          return []
        }),
      ),
    )
    t.strictSame(await looks(c), sees, 'after a transaction that was rolled back')
    for (const each of [a, b, c]) await each((db) => db.query(sql`select 1`))
    const [, found] = await inOneWrite(() => Promise.all([leaves(a), looks(b)]))
    t.strictSame(found, sees, 'sent behind it at once')
    t.equal(registry.counters().connectionsOpened, 1, 'all of it on one connection')
  })
}

t.test(
  'a subscription of a function ends with the next statement, and nothing of it is given to anybody',
  async (t) => {
    const { a, b, registry } = await open(t)
    const channels = () => seen(b((db) => db.query(sql`select pg_listening_channels() as name`)))
    for (const leave of [
      () => a((db) => db.query(sql`select public.keep_subscription()`)),
      () => a((db) => db.transaction((tx) => tx.query(sql`select public.keep_subscription()`))),
    ]) {
      await leave()
      t.strictSame(await seen(b((db) => db.query(sql`select 1 as one`))), [{ one: 1 }])
      t.strictSame(await channels(), [])
      await leave()
      await b((db) => db.transaction((tx) => tx.query(sql`select 1`)))
      t.strictSame(await channels(), [])
    }
    t.equal(registry.counters().connectionsOpened, 1)
  },
)

t.test('what a tenant has left makes none of its own later statements another tenant', async (t) => {
  const { a, b, registry } = await open(t)
  const bound = async (use: typeof a) => {
    const [row] = await use((db) =>
      db.query<{ id: string }>(sql`select pg_catalog.current_setting('rls.tenant_id') as id`),
    )
    return row?.id
  }
  const own = await bound(a)
  await a((db) => db.query(sql`select public.keep_settings()`))
  t.equal(await bound(a), own)
  t.match(await bound(b), /^[0-9a-f]{8}-/)
  t.equal(registry.counters().connectionsOpened, 1)
})

t.test('a transaction may set its own isolation level, as its first statement', async (t) => {
  const { a } = await open(t)
  const level = await a((db) =>
    db.transaction(async (tx) => {
      await tx.query(sql`set transaction isolation level serializable`)
      const [row] = await tx.query<{ level: string }>(
        sql`select current_setting('transaction_isolation') as level`,
      )
      return row?.level
    }),
  )
  t.equal(level, 'serializable')
})

/** Holds up a reset, which drops the temporary table. */
async function lockTemporary(tx: TransactionSql, table: string): Promise<void> {
  const [found] = await tx<{ name: string }[]>`
    select oid::regclass as name from pg_class where relname = ${table} and relpersistence = 't'`
  await tx.unsafe(`lock table ${found?.name ?? ''} in access share mode`)
}

t.test('a reset that fails lets the statement behind it not run', async (t) => {
  const { a, b } = await open(t, { statement_timeout: '300' })
  await a((db) => db.query(sql`select public.keep_table()`))
  await withAdmin(url, (admin) =>
    admin.begin(async (tx) => {
      await lockTemporary(tx, 'report')
      const write = (db: Db) => db.query(sql`insert into public.written values (1)`)
      t.equal(await seen(b(write)), 'STATEMENT_TIMEOUT')
      t.equal(await seen(b((db) => db.transaction(write))), 'STATEMENT_TIMEOUT')
    }),
  )
  t.strictSame(await seen(b((db) => db.query(sql`select id from public.written`))), [])
})

/** What a tenant asks for of a table that another one hides by a temporary table of the same name. */
const find = (db: Db) => db.query(sql`select true as found from sizes where size = ${'1.5'}`)
const hide = (db: Db) => db.query(sql`create temporary table sizes as select 1 as size`)

t.test('the parameters of a statement have the types that its own tenant sees', async (t) => {
  const { a, b, registry } = await open(t)
  await a(hide)
  t.strictSame(await seen(b(find)), [{ found: true }])
  t.equal(registry.counters().connectionsOpened, 1)
})

t.test('types that were looked up behind a reset that failed are not kept', async (t) => {
  const { a, b, registry } = await open(t, { statement_timeout: '300' })
  await a(hide)
  await withAdmin(url, (admin) =>
    admin.begin(async (tx) => {
      await lockTemporary(tx, 'sizes')
      t.equal(await seen(b(find)), 'STATEMENT_TIMEOUT')
    }),
  )
  t.strictSame(await seen(b(find)), [{ found: true }])
  t.equal(registry.counters().connectionsOpened, 1)
})

t.test('what docs/sql.md says stays does stay', async (t) => {
  const { a, b, registry } = await open(t)
  const ask = (use: typeof a, statement: Statement) => seen(use((db) => db.query(statement)))
  await ask(a, sql`select public.keep_prepared(), pg_advisory_lock(4711)`)
  t.strictSame(await ask(b, sql`execute report`), [{ text: 'left by A' }])
  t.strictSame(
    await ask(
      b,
      sql`select count(*)::int as locks from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`,
    ),
    [{ locks: 1 }],
  )
  const random = async () => {
    await ask(a, sql`select setseed(0.5)`)
    return ask(b, sql`select random()`)
  }
  t.strictSame(await random(), await random())
  const write = sql`insert into public.written values (2) returning id`
  await ask(a, sql`select set_config('default_transaction_read_only', 'on', false)`)
  t.strictSame(await ask(b, write), [{ id: 2 }], 'what a BEGIN goes by is reset before it')
  t.equal(registry.counters().connectionsOpened, 1)
})
