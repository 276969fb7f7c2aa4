import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { isLessorError } from '../../src/errors.ts'
import { ident, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'

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
  t.same(row, {
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
  t.same(row, { zone: 'UTC', name: 'lessor control', timeout: '1234ms' })
})

t.test('a transaction that throws leaves nothing, a nested one only what it did itself', async (t) => {
  const db = open(t)
  await db.script('create table kept (id integer); create table also (id integer)')
  await t.rejects(
    db.transaction(async (tx) => {
      await tx.script('insert into kept values (1); insert into kept values (2)')
      throw new Error('stop')
    }),
    { message: 'stop' },
  )
  t.same(await db.query(sql`select id from kept`), [])
  const result = await db.transaction(async (tx) => {
    await tx.query(sql`insert into kept values (3)`)
    await t.rejects(
      tx.transaction(async (inner) => {
        await inner.query(sql`insert into kept values (4)`)
        await inner.query(sql`select 1 / 0`)
      }),
      { code: '22012' },
    )
    return [Promise.resolve('an array is handed on as it is')]
  })
  t.same(await Promise.all(result), ['an array is handed on as it is'])
  t.same(await db.query(sql`select id from kept`), [{ id: 3 }])
})

t.test('a statement that the server refuses keeps its SQLSTATE', async (t) => {
  await t.rejects(open(t).query(sql`select * from nowhere`), { code: '42P01' })
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
      t.notMatch(inspect(error, { showHidden: true, depth: 5 }), /hunter2/, name)
    }
    t.notMatch(inspect(db, { showHidden: true, depth: 5 }), /hunter2/, name)
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
  for (const [server, cause] of [
    [proxy, 'CONNECTION_CLOSED'],
    [silent, 'CONNECT_TIMEOUT'],
  ] as const) {
    t.teardown(() => server.close())
    const { port } = server.address() as AddressInfo
    const db = open(t, {
      url: `postgres://me:hunter2@127.0.0.1:${port}/data`,
      maxConnections: 1,
      connectTimeoutMs: 100,
    })
    await t.rejects(db.ping(), { code: 'CONTROL_UNAVAILABLE', cause: { code: cause } })
    await t.rejects(db.ping(), { code: 'CONTROL_UNAVAILABLE', cause: { code: cause } })
  }
})

t.test('a session that the server ends is replaced', async (t) => {
  const db = open(t, { maxConnections: 1 })
  await t.rejects(db.query(sql`select pg_terminate_backend(pg_backend_pid())`), {
    code: 'CONTROL_UNAVAILABLE',
  })
  await t.rejects(
    db.transaction(async (tx) => {
      await tx.query(sql`select pg_terminate_backend(pg_backend_pid())`)
    }),
    { code: 'CONTROL_UNAVAILABLE' },
  )
  await t.resolves(db.ping())
})

t.test('closing lets what runs end, refuses what comes after, and is done once', async (t) => {
  const db = open(t)
  const running = db.query(sql`select pg_sleep(0.2), 'done' as state`)
  await db.ping()
  const closing = db.close()
  t.equal(db.close(), closing)
  t.match(await running, [{ state: 'done' }])
  await closing
  await t.rejects(db.ping(), { code: 'CONTROL_UNAVAILABLE' })
})
