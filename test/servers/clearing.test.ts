import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { withLockRetries } from '../../src/placement/lock-retries.ts'
import { sql } from '../../src/pool/statement.ts'
import { ending } from '../../src/servers/clearing-looks.ts'
import { ServerAdmin, type ServerAdminOptions } from '../../src/servers/server-admin.ts'
import { OwnServer } from '../faults/own-server.ts'
import { type ConnectionDb, openSession } from '../placement/support.ts'
import { rejectsLike } from '../support/like.ts'

// A server of this file's own, with few locks: 10 for each of 40 connections.

const server = await OwnServer.start(t, { maxConnections: 40 })
const setUp = new ServerAdmin({ address: parseDatabaseUrl(server.url) })
await setUp.script('alter system set max_locks_per_transaction = 10')
await setUp.close()
await server.stop()
await server.startAgain()

const PASSWORD = randomUUID()

function openAdmin(t: Test, options: Partial<ServerAdminOptions> = {}, url = server.url): ServerAdmin {
  const admin = new ServerAdmin({ address: parseDatabaseUrl(url), ...options })
  t.teardown(() => admin.close())
  return admin
}

/** A login that may use table public.goods; a tenant's unless another name is given. */
async function login(t: Test, admin: ServerAdmin, name = `tb_${randomUUID().replaceAll('-', '')}`) {
  await admin.script(`
    create table if not exists public.goods (id integer);
    create role ${name} login password '${PASSWORD}';
    grant select, insert, update, delete on public.goods to ${name}`)
  const url = new URL(server.url)
  url.username = name
  url.password = PASSWORD
  return {
    name,
    open: (application = 'app') =>
      openSession(t, url.href, { application_name: application, lock_timeout: '0', statement_timeout: '0' }),
  }
}

/** waiting resolves when a session of this name waits for a lock. */
async function waiting(admin: ServerAdmin, application: string): Promise<void> {
  for (;;) {
    const rows = await admin.query(sql`
      select from pg_stat_activity where application_name = ${application} and wait_event_type = 'Lock'`)
    if (rows.length > 0) return
  }
}

/** looked resolves when the administrators' second connection has looked so many times more. */
async function looked(admin: ServerAdmin, times: number): Promise<void> {
  let last: unknown
  for (let seen = 0; seen <= times; ) {
    const [row] = await admin.query<{ at: unknown }>(sql`
      select query_start::text as at from pg_stat_activity where application_name = 'lessor clearing'`)
    if (row === undefined || row.at === last) continue
    last = row.at
    seen += 1
  }
}

async function isOpen(session: ConnectionDb): Promise<boolean> {
  return session.query(sql`select 1`).then(
    () => true,
    () => false,
  )
}

t.test(
  'a tenant that changes its own role in an open transaction does not hold up an administrator',
  async (t) => {
    const admin = openAdmin(t)
    const tenant = await login(t, admin)
    const session = await tenant.open()
    const bystander = await (await login(t, admin)).open()
    await session.connection.command('begin').result
    await session.run(`alter role current_user set work_mem = '1MB'`)
    await session.run(`alter role current_user password 'own'`)
    await admin.script(`alter role ${tenant.name} nologin`)
    await session.connection.lost
    t.equal(await isOpen(bystander), true)
    t.strictSame(
      [...(await admin.query(sql`select rolcanlogin as "may" from pg_roles where rolname = ${tenant.name}`))],
      [{ may: false }],
    )
  },
)

t.test('a transaction and a connection elsewhere are cleared the way for as well', async (t) => {
  const admin = openAdmin(t)
  const tenant = await login(t, admin)
  for (const run of [
    () => admin.transaction((tx) => tx.script('lock table public.goods in access exclusive mode')),
    () =>
      admin.inDatabase('postgres', (db) =>
        db.script('alter table public.goods add column if not exists b integer'),
      ),
  ]) {
    const session = await tenant.open()
    await session.connection.command('begin').result
    await session.run('lock table public.goods in share mode')
    await run()
    t.equal(await session.connection.lost, undefined)
  }
})

t.test('a tenant in the way takes no neighbour along for which it waits itself', async (t) => {
  const admin = openAdmin(t)
  const [mean, good] = [await login(t, admin), await login(t, admin)]
  await admin.script(`create schema of_good; grant all on schema of_good to ${good.name}`)
  const [thief, worker] = [await mean.open(), await good.open()]
  await worker.connection.command('begin').result
  await worker.run('create table of_good.report as select 1 as one')
  await thief.connection.command('begin').result
  await thief.run(`alter role current_user password 'own'`)
  await thief.run(`set application_name = 'thief'`)
  const waits = thief.run('drop schema of_good').catch(() => {})
  await waiting(admin, 'thief')
  await admin.script(`alter role ${mean.name} nologin`)
  await waits
  t.equal(await isOpen(worker), true)
  await worker.connection.command('commit').result
  await admin.script('drop schema of_good cascade')
})

t.test('who waits for a lock behind a tenant that holds it is not ended, the tenant is', async (t) => {
  const admin = openAdmin(t)
  const [first, second] = [await login(t, admin), await login(t, admin)]
  const [holder, victim] = [await first.open(), await second.open()]
  await holder.connection.command('begin').result
  await holder.run('lock table public.goods in exclusive mode')
  await holder.run('lock table public.goods in access exclusive mode')
  const read = victim.query(sql`select from public.goods`)
  await admin.script('alter table public.goods add column if not exists c integer')
  await holder.connection.lost
  t.strictSame([...(await read)], [])
  t.equal(await isOpen(victim), true)
})

t.test(
  'who only waits in front of an administrator is not ended, however old its transaction is',
  async (t) => {
    const watcher = openAdmin(t)
    const [tenant, other] = [await login(t, watcher), await login(t, watcher, 'archive')]
    const [holder, victim] = [await other.open(), await tenant.open()]
    await holder.connection.command('begin').result
    await holder.run('lock table public.goods in share mode')
    await victim.run(`set application_name = 'victim'`)
    const written = victim.run('insert into public.goods values (1) returning id')
    await waiting(watcher, 'victim')
    const changed = openAdmin(t, { ordinaryMs: 1, lockTimeoutMs: 600_000 }).script(
      'alter table public.goods add column if not exists h integer',
    )
    const cancelled = rejectsLike(t, changed, { code: '57014' })
    await waiting(watcher, 'lessor admin')
    await Promise.race([looked(watcher, 40), victim.connection.lost])
    await watcher.query(sql`
    select pg_cancel_backend(pid) from pg_stat_activity
    where application_name = 'lessor admin' and wait_event_type = 'Lock'`)
    await cancelled
    await holder.connection.command('commit').result
    t.strictSame([...(await written)], [{ id: 1 }])
  },
)

t.test(
  'a transaction that only reads and writes rows is waited for until it is older than a statement may be',
  async (t) => {
    const watcher = openAdmin(t)
    const tenant = await login(t, watcher)
    const change = 'alter table public.goods add column if not exists d integer'

    const patient = openAdmin(t, { ordinaryMs: 600_000 })
    const [young, old] = [await tenant.open(), await tenant.open()]
    await young.connection.command('begin').result
    await young.run('insert into public.goods values (1)')
    const changed = patient.script(change)
    await waiting(watcher, 'lessor admin')
    // Its opening takes up to seven statements, and each look two.
    await Promise.race([looked(watcher, 12), young.connection.lost])
    await young.connection.command('commit').result
    await changed
    t.equal(await isOpen(young), true)

    const strict = openAdmin(t, { ordinaryMs: 1 })
    await old.connection.command('begin').result
    await old.run('select from public.goods')
    await strict.script(change)
    await old.connection.lost
  },
)

t.test(
  'the second connection keeps no snapshot between two looks, for which others would wait',
  async (t) => {
    const watcher = openAdmin(t)
    const session = await (await login(t, watcher)).open()
    await session.connection.command('begin').result
    await session.run('insert into public.goods values (1)')
    const changed = openAdmin(t, { ordinaryMs: 600_000 }).script(
      'alter table public.goods add column if not exists g integer',
    )
    await waiting(watcher, 'lessor admin')
    await looked(watcher, 40)
    await session.connection.command('commit').result
    await changed
    const rows = await watcher.query<{ state: string; hasSnapshot: boolean }>(sql`
    select state, backend_xmin is not null as "hasSnapshot" from pg_stat_activity where application_name = 'lessor clearing'`)
    t.strictSame([...rows], [{ state: 'idle in transaction', hasSnapshot: false }])
  },
)

t.test('a row that a tenant is writing is waited for as well, and so is a key', async (t) => {
  const watcher = openAdmin(t)
  await watcher.script('create table public.stock (id integer primary key, n integer)')
  await watcher.script('insert into public.stock values (1, 0)')
  const tenant = await login(t, watcher)
  await watcher.script(`grant select, insert, update on public.stock to ${tenant.name}`)
  const patient = openAdmin(t, { ordinaryMs: 600_000 })
  for (const [theirs, ours] of [
    ['update public.stock set n = 1 where id = 1', 'update public.stock set n = n + 1'],
    [
      'insert into public.stock values (2, 0)',
      'insert into public.stock values (2, 1) on conflict do nothing',
    ],
  ] as const) {
    const session = await tenant.open()
    await session.connection.command('begin').result
    await session.run(theirs)
    const changed = patient.script(ours)
    await waiting(watcher, 'lessor admin')
    await looked(watcher, 40)
    await session.connection.command('commit').result
    await changed
    t.equal(await isOpen(session), true, theirs)
  }
  const old = await tenant.open()
  await old.connection.command('begin').result
  await old.run('update public.stock set n = 5 where id = 1')
  await openAdmin(t, { ordinaryMs: 1 }).script('update public.stock set n = 6 where id = 1')
  await old.connection.lost
  const [row] = await watcher.query<{ n: number }>(sql`select n from public.stock where id = 1`)
  t.equal(row?.n, 6)
})

t.test('a move with short lock timeouts gets past a transaction that is too old', async (t) => {
  const admin = openAdmin(t, { ordinaryMs: 1 })
  const session = await (await login(t, admin)).open()
  await session.connection.command('begin').result
  await session.run('select from public.goods')
  const patience = { lockTimeoutMs: 300, patienceMs: 60_000 }
  await withLockRetries(admin, patience, new AbortController().signal, (tx) =>
    tx.script('alter table public.goods add column if not exists e integer'),
  )
  t.equal(await session.connection.lost, undefined)
})

t.test('a session of no tenant is never ended, and the error names it', async (t) => {
  const admin = openAdmin(t, { lockTimeoutMs: 1_000 })
  const other = await login(t, admin, 'reporting')
  const session = await other.open()
  await session.connection.command('begin').result
  await session.run('lock table public.goods in share mode')
  await rejectsLike(t, admin.script('alter table public.goods add column if not exists f integer'), {
    code: 'SERVER_BUSY',
    message:
      'Sessions of the data server hold what an administrator needs (1 of reporting); end them, or try again when they have ended.',
    retryAfterSeconds: 1,
  })
  t.equal(await isOpen(session), true)
  await session.connection.command('commit').result
})

t.test('a lock timeout that its caller has set is its caller’s', async (t) => {
  const admin = openAdmin(t)
  const session = await (await login(t, admin, 'reader')).open()
  await session.connection.command('begin').result
  await session.run('select from public.goods')
  const change = admin.transaction(async (tx) => {
    await tx.query(sql`set local lock_timeout = 50`)
    await tx.script('alter table public.goods add column if not exists g integer')
  })
  await rejectsLike(t, change, { code: '55P03' })
})

t.test('an administrator who is no superuser clears its way, and keeps no membership', async (t) => {
  const superuser = openAdmin(t)
  await superuser.script(`create role landlord login createrole password '${PASSWORD}'`)
  const url = new URL(server.url)
  url.username = 'landlord'
  url.password = PASSWORD
  const admin = openAdmin(t, {}, url.href)
  await superuser.script('grant create on schema public to landlord')
  const name = `tg_${randomUUID().replaceAll('-', '')}`
  await admin.script(`create role ${name} login password '${PASSWORD}'`)
  url.username = name
  const session = await openSession(t, url.href)
  await session.connection.command('begin').result
  await session.run(`alter role current_user set work_mem = '1MB'`)
  await session.run(`alter role current_user password 'own'`)
  await admin.script(`alter role ${name} nologin`)
  await session.connection.lost
  t.strictSame([...(await admin.query(sql`select pg_has_role(${name}, 'usage') as may`))], [{ may: false }])
})

t.test('tenants that fill the table of locks are ended when an administrator finds no room', async (t) => {
  const admin = openAdmin(t)
  const [tenant, bystander] = [await login(t, admin), await (await login(t, admin)).open()]
  // So that the second connection is there: with a full table none can be opened.
  const first = await tenant.open()
  await first.connection.command('begin').result
  await first.run(`alter role current_user password 'own'`)
  await admin.script(`alter role ${tenant.name} password '${PASSWORD}'`)
  await first.connection.lost

  const session = await tenant.open()
  await rejectsLike(t, session.run('select pg_advisory_lock(i) from generate_series(1, 100000) i'), {
    code: '53200',
  })
  await admin.script(`create role tb_late nologin; create table public.late (id integer primary key)`)
  await session.connection.lost
  t.equal(await isOpen(bystander), true)
})

t.test('who is no tenant keeps its locks, though an administrator finds no room', async (t) => {
  const admin = openAdmin(t)
  const tenant = await login(t, admin)
  // So that the second connection is there.
  const first = await tenant.open()
  await first.connection.command('begin').result
  await first.run(`alter role current_user password 'own'`)
  await admin.script(`alter role ${tenant.name} password '${PASSWORD}'`)
  await first.connection.lost
  const other = await (await login(t, admin, 'bookkeeping')).open()
  await other.run('select pg_advisory_lock(-i) from generate_series(1, 150) i')
  const thief = await tenant.open()
  await rejectsLike(t, thief.run('select pg_advisory_lock(i) from generate_series(1, 100000) i'), {
    code: '53200',
  })
  await admin.script('create table public.later (id integer primary key)')
  await thief.connection.lost
  t.equal(await isOpen(other), true)
})

t.test('a transaction that has begun is not run again by itself, be the table of locks full', async (t) => {
  const admin = openAdmin(t)
  const session = await (await login(t, admin)).open()
  let runs = 0
  const change = admin.transaction(async (tx) => {
    runs += 1
    await session.run('select pg_advisory_lock(i) from generate_series(1, 100000) i').catch(() => {})
    await tx.query(sql`select pg_advisory_xact_lock(-i) from generate_series(1, 1000) i`)
  })
  await rejectsLike(t, change, { code: '53200' })
  t.equal(runs, 1)
})

t.test(
  'a transaction that needs too many locks by itself fails, and no session is ended for it',
  async (t) => {
    const admin = openAdmin(t)
    const session = await (await login(t, admin)).open()
    await session.run('select pg_advisory_lock(0)')
    let runs = 0
    const greedy = admin.transaction(async (tx) => {
      runs += 1
      await tx.query(sql`select pg_advisory_xact_lock(i) from generate_series(1, 100000) i`)
    })
    await rejectsLike(t, greedy, { code: '53200' })
    t.equal(runs, 1)
    t.equal(await isOpen(session), true)
  },
)

t.test(
  'a transaction that an index is waiting for is as ordinary as the rows that it has written',
  async (t) => {
    const watcher = openAdmin(t)
    const tenant = await login(t, watcher)
    const [young, old] = [await tenant.open(), await tenant.open()]
    const waitsFor = async () =>
      (
        await watcher.query<{ locktype: string }>(sql`
        select l.locktype from pg_locks l join pg_stat_activity a using (pid)
        where a.application_name = 'lessor admin' and not l.granted`)
      ).map(({ locktype }) => locktype)

    await young.connection.command('begin').result
    await young.run('insert into public.goods values (1)')
    const made = openAdmin(t, { ordinaryMs: 600_000 }).script(
      'create index concurrently by_id on public.goods (id)',
    )
    await waiting(watcher, 'lessor admin')
    t.strictSame(await waitsFor(), ['virtualxid'])
    await Promise.race([looked(watcher, 12), young.connection.lost])
    t.equal(await isOpen(young), true)
    await young.connection.command('commit').result
    await made

    await old.connection.command('begin').result
    await old.run('insert into public.goods values (2)')
    await openAdmin(t, { ordinaryMs: 1 }).script('drop index concurrently public.by_id')
    await old.connection.lost
  },
)

t.test('what looks for another administrator is not in the way of an index', async (t) => {
  const admin = openAdmin(t, { ordinaryMs: 600_000 })
  await login(t, admin)
  const look = async (parameters: Record<string, string>) => {
    const session = await openSession(t, server.url, parameters)
    await session.connection.command('begin').result
    await session.run('set transaction isolation level repeatable read')
    await session.run('select 1 from public.goods')
    return session
  }
  const clearing = await look({ application_name: 'lessor clearing' })
  await admin.script('create index concurrently by_id_too on public.goods (id)')
  await clearing.connection.lost

  // A tenant's session may take any name.
  const disguised = await (await login(t, admin)).open('lessor clearing')
  await disguised.connection.command('begin').result
  await disguised.run('set transaction isolation level repeatable read')
  await disguised.run('select 1 from public.goods')
  const made = admin.script('create index concurrently by_id_three on public.goods (id)')
  await Promise.race([looked(admin, 12), disguised.connection.lost])
  t.equal(await isOpen(disguised), true)
  await disguised.connection.command('commit').result
  await made

  const report = await look({ application_name: 'a report' })
  const dropped = admin.script('drop index concurrently public.by_id_too')
  await report.connection.command('commit').result
  await dropped
  t.equal(await isOpen(report), true, 'what is none of ours is waited for')
})

t.test(
  'of a transaction whose age it may not see an administrator knows since when it is in the way',
  async (t) => {
    const superuser = openAdmin(t)
    await superuser.script(`
    create role steward login createrole password '${PASSWORD}';
    grant create on schema public to steward`)
    const url = new URL(server.url)
    Object.assign(url, { username: 'steward', password: PASSWORD })
    const steward = url.href
    const [strict, patient] = [
      openAdmin(t, { ordinaryMs: 1 }, steward),
      openAdmin(t, { ordinaryMs: 600_000 }, steward),
    ]
    const name = `tg_${randomUUID().replaceAll('-', '')}`
    await strict.script(`
    create table public.stewarded (id integer);
    create role ${name} login password '${PASSWORD}';
    grant select, insert on public.stewarded to ${name}`)
    Object.assign(url, { username: name })
    const session = await openSession(t, url.href, { lock_timeout: '0', statement_timeout: '0' })
    await session.connection.command('begin').result
    await session.run('insert into public.stewarded values (1)')
    const seen = await strict.query<{ since: unknown }>(
      sql`select xact_start as since from pg_stat_activity where usename = ${name}`,
    )
    t.strictSame([...seen], [{ since: null }])

    const slow = patient.script('alter table public.stewarded add column a integer')
    const cancelled = rejectsLike(t, slow, { code: '57014' })
    await waiting(superuser, 'lessor admin')
    await Promise.race([looked(superuser, 12), session.connection.lost])
    await superuser.query(sql`
    select pg_cancel_backend(pid) from pg_stat_activity
    where application_name = 'lessor admin' and wait_event_type = 'Lock'`)
    await cancelled
    t.equal(await isOpen(session), true, 'not before its time')

    await strict.script('alter table public.stewarded add column a integer')
    await session.connection.lost
  },
)

t.test('a session is ended only while it is of the role that was seen', async (t) => {
  const admin = openAdmin(t)
  const tenant = await login(t, admin)
  const other = await login(t, admin)
  const session = await tenant.open()
  const [row] = await session.query<{ pid: number }>(sql`select pg_backend_pid() as pid`)
  const pid = row?.pid ?? 0
  const roleId = async (name: string) => {
    const [found] = await admin.query<{ id: number }>(
      sql`select oid::bigint::float8 as id from pg_roles where rolname = ${name}`,
    )
    return found?.id ?? 0
  }
  t.strictSame([...(await admin.query(ending({ pid, roleId: await roleId(other.name) })))], [])
  t.equal(await isOpen(session), true)
  t.strictSame(
    [...(await admin.query(ending({ pid, roleId: await roleId(tenant.name) })))],
    [{ ended: true }],
  )
  await session.connection.lost
})
