import { randomUUID } from 'node:crypto'
import { mock } from 'node:test'
import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { sql } from '../../src/pool/statement.ts'
import { Clearing } from '../../src/servers/clearing.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { OwnServer } from '../faults/own-server.ts'
import { openSession } from '../placement/support.ts'
import { rejectsLike } from '../support/like.ts'

// A server of this file's own, with few locks: 10 for each of 40 connections.

const server = await OwnServer.start(t, { maxConnections: 40 })
await server.configure({ max_locks_per_transaction: 10 })

const PASSWORD = randomUUID()

function openAdmin(t: Test, user?: string, lockTimeoutMs = 20_000): ServerAdmin {
  const admin = new ServerAdmin({ address: parseDatabaseUrl(urlOf(user)), lockTimeoutMs })
  t.teardown(() => admin.close())
  return admin
}

function openClearing(t: Test, url = server.url): Clearing {
  const limits = { connectTimeoutMs: 10_000, ordinaryMs: 15_000, lockTimeoutMs: 20_000 }
  const clearing = new Clearing({ address: parseDatabaseUrl(url), ...limits })
  t.teardown(() => clearing.close())
  return clearing
}

function urlOf(user?: string): string {
  const url = new URL(server.url)
  if (user !== undefined) Object.assign(url, { username: user, password: PASSWORD })
  return url.href
}

/** A session of a login that `admin` makes; a tenant's unless another name is given. */
async function openLogin(t: Test, admin: ServerAdmin, name = `tb_${randomUUID().replaceAll('-', '')}`) {
  await admin.script(`create role ${name} login password '${PASSWORD}'`)
  const session = await openSession(t, urlOf(name), { lock_timeout: '0', statement_timeout: '0' })
  return { name, session }
}

/** The connections by which administrators clear their way. */
function connections(admin: ServerAdmin) {
  return admin.query<{ pid: number; hasWritten: boolean }>(sql`
    select pid, backend_xid is not null as "hasWritten" from pg_stat_activity where application_name = 'lessor clearing'`)
}

t.test('a table of locks is full of what is no tenant’s as well, and without a look at it', async (t) => {
  const admin = openAdmin(t)
  const clearing = openClearing(t)
  t.equal(await clearing.relieve(), 'roomy')
  const { session } = await openLogin(t, admin, 'bookkeeping')
  await rejectsLike(t, session.run('select pg_advisory_lock(i) from generate_series(1, 100000) i'), {
    code: '53200',
  })
  t.equal(await clearing.relieve(), 'full')
  await session.run('select 1')
  await session.connection.close()

  const nowhere = new URL(server.url)
  nowhere.port = '1'
  t.equal(await openClearing(t, nowhere.href).relieve(), 'full')
})

t.test('who has more than a share of the locks is ended, though there is room', async (t) => {
  const admin = openAdmin(t)
  const clearing = openClearing(t)
  const [greedy, modest] = [await openLogin(t, admin), await openLogin(t, admin)]
  await greedy.session.run('select pg_advisory_lock(i) from generate_series(1, 60) i')
  await modest.session.run('select pg_advisory_lock(-i) from generate_series(1, 20) i')
  t.equal(await clearing.relieve(), 'full')
  await greedy.session.connection.lost
  await modest.session.run('select 1')
  t.equal(await clearing.relieve(), 'roomy')
})

t.test('the second connection is in no one’s way itself', async (t) => {
  const watcher = openAdmin(t)
  const admin = openAdmin(t)
  const { name, session } = await openLogin(t, watcher)
  // So that it is there.
  await session.connection.command('begin').result
  await session.run(`alter role current_user password 'own'`)
  await admin.script(`alter role ${name} nologin`)
  await session.connection.lost
  t.equal((await connections(watcher)).length, 1)
  // Its transaction stays open, and has locked what it looks at.
  await admin.transaction((tx) => tx.script('lock table pg_locks in access exclusive mode'))
  t.pass('it has made room')
})

t.test('an administrator’s privileges for the end of a session last no longer than that', async (t) => {
  const superuser = openAdmin(t)
  await superuser.script(`create role landlord login createrole password '${PASSWORD}'`)
  const admin = openAdmin(t, 'landlord')
  const { name, session } = await openLogin(t, admin)
  await session.connection.command('begin').result
  await session.run(`alter role current_user password 'own'`)
  await admin.script(`alter role ${name} nologin`)
  await session.connection.lost
  t.strictSame(
    (await connections(superuser)).map(({ hasWritten }) => hasWritten),
    [false],
  )
})

t.test('a look that fails keeps no later one from its work', async (t) => {
  const superuser = openAdmin(t)
  await superuser.script(`
    create role steward login createrole password '${PASSWORD}';
    create table public.ledger (id integer);
    alter table public.ledger owner to steward`)
  const [version] = await superuser.query<{ isOld: boolean }>(
    sql`select current_setting('server_version_num')::integer < 160000 as "isOld"`,
  )
  if (version?.isOld) {
    t.pass('who makes roles may end the sessions of all of them')
    return
  }
  const admin = openAdmin(t, 'steward', 1_500)
  const [foreign, own] = [await openLogin(t, superuser), await openLogin(t, admin)]
  for (const { name } of [foreign, own]) await superuser.script(`grant update on public.ledger to ${name}`)
  const change = 'alter table public.ledger add column if not exists a integer'
  const take = async ({ session }: typeof own) => {
    await session.connection.command('begin').result
    await session.run('lock table public.ledger in share mode')
  }
  await take(foreign)
  // It may not end that one.
  await rejectsLike(t, admin.script(change), { code: 'SERVER_BUSY' })
  await foreign.session.connection.command('commit').result
  await take(own)
  await admin.script(change)
  await own.session.connection.lost
  await foreign.session.run('select 1')
})

t.test('the second connection is closed when it was not used for half a minute', async (t) => {
  const watcher = openAdmin(t)
  await watcher.query(sql`
    select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'lessor clearing'`)
  const clearing = openClearing(t)
  // The driver needs the timers to open a connection.
  await clearing.relieve()
  const [first] = await connections(watcher)
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  for (let times = 0; times < 2; times++) {
    await clearing.relieve()
    mock.timers.tick(29_999)
  }
  t.strictSame(
    (await connections(watcher)).map(({ pid }) => pid),
    [first?.pid],
  )
  mock.timers.tick(1)
  while ((await connections(watcher)).length > 0);
  mock.timers.reset()
  await clearing.relieve()
  t.equal((await connections(watcher)).length, 1, 'another one is opened when it is needed')
})
