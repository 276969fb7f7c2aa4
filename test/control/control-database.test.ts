import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { PostgresDatabase } from '../../src/control/postgres-database.ts'
import { isLessorError } from '../../src/errors.ts'
import { type Db, ident, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { excludes, like, rejectsLike, sameRows } from '../support/like.ts'

const { url } = await testDatabase(t)

function open(t: Test, options: Partial<ConstructorParameters<typeof ControlDatabase>[0]> = {}) {
  const db = new ControlDatabase({ url, ...options })
  t.teardown(() => db.close())
  return db
}

t.test('values travel as parameters and come back as JavaScript values', async (t) => {
  const db = open(t)
  const [row] = await db.query(sql`
    select ${{ a: [1] }}::jsonb as json, ${['a', 'b,"c']}::text[] as list, 'x' = any(${['x', 'y']}) as any,
      '2026-01-02 03:04:05+02'::timestamptz as time, 7::bigint as big, 7 as small,
      ${new Uint8Array([1, 2])}::bytea as bytes, ${"'; drop table x"}::text as ${ident('odd "name')}`)
  t.strictSame(row, {
    json: { a: [1] },
    list: ['a', 'b,"c'],
    any: true,
    time: new Date('2026-01-02T01:04:05Z'),
    big: '7',
    small: 7,
    bytes: Buffer.from([1, 2]),
    'odd "name': "'; drop table x",
  })
})

t.test('sessions are in UTC, name themselves and have a time limit', async (t) => {
  const db = open(t, { statementTimeoutMs: 1234 })
  const [row] = await db.query(sql`
    select current_setting('TimeZone') as zone, current_setting('application_name') as name,
      current_setting('statement_timeout') as timeout`)
  t.strictSame(row, { zone: 'UTC', name: 'lessor control', timeout: '1234ms' })
})

t.test('a transaction is not begun or ended by a statement', async (t) => {
  const db = open(t, { maxConnections: 1 })
  const refused = { message: /use db.transaction\(\)/ }
  await db.script('create table once (id integer)')
  for (const statement of [sql`begin`, sql`COMMIT`, sql`/* a */ rollback`]) {
    await rejectsLike(t, db.query(statement), refused)
    await rejectsLike(
      t,
      db.transaction(async (tx) => {
        await tx.query(sql`insert into once values (1)`)
        await tx.query(statement)
      }),
      refused,
    )
  }
  await rejectsLike(t, db.query(sql`copy once to stdout`), { message: /^COPY to or from the client/ })
  await rejectsLike(t, db.query(sql` -- nothing`), { message: /^The statement is empty/ })
  t.strictSame([...(await db.query(sql`select id from once`))], [])
})

t.test('a transaction that throws leaves nothing, a nested one only what it did itself', async (t) => {
  const db = open(t)
  await db.script('create table kept (id integer); create table also (id integer)')
  await rejectsLike(
    t,
    db.transaction(async (tx) => {
      await tx.script('insert into kept values (1); insert into kept values (2)')
      throw new Error('stop')
    }),
    { message: 'stop' },
  )
  sameRows(t, await db.query(sql`select id from kept`), [])
  const result = await db.transaction(async (tx) => {
    await tx.query(sql`insert into kept values (3)`)
    await rejectsLike(
      t,
      tx.transaction(async (inner) => {
        await inner.query(sql`insert into kept values (4)`)
        await inner.query(sql`select 1 / 0`)
      }),
      { code: '22012' },
    )
    return [Promise.resolve('an array is handed on as it is')]
  })
  t.strictSame(await Promise.all(result), ['an array is handed on as it is'])
  sameRows(t, await db.query(sql`select id from kept`), [{ id: 3 }])
})

t.test('a statement that the server refuses keeps its SQLSTATE', async (t) => {
  await rejectsLike(t, open(t).query(sql`select * from nowhere`), { code: '42P01' })
})

t.test('a database that cannot be used is one error, which holds no secret', async (t) => {
  const free = createServer().listen(0, '127.0.0.1')
  await once(free, 'listening')
  const { port } = free.address() as AddressInfo
  free.close()
  await once(free, 'close')
  const change = (edit: (url: URL) => void) => {
    const changed = new URL(url)
    changed.password = 'hunter2'
    edit(changed)
    return changed.href
  }
  const cases = {
    'a port where nobody listens': change((each) => {
      each.port = String(port)
    }),
    'a wrong password': change(() => {}),
    'no such database': url.replace(/\/[^/]*$/, '/nowhere'),
    'a server without TLS': `${url}?sslmode=require`,
  }
  for (const [name, wrong] of Object.entries(cases)) {
    const db = open(t, { url: wrong, maxConnections: 1 })
    // Twice: a failed attempt must not use up the pool's only place.
    for (let attempt = 0; attempt < 2; attempt++) {
      const error = await db.ping().then(
        () => undefined,
        (error: unknown) => error,
      )
      t.ok(isLessorError(error, 'CONTROL_UNAVAILABLE') && error.cause, name)
      excludes(t, inspect(error, { showHidden: true, depth: 5 }), /hunter2/, name)
    }
    excludes(t, inspect(db, { showHidden: true, depth: 5 }), /hunter2/, name)
  }
})

t.test('a proxy that accepts and hangs up is an error, and so is one that never answers', async (t) => {
  const proxy = createServer((socket) => {
    socket.on('error', () => {})
    socket.end()
  }).listen(0, '127.0.0.1')
  const silent = createServer((socket) => {
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
  }).listen(0, '127.0.0.1')
  await Promise.all([once(proxy, 'listening'), once(silent, 'listening')])
  for (const [server, cause, connectTimeoutMs] of [
    [proxy, 'CONNECTION_CLOSED', 10_000],
    [silent, 'CONNECT_TIMEOUT', 100],
  ] as const) {
    t.teardown(() => server.close())
    const { port } = server.address() as AddressInfo
    const db = open(t, {
      url: `postgres://me:hunter2@127.0.0.1:${port}/data`,
      maxConnections: 1,
      connectTimeoutMs,
    })
    await rejectsLike(t, db.ping(), { code: 'CONTROL_UNAVAILABLE', cause: { code: cause } })
    await rejectsLike(t, db.ping(), { code: 'CONTROL_UNAVAILABLE', cause: { code: cause } })
  }
})

t.test('a session that the server ends costs what ran on it and nothing else', async (t) => {
  const db = open(t, { maxConnections: 1 })
  const other = open(t, { maxConnections: 1 })
  const end = (pid: unknown) => other.query(sql`select pg_terminate_backend(${Number(pid)}, 5000)`)
  const lost = { code: 'CONTROL_UNAVAILABLE', cause: { code: 'CONNECTION_CLOSED' } }

  // The statements behind it have not been sent; they go over a new connection.
  const behind = [db.query(sql`select 1 as one`), db.transaction((tx) => tx.query(sql`select 2 as two`))]
  await rejectsLike(t, db.query(sql`select pg_terminate_backend(pg_backend_pid())`), lost)
  sameRows(t, await Promise.all(behind), [[{ one: 1 }], [{ two: 2 }]])

  for (const [name, goOn] of [
    ['sends another statement', (tx: Db) => tx.query(sql`select 3`)],
    ['has nothing more to do', async () => {}],
  ] as const) {
    await rejectsLike(
      t,
      db.transaction(async (tx) => {
        const [row] = await tx.query(sql`select pg_backend_pid() as pid`)
        await end(row?.pid)
        await goOn(tx)
      }),
      lost,
      `a transaction that ${name}`,
    )
    sameRows(t, await db.query(sql`select 4 as four`), [{ four: 4 }], 'the next statement is not told of it')
  }
  await rejectsLike(
    t,
    db.transaction(async (tx) => {
      const [row] = await tx.query(sql`select pg_backend_pid() as pid`)
      await end(row?.pid)
      throw new Error('mine')
    }),
    { message: 'mine' },
  )
  sameRows(t, await db.query(sql`select 5 as five`), [{ five: 5 }])
})

t.test('a transaction that is idle for too long is ended by the server, and that is one error', async (t) => {
  const db = open(t, { maxConnections: 1 })
  const other = open(t, { maxConnections: 1 })
  await rejectsLike(
    t,
    db.transaction(async (tx) => {
      const [row] = await tx.query(sql`
        select set_config('idle_in_transaction_session_timeout', '20', true), pg_backend_pid() as pid`)
      const isThere = async () =>
        (await other.query(sql`select from pg_stat_activity where pid = ${Number(row?.pid)}`)).length > 0
      while (await isThere());
      await tx.query(sql`select 1`)
    }),
    { code: 'CONTROL_UNAVAILABLE' },
  )
  sameRows(t, await db.query(sql`select 1 as one`), [{ one: 1 }])
})

t.test('a login that the server refuses after a loss is told at once', async (t) => {
  const admin = open(t)
  const role = `refused_${process.pid}`
  await admin.script(`create role ${role} login password 'secret'`)
  t.teardown(() => admin.script(`drop role ${role}`))
  const own = new URL(url)
  own.username = role
  own.password = 'secret'
  const db = open(t, { url: own.href, maxConnections: 1 })
  const [row] = await db.query(sql`select pg_backend_pid() as pid`)
  const running = db.query(sql`select pg_sleep(60)`)
  await admin.script(`alter role ${role} nologin`)
  const lost = rejectsLike(t, running, { code: 'CONTROL_UNAVAILABLE', cause: { code: 'CONNECTION_CLOSED' } })
  await admin.query(sql`select pg_terminate_backend(${Number(row?.pid)}, 5000)`)
  await lost
  for (let attempt = 0; attempt < 2; attempt++) {
    await rejectsLike(t, db.ping(), { code: 'CONTROL_UNAVAILABLE', cause: { code: '28000' } })
  }
  await admin.script(`alter role ${role} login`)
  await t.resolves(db.ping())
})

t.test('what fails inside a transaction and is ignored is not committed', async (t) => {
  const db = open(t)
  await db.script('create table ignored (id integer)')
  await t.rejects(
    db.transaction(async (tx) => {
      await tx.query(sql`insert into ignored values (1)`)
      await tx.query(sql`select 1 / 0`).catch(() => {})
    }),
    /rolled back/,
  )
  sameRows(t, await db.query(sql`select id from ignored`), [])
})

t.test('a transaction that is used after its end is a bug, told as one', async (t) => {
  const db = open(t, { maxConnections: 1 })
  const kept = await db.transaction(async (tx) => [tx] as const)
  await t.rejects(kept[0].query(sql`select 1`), /bug: a transaction was used after its end/)
  await t.rejects(kept[0].script('select 1'), /bug: a transaction was used after its end/)
  await t.resolves(db.ping())
})

t.test('statements beyond the connections wait for a turn', async (t) => {
  const db = open(t, { maxConnections: 2 })
  const pids = await Promise.all(
    Array.from({ length: 20 }, () => db.query<{ pid: number }>(sql`select pg_backend_pid() as pid`)),
  )
  t.equal(new Set(pids.flat().map(({ pid }) => pid)).size, 2)
})

t.test('a connection that is not used is closed after a while', async (t) => {
  const watcher = open(t)
  const db = new PostgresDatabase({
    address: parseDatabaseUrl(url),
    applicationName: 'idle',
    maxConnections: 2,
    connectTimeoutMs: 5_000,
    statementTimeoutMs: 5_000,
    idleMs: 20,
    closeTimeoutMs: 5_000,
    unavailable: 'CONTROL_UNAVAILABLE',
  })
  t.teardown(() => db.close())
  await Promise.all([db.ping(), db.ping()])
  const left = () => watcher.query(sql`select from pg_stat_activity where application_name = 'idle'`)
  while ((await left()).length > 0);
  await t.resolves(db.ping())
})

t.test('closing cuts what is still running at the deadline', async (t) => {
  const db = new PostgresDatabase({
    address: parseDatabaseUrl(url),
    applicationName: 'cut',
    maxConnections: 1,
    connectTimeoutMs: 5_000,
    statementTimeoutMs: 0,
    idleMs: 1_000,
    closeTimeoutMs: 50,
    unavailable: 'CONTROL_UNAVAILABLE',
  })
  await db.ping()
  const cut = rejectsLike(t, db.query(sql`select pg_sleep(5)`), { code: 'CONTROL_UNAVAILABLE' })
  const waiting = rejectsLike(t, db.ping(), {
    code: 'CONTROL_UNAVAILABLE',
    cause: { code: 'CONNECTION_ENDED' },
  })
  await db.close()
  await Promise.all([cut, waiting])
})

t.test('closing lets what runs end, refuses what comes after, and is done once', async (t) => {
  const db = open(t)
  const running = db.query(sql`select pg_sleep(0.2), 'done' as state`)
  await db.ping()
  const closing = db.close()
  t.equal(db.close(), closing)
  like(t, await running, [{ state: 'done' }])
  await closing
  await rejectsLike(t, db.ping(), { code: 'CONTROL_UNAVAILABLE' })
})
