import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t from 'tap'
import { errorCode } from '../../src/pool/driver-errors.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import { testDatabase } from '../support/database.ts'
import { excludes, rejectsLike } from '../support/like.ts'
import { targetOf } from '../support/target.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

const never = new AbortController().signal

async function backends(url: string, pid: number): Promise<number> {
  const watcher = await openConnection(targetOf(url), never)
  try {
    const rows = await watcher.run(sql`select 1 from pg_stat_activity where pid = ${pid}`).result
    return rows.length
  } finally {
    await watcher.close()
  }
}

t.test(
  'a connection runs statements, tells its backend, and is gone from the server once closed',
  async (t) => {
    const { url } = await testDatabase(t)
    const connection = await openConnection(targetOf(url, { parameters: { 'rls.tenant_id': 'abc' } }), never)
    const rows = await connection.run(
      sql`select current_setting('rls.tenant_id') as tenant, current_setting('TimeZone') as zone, ${1}::int + 1 as two`,
    ).result
    t.strictSame([...rows], [{ tenant: 'abc', zone: 'UTC', two: 2 }])
    t.equal(rows.command, 'SELECT')
    t.equal(await backends(url, connection.pid), 1)
    await connection.close()
    t.equal(await backends(url, connection.pid), 0)
    await connection.lost
  },
)

t.test('a cancel request stops the statement that runs', async (t) => {
  const { url } = await testDatabase(t)
  const connection = await openConnection(targetOf(url), never)
  t.teardown(() => connection.close())
  const slow = connection.run(sql`select pg_sleep(60)`)
  const refused = rejectsLike(t, slow.result, { code: '57014' })
  // The request is lost when the statement has not begun, so wait until the server runs it.
  while ((await activity(url, connection.pid)) !== 'active');
  await slow.cancel()
  await refused
  const [row] = await connection.run(sql`select 1 as one`).result
  t.strictSame(row, { one: 1 })
  await slow.cancel()
  t.pass('cancelling a statement that has ended does nothing')
})

t.test('a cancel request that nobody hears ends by itself, and the connection goes on', async (t) => {
  const { url } = await testDatabase(t)
  const target = targetOf(url)
  let isDeaf = false
  const sockets = new Set<Socket>()
  // Leads to the server, but for who comes while it is deaf: those it hears and answers nothing.
  const door = createServer({ allowHalfOpen: true }, (client) => {
    const ends = isDeaf ? [client] : [client, connect(target.port, target.host)]
    for (const each of ends) {
      sockets.add(each)
      each.on('error', () => {})
    }
    const [, server] = ends
    if (server === undefined) client.resume()
    else client.pipe(server).pipe(client)
  })
  await once(door.listen(0, target.host), 'listening')
  t.teardown(() => {
    for (const each of sockets) each.destroy()
    door.close()
  })
  const connection = await openConnection({ ...target, port: (door.address() as AddressInfo).port }, never)
  t.teardown(() => connection.close())
  const slow = connection.run(sql`select pg_sleep(60)`)
  const refused = rejectsLike(t, slow.result, { code: '57014' })
  while ((await activity(url, connection.pid)) !== 'active');

  isDeaf = true
  const heard = once(door, 'connection')
  const cancelling = slow.cancel()
  const [request] = await heard
  await once(request, 'end')
  await cancelling
  t.equal(await activity(url, connection.pid), 'active', 'the statement still runs')

  isDeaf = false
  await slow.cancel()
  await refused
  const [row] = await connection.run(sql`select 1 as one`).result
  t.strictSame(row, { one: 1 })
})

t.test('a connection that the server ends is lost and does not come back', async (t) => {
  const { url } = await testDatabase(t)
  const connection = await openConnection(targetOf(url), never)
  const other = await openConnection(targetOf(url), never)
  t.teardown(() => other.close())
  await other.run(sql`select pg_terminate_backend(${connection.pid}::int)`).result
  await connection.lost
  await rejectsLike(t, connection.run(sql`select 1`).result, { code: 'CONNECTION_CLOSED' })
})

t.test('a connection can be closed as soon as its statement has heard of the loss', async (t) => {
  const { url } = await testDatabase(t)
  const proxy = await TcpProxy.start(t, url)
  const connection = await openConnection(targetOf(proxy.url(url)), never)
  const slow = connection.run(sql`select pg_sleep(60)`)
  const refused = slow.result.catch((error: unknown) => connection.close().then(() => error))
  while ((await activity(url, connection.pid)) !== 'active');
  proxy.reset()
  const error = await refused
  t.equal(errorCode(error), 'CONNECTION_CLOSED')
  t.equal(errorCode((error as Error).cause), 'ECONNRESET')
})

t.test('a wrong password is refused with its SQLSTATE and leaves no socket', async (t) => {
  const { url } = await testDatabase(t)
  await rejectsLike(t, openConnection(targetOf(url, { password: new Secret('wrong') }), never), {
    code: '28P01',
  })
})

t.test('nobody listening is an error at once', async (t) => {
  await rejectsLike(t, openConnection(targetOf('postgres://user:pass@127.0.0.1:1/db'), never), {
    code: 'ECONNREFUSED',
  })
})

t.test('an abort ends the opening with its reason', async (t) => {
  const { url } = await testDatabase(t)
  const reason = new Error('too late')
  await rejectsLike(t, openConnection(targetOf(url), AbortSignal.abort(reason)), reason)
  const controller = new AbortController()
  const opening = openConnection(targetOf(url), controller.signal)
  controller.abort(reason)
  await rejectsLike(t, opening, reason)
})

t.test('an opening that is given up ends when the server has let go of it', async (t) => {
  const { url } = await testDatabase(t)
  const watcher = await openConnection(targetOf(url), never)
  t.teardown(() => watcher.close())
  // Logging in takes a while, in which the server counts the backend (event triggers on login:
  // PostgreSQL 17 and later).
  for (const each of [
    sql`create function slow() returns event_trigger language plpgsql as 'begin perform pg_sleep(0.3); end'`,
    sql`create event trigger slow on login execute function slow()`,
  ]) {
    await watcher.run(each).result
  }
  const opened = async () =>
    (
      await watcher.run(sql`
        select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
          and backend_type = 'client backend'`).result
    ).length
  const reason = new Error('too late')
  const controller = new AbortController()
  const opening = openConnection(targetOf(url), controller.signal)
  while ((await opened()) === 0);
  controller.abort(reason)
  await rejectsLike(t, opening, reason)
  t.equal(await opened(), 0)
})

t.test('an opening that is given up does not wait for a server that is silent', async (t) => {
  const { url } = await testDatabase(t)
  const proxy = await TcpProxy.start(t, url)
  proxy.inflict({ kind: 'silence' })
  const reason = new Error('too late')
  const controller = new AbortController()
  const opening = openConnection(targetOf(proxy.url(url)), controller.signal)
  while (proxy.openings.length === 0) await new Promise(setImmediate)
  controller.abort(reason)
  await rejectsLike(t, opening, reason)
})

t.test('a server without TLS is refused when TLS is required', async (t) => {
  const { url } = await testDatabase(t)
  await t.rejects(openConnection(targetOf(url, { tls: 'require' }), never), /does not accept TLS/)
})

t.test('printing a connection shows no password', async (t) => {
  const { url } = await testDatabase(t)
  const { inspect } = await import('node:util')
  const target = targetOf(url)
  const connection = await openConnection(target, never)
  t.teardown(() => connection.close())
  const text = inspect(connection, { depth: 20, showHidden: true }) + JSON.stringify(target) + inspect(target)
  excludes(t, text, target.password.reveal())
})

async function activity(url: string, pid: number): Promise<string | undefined> {
  const watcher = await openConnection(targetOf(url), never)
  try {
    const [row] = await watcher.run(
      sql`select state, wait_event from pg_stat_activity where pid = ${pid} and wait_event = 'PgSleep'`,
    ).result
    return (row as { state: string } | undefined)?.state
  } finally {
    await watcher.close()
  }
}
