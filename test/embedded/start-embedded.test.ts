import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chown, lstat, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t from 'tap'
import { startEmbedded } from '../../src/embedded/start-embedded.ts'
import { testedVersion } from '../postgres/environment.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { withAdmin } from '../support/template.ts'
import { answers, ended, isRunning, makeFolder, postmasterPid, start } from './helpers.ts'

t.test('the first start makes a PostgreSQL for this machine alone, with a password', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  const { url, port } = await start(t, directory, { durable: true })
  const settings = await withAdmin(url.reveal(), async (sql) => {
    const rows = await sql<{ name: string; setting: string }[]>`
      select name, setting from pg_settings
      where name in ('listen_addresses', 'unix_socket_directories', 'max_connections', 'fsync',
        'full_page_writes', 'synchronous_commit', 'server_version_num', 'server_encoding', 'TimeZone')`
    return Object.fromEntries(rows.map((row) => [row.name, row.setting]))
  })
  like(t, settings, {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '200',
    fsync: 'on',
    full_page_writes: 'on',
    synchronous_commit: 'on',
    server_version_num: new RegExp(`^${testedVersion()}`),
    server_encoding: 'UTF8',
    TimeZone: 'UTC',
  })
  const wrong = `postgres://postgres:wrong@127.0.0.1:${port}/postgres`
  await rejectsLike(
    t,
    withAdmin(wrong, (sql) => sql`select 1`),
    { code: '28P01' },
  )
  const { password } = new URL(url.reveal())
  t.equal((await readFile(join(directory, 'password'), 'utf8')).trim(), password)
  t.equal((await stat(join(directory, 'password'))).mode & 0o777, 0o600)
  t.equal((await stat(join(directory, 'data'))).mode & 0o777, 0o700)
  t.notOk(JSON.stringify({ url }).includes(password), 'the URL does not print')
  if (process.platform === 'linux') {
    const process = `/proc/${await postmasterPid(directory)}`
    t.notOk((await readFile(`${process}/cmdline`, 'utf8')).includes(password))
  }
})

t.test('text sorts by code points and has upper and lower case beyond ASCII', async (t) => {
  const { url } = await start(t, join(await makeFolder(t), 'postgres'))
  const [row] = await withAdmin(
    url.reveal(),
    (sql) => sql<{ lower: string; upper: string; matches: boolean; sorted: string[] }[]>`
      select lower('ÉMILE'), upper('émile'), 'ÉMILE' ilike 'émile' as matches,
             array(select name from unnest(array['é', 'a', 'Z', 'b']) name order by name) as sorted`,
  )
  t.strictSame({ ...row }, { lower: 'émile', upper: 'ÉMILE', matches: true, sorted: ['Z', 'a', 'b', 'é'] })
})

t.test('data, password and port are kept between runs', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  const first = await start(t, directory)
  await withAdmin(first.url.reveal(), (sql) => sql`create table kept as select 42 as answer`)
  await first.stop()
  const second = await start(t, directory)
  t.equal(second.url.reveal(), first.url.reveal())
  const rows = await withAdmin(second.url.reveal(), (sql) => sql`select answer from kept`)
  sameRows(t, [...rows], [{ answer: 42 }])
})

t.test('a port that was taken in between is no obstacle', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  const first = await start(t, directory)
  await first.stop()
  const other = createServer().listen(first.port, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => other.close())
  const second = await start(t, directory)
  t.not(second.port, first.port)
  t.ok(await answers(second))
})

t.test('stop is memoised, and leaves no process and no lock', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  const server = await start(t, directory)
  const pid = await postmasterPid(directory)
  t.equal(server.stop(), server.stop())
  await server.stop()
  await server.exited
  t.equal(await isRunning(pid), false)
  await rejectsLike(
    t,
    withAdmin(server.url.reveal(), (sql) => sql`select 1`),
    { code: 'ECONNREFUSED' },
  )
  await (await start(t, directory)).stop()
})

t.test('a stop ends sessions that are busy', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  const server = await start(t, directory)
  const busy = withAdmin(server.url.reveal(), (sql) => sql`select pg_sleep(3600)`)
  // The server says why, unless its process is gone first.
  const watched = rejectsLike(t, busy, { code: /^(57P01|CONNECTION_CLOSED)$/ })
  await withAdmin(server.url.reveal(), async (sql) => {
    const sleeping = () =>
      sql`select from pg_stat_activity where query like '%pg_sleep(3600)%' and pid <> pg_backend_pid()`
    while ((await sleeping()).length === 0);
  })
  await server.stop()
  await watched
})

t.test('a start that is aborted leaves no process and no lock', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  await rejectsLike(t, start(t, directory, { signal: AbortSignal.abort() }), { name: 'AbortError' })
  const controller = new AbortController()
  const { signal } = controller
  // The signal is looked at just before the process is started: it aborts right after that look, so that
  // the start finds out while PostgreSQL comes up, or when it is ready, however busy the machine is.
  signal.throwIfAborted = () => {
    AbortSignal.prototype.throwIfAborted.call(signal)
    queueMicrotask(() => controller.abort())
  }
  await rejectsLike(t, startEmbedded({ directory, durable: false, signal }), { name: 'AbortError' })
  t.equal(await exists(join(directory, 'log')), true, 'PostgreSQL had been started')
  t.equal(await exists(join(directory, 'data', 'postmaster.pid')), false)
  t.ok(await answers(await start(t, directory)))
})

t.test('a server that dies is noticed, and starts again when the last of it is gone', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  const server = await start(t, directory)
  const sql = postgres(server.url.reveal(), { max: 1 })
  t.teardown(() => sql.end({ timeout: 0 }))
  const [row] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`
  const survivor = row?.pid ?? 0
  process.kill(survivor, 'SIGSTOP')
  process.kill(await postmasterPid(directory), 'SIGKILL')
  await server.exited
  await server.stop()
  const starting = start(t, directory)
  const log = join(directory, 'log')
  while (!(await readFile(log, 'utf8').catch(() => '')).includes('pre-existing shared memory'))
    await sleep(10)
  process.kill(survivor, 'SIGCONT')
  t.ok(await answers(await starting))
})

t.test('a stale pid file is no obstacle, not even when its pid was given to another process', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  const first = await start(t, directory)
  const file = join(directory, 'data', 'postmaster.pid')
  const text = await readFile(file, 'utf8')
  const dead = await postmasterPid(directory)
  await first.stop()
  await ended(dead)
  const { uid, gid } = await stat(join(directory, 'data'))
  const leave = async (pid: number | undefined) => {
    await writeFile(file, text.replace(String(dead), String(pid)))
    await chown(file, uid, gid)
  }
  await leave(dead)
  await (await start(t, directory)).stop()
  // Of the same user, or PostgreSQL itself would see that it is none of its own.
  const other = spawn('sleep', ['60'], { uid, gid })
  t.teardown(() => other.kill())
  await leave(other.pid)
  t.ok(await answers(await start(t, directory)))
  t.equal(other.exitCode, null)
})

t.test('data of another major version is refused and left as it is', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  await (await start(t, directory)).stop()
  const version = join(directory, 'data', 'PG_VERSION')
  await writeFile(version, '14\n')
  await rejectsLike(t, start(t, directory), { name: 'EmbeddedError', message: /made by PostgreSQL 14/ })
  await writeFile(version, `${testedVersion()}\n`)
  t.ok(await answers(await start(t, directory)))
})

t.test('data without its password is refused in words', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  await (await start(t, directory)).stop()
  await rm(join(directory, 'password'))
  await rejectsLike(t, start(t, directory), { name: 'EmbeddedError', message: /password is missing/ })
})

t.test('a server that does not start says what PostgreSQL says', async (t) => {
  const directory = join(await makeFolder(t), 'postgres')
  await (await start(t, directory)).stop()
  await writeFile(join(directory, 'data', 'postgresql.auto.conf'), 'no_such_setting = 1\n')
  await rejectsLike(t, start(t, directory), { name: 'EmbeddedError', message: /no_such_setting/ })
})

const isRoot = process.getuid?.() === 0
t.test('a folder closed to other users works as well; under root the data lies elsewhere', async (t) => {
  const folder = await makeFolder(t, 0o700)
  const directory = join(folder, 'postgres')
  const heard: string[] = []
  const first = await start(t, directory, { log: (message) => heard.push(message) })
  t.teardown(async () => rm(await realpath(directory), { recursive: true }))
  t.equal(/its data lies in \/var\/lib\/lessor\//.test(heard.join()), isRoot)
  t.equal((await lstat(directory)).isSymbolicLink(), isRoot)
  t.equal((await stat(folder)).mode & 0o777, 0o700)
  await withAdmin(first.url.reveal(), (sql) => sql`create table kept ()`)
  await first.stop()
  const second = await start(t, directory)
  t.strictSame([...(await withAdmin(second.url.reveal(), (sql) => sql`select from kept`))], [])
})

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch {
    return false
  }
}
