import { randomUUID } from 'node:crypto'
import t from 'tap'
import { closeLogin, openLogin } from '../../../src/placement/tenant-logins.ts'
import { hexOf, loginName, spaceName } from '../../../src/placement/tenant-names.ts'
import { sql } from '../../../src/pool/statement.ts'
import type { AutovacuumWorker } from '../../../src/servers/watchdog/sight.ts'
import { readSight, stopWorker } from '../../../src/servers/watchdog/watch-queries.ts'
import { rejectsLike } from '../../support/like.ts'
import { openStage } from './stage.ts'

t.setTimeout(120_000)

const house = await openStage(t, { maxConnections: 60 })
const { admin } = house

/** What the lock table holds: 64 for each of 60 sessions, where no version keeps more. */
const { lockSize } = await readSight(admin, 1_000)

/** Takes locks that no session can keep to itself. */
const takeLocks = (count: number) =>
  `select count(pg_advisory_xact_lock(8, i)) from generate_series(1, ${count}) i`

t.test('a login with too many locks loses the session that has most, and its neighbour none', async (t) => {
  const stage = house.inTest(t)
  const [thief, neighbour] = [await stage.login(), await stage.login()]
  const [big, small, other] = [
    await stage.session(thief),
    await stage.session(thief),
    await stage.session(neighbour),
  ]
  const limit = Math.floor(lockSize / 8)
  await big.run(`begin; ${takeLocks(limit)}`)
  await small.run('begin; select pg_advisory_xact_lock(9, 1)')
  await other.run('begin; select pg_advisory_xact_lock(9, 2)')
  const { ended, reasons, until, errors } = stage.watch({ lockPart: 1 / 8 })
  await until(async () => !(await big.isAlive()))
  t.strictSame(reasons(), [[big.pid, 'locks']])
  t.equal(ended[0]?.login, thief)
  t.equal(ended[0]?.facts.of, lockSize)
  t.ok(await small.isAlive())
  t.ok(await other.isAlive())
  t.strictSame(errors, [])
})

t.test('all tenants together may have half of the locks; the biggest goes first', async (t) => {
  const stage = house.inTest(t)
  const part = Math.floor(lockSize / 5)
  const thieves = []
  for (let index = 0; index < 3; index++) {
    const session = await stage.session(await stage.login())
    await session.run(
      `begin; select count(pg_advisory_xact_lock(${index + 20}, i)) from generate_series(1, ${part + index}) i`,
    )
    thieves.push(session)
  }
  const [small, middle, big] = thieves
  const { reasons, until } = stage.watch({ lockPart: 1 / 4 })
  await until(async () => !(await big?.isAlive()))
  t.strictSame(reasons(), [[big?.pid, 'locks']])
  t.ok(await small?.isAlive())
  t.ok(await middle?.isAlive())
})

t.test('locks that need no place in the shared table, and those of other roles, do not count', async (t) => {
  const stage = house.inTest(t)
  const app = await stage.login(`app_${randomUUID().slice(0, 8)}`)
  const own = await stage.session(app)
  await own.run(`begin; ${takeLocks(300)}`)
  const reader = await stage.session(await stage.login())
  await reader.run('begin; select count(*) from pg_class')
  const { watch, reasons } = stage.watch({ lockPart: 2 / lockSize })
  await watch.pass()
  t.strictSame(reasons(), [])
  const sight = await readSight(admin, 1_000)
  t.equal(sight.sessions.find(({ pid }) => pid === reader.pid)?.locks, 0)
})

t.test(
  'a tenant that locks the one view which everybody may write keeps no watch from its work',
  async (t) => {
    const stage = house.inTest(t)
    const thief = await stage.session(await stage.login())
    await thief.run('begin; lock table pg_settings in access exclusive mode')
    const { errors, reasons, until } = stage.watch({ transactionMs: 1 })
    await until(async () => !(await thief.isAlive()))
    t.strictSame([errors, reasons()], [[], [[thief.pid, 'transaction']]])
  },
)

t.test('locks of serializable transactions have a table of their own', async (t) => {
  const stage = house.inTest(t)
  const table = await stage.sharedTable()
  await admin.script(
    `insert into ${table} select i, repeat('x', 500) from generate_series(1, 400) i; analyze ${table}`,
  )
  const thief = await stage.session(await stage.login())
  await thief.run(`begin isolation level serializable; set enable_seqscan = off;
    select count(*) from ${table} where id in (1, 100, 200, 300)`)
  const { predicateSize } = await readSight(admin, 1_000)
  const { reasons, until } = stage.watch({ lockPart: 1 / predicateSize })
  await until(async () => !(await thief.isAlive()))
  t.strictSame(reasons(), [[thief.pid, 'predicate-locks']])
})

t.test(
  'a lock on a shared table that a neighbour waits for is ended, not those who wait for it',
  async (t) => {
    const stage = house.inTest(t)
    const table = await stage.sharedTable()
    const mean = await stage.login()
    const [thief, ownWait] = [await stage.session(mean), await stage.session(mean)]
    const [first, second] = [
      await stage.session(await stage.login()),
      await stage.session(await stage.login()),
    ]
    await thief.run(`begin; lock table ${table} in access exclusive mode`)
    ownWait.begin(`insert into ${table} values (1)`)
    first.begin(`insert into ${table} values (2)`)
    second.begin(`insert into ${table} values (3)`)
    for (const each of [ownWait, first, second]) await stage.untilWaits(each)
    const { reasons, until } = stage.watch({ blockingMs: 20 })
    await until(async () => !(await thief.isAlive()))
    t.strictSame(reasons(), [[thief.pid, 'blocking']])
    for (const each of [ownWait, first, second]) t.ok(await each.isAlive())
  },
)

t.test(
  'who waits for a lock that would stop a shared table is ended, and not the statement it waits for',
  async (t) => {
    const stage = house.inTest(t)
    const table = await stage.sharedTable()
    const [worker, neighbour] = [
      await stage.session(await stage.login()),
      await stage.session(await stage.login()),
    ]
    const thief = await stage.session(await stage.login())
    await worker.run(`begin; insert into ${table} values (1)`)
    thief.begin(`begin; lock table ${table} in access exclusive mode`)
    await stage.untilWaits(thief)
    const { reasons, until, watch } = stage.watch({ blockingMs: 20 })
    // It hurts no one yet: not even by waiting for a neighbour's ordinary statement.
    for (let pass = 0; pass < 5; pass++) await watch.pass()
    t.strictSame(reasons(), [])
    neighbour.begin(`insert into ${table} values (2)`)
    await stage.untilWaits(neighbour)
    await until(async () => !(await thief.isAlive()))
    t.strictSame(reasons(), [[thief.pid, 'blocking']])
    t.ok(await worker.isAlive())
    t.ok(await neighbour.isAlive())
  },
)

t.test('a wait within one tenant is its own affair', async (t) => {
  const stage = house.inTest(t)
  const table = await stage.sharedTable()
  const tenantId = randomUUID()
  const [blue, green] = [
    await stage.login(loginName(tenantId, 'blue')),
    await stage.login(loginName(tenantId, 'green')),
  ]
  const [one, two] = [await stage.session(blue), await stage.session(green)]
  await one.run(`begin; lock table ${table} in access exclusive mode`)
  two.begin(`insert into ${table} values (1)`)
  await stage.untilWaits(two)
  const { reasons, watch } = stage.watch({ blockingMs: 1 })
  for (let pass = 0; pass < 5; pass++) await watch.pass()
  t.strictSame(reasons(), [])
})

t.test(
  "a catalog row that an administrator waits for is ended at once, a table's row after a request's time",
  async (t) => {
    const stage = house.inTest(t)
    const login = await stage.login()
    const thief = await stage.session(login)
    await thief.run(`begin; alter role current_user set work_mem = '1MB'`)
    const operator = await stage.operator()
    const waiting = operator.run(`alter role ${login} set work_mem = '2MB'`).catch(() => {})
    const { reasons, until } = stage.watch({ blockingMs: 20 })
    await until(async () => !(await thief.isAlive()))
    await waiting
    t.strictSame(reasons(), [[thief.pid, 'blocking']])

    const table = await stage.sharedTable()
    await admin.script(`insert into ${table} values (1)`)
    const worker = await stage.session(login)
    await worker.run(`begin; update ${table} set tenant = 'mine' where id = 1`)
    const moving = operator.run(`delete from ${table} where id = 1`).catch(() => {})
    const patient = stage.watch({ blockingMs: 1 })
    for (let pass = 0; pass < 10; pass++) await patient.watch.pass()
    t.strictSame(patient.reasons(), [])
    const late = stage.watch({ blockingMs: 1, requestMs: 50 })
    await late.until(async () => !(await worker.isAlive()))
    await moving
    t.strictSame(late.reasons(), [[worker.pid, 'blocking']])
  },
)

t.test("a grant to a neighbour's role that is in the way of its end is ended", async (t) => {
  const stage = house.inTest(t)
  const thief = await stage.session(await stage.login())
  const victim = `tb_${hexOf(randomUUID())}`
  await admin.script(`create role ${victim}`)
  await thief.run(`begin; alter default privileges grant select on tables to ${victim}`)
  const dropping = (await stage.operator()).run(`drop role ${victim}`)
  const { reasons, until } = stage.watch({ blockingMs: 20 })
  await until(async () => !(await thief.isAlive()))
  await dropping
  t.strictSame(reasons(), [[thief.pid, 'blocking']])
})

t.test('an old transaction is ended, one of a migration is not', async (t) => {
  const stage = house.inTest(t)
  const tenantId = randomUUID()
  const old = await stage.session(await stage.login(loginName(tenantId, 'blue')))
  const migrator = await stage.session(await stage.login(`tm_${hexOf(tenantId)}_0a`))
  const idle = await stage.session(await stage.login(loginName(tenantId, 'green')))
  const other = await stage.session(await stage.login(`app_${randomUUID().slice(0, 8)}`))
  for (const each of [old, migrator, other]) await each.run('begin; select 1')
  const { reasons, until, watch } = stage.watch({ transactionMs: 50 })
  await until(async () => !(await old.isAlive()))
  await watch.pass()
  t.strictSame(reasons(), [[old.pid, 'transaction']])
  for (const each of [migrator, idle, other]) t.ok(await each.isAlive())
})

t.test(
  'sessions are taken from the logins that have most when places become few, the idle first',
  async (t) => {
    const stage = house.inTest(t)
    const [thief, neighbour] = [await stage.login(), await stage.login()]
    const busy = await stage.session(thief)
    await busy.run('begin; select 1')
    const idle = []
    for (let index = 0; index < 5; index++) idle.push(await stage.session(thief))
    const own = [await stage.session(neighbour), await stage.session(neighbour)]
    const { slots } = await readSight(admin, 1_000)
    // Two are missing.
    const free = slots.open - slots.used
    const { ended, reasons, until } = stage.watch({ sessionPart: (free + 1) / slots.open, poolSessions: 3 })
    await until(
      async () => (await readSight(admin, 1_000)).sessions.filter(({ login }) => login === thief).length <= 4,
    )
    t.strictSame(new Set(reasons().map(([, reason]) => reason)), new Set(['sessions']))
    const pids = new Set(idle.map(({ pid }) => pid))
    t.ok(reasons().every(([pid]) => typeof pid === 'number' && pids.has(pid)))
    t.ok(ended.every(({ isOffence }) => isOffence))
    t.ok(await busy.isAlive())
    for (const each of own) t.ok(await each.isAlive())
  },
)

t.test('what autovacuum runs of a tenant is stopped, and its table is left out', async (t) => {
  const stage = house.inTest(t)
  const tenantId = randomUUID()
  const space = spaceName(tenantId)
  const login = await stage.login(loginName(tenantId, 'blue'))
  await admin.script('alter system set autovacuum_naptime = 1')
  await admin.script('select pg_reload_conf()')
  await admin.script(`create schema ${space} authorization ${login}`)
  t.teardown(async () => {
    await admin.script('alter system reset autovacuum_naptime')
    await admin.script('select pg_reload_conf()')
  })
  const owner = await stage.session(login)
  await owner.run(`
    create function ${space}.nap(x integer) returns integer immutable language plpgsql as $$
    begin
      if current_setting('application_name') <> 'test' then perform pg_sleep(3600); end if;
      return x;
    end $$;
    create table ${space}.calm (x integer);
    create table ${space}.mean (x integer);
    create table ${space}.waits (x integer);
    create index on ${space}.mean (${space}.nap(x));
    create index on ${space}.waits (${space}.nap(x));
    alter table ${space}.mean set (autovacuum_analyze_threshold = 1, autovacuum_analyze_scale_factor = 0);
    insert into ${space}.mean select generate_series(1, 100)`)
  let found: AutovacuumWorker | undefined
  while (found === undefined) {
    found = (await readSight(admin, 1_000)).workers.find(({ isHeld, work }) => isHeld && work.includes(space))
  }
  // As if it had gone on since it was seen.
  await stopWorker(admin, { ...found, work: `autovacuum: ANALYZE ${space}.calm` })
  t.strictSame(
    [
      ...(await admin.query(sql`select relname from pg_class
      where relnamespace = ${space}::regnamespace and reloptions @> array['autovacuum_enabled=false']`)),
    ],
    [],
  )

  const { errors, ended, until, written } = stage.watch(
    { blockingMs: 1 },
    { offences: { count: 1, withinMs: 600_000 } },
  )
  await until(async () => written.length > 0)
  t.strictSame(errors, [])
  t.strictSame(
    written.map(({ login: of, reason }) => [of, reason]),
    [[login, 'autovacuum']],
    'it is put down to the login in use',
  )
  t.strictSame(
    ended.map(({ reason, tenantId: of, login: by }) => [reason, of, by]),
    [['autovacuum', tenantId, null]],
  )
  const tables = await admin.query<{ relname: string; reloptions: string[] | null }>(sql`
    select relname, reloptions from pg_class where relnamespace = ${space}::regnamespace and relkind = 'r' order by 1`)
  t.strictSame(
    tables.map(({ relname, reloptions }) => [
      relname,
      reloptions?.includes('autovacuum_enabled=false') ?? false,
    ]),
    [
      ['calm', false],
      ['mean', true],
      ['waits', true],
    ],
  )
})

t.test('a look at a server costs no lock that a tenant can hold', async (t) => {
  const stage = house.inTest(t)
  const table = await stage.sharedTable()
  const login = await stage.login()
  const thief = await stage.session(login)
  await thief.run(
    `begin; lock table ${table} in access exclusive mode; alter role current_user set work_mem = '1MB'`,
  )
  const { errors, watch, reasons } = stage.watch({})
  await watch.pass()
  t.strictSame([errors, reasons()], [[], []])
})

t.test(
  'a login that is ended too often is closed and written down, and the count begins again',
  async (t) => {
    const stage = house.inTest(t)
    const login = await stage.login()
    const { blocked, ended, errors, until, written } = stage.watch(
      { transactionMs: 20 },
      { offences: { count: 2, withinMs: 600_000 } },
    )
    for (let time = 0; time < 2; time++) {
      const session = await stage.session(login)
      await session.run('begin; select 1')
      await until(async () => !(await session.isAlive()))
    }
    await until(async () => blocked.length > 0)
    t.equal(ended.length, 2)
    const [row] = await admin.query<{ can: boolean }>(
      sql`select rolcanlogin as can from pg_roles where rolname = ${login}`,
    )
    t.equal(row?.can, false)
    const offender = {
      server: 'default',
      tenantId: ended[0]?.tenantId,
      login,
      reason: 'transaction',
      isVisitor: false,
    }
    t.strictSame(written, [offender])
    t.strictSame(blocked, [offender])
    t.strictSame(errors, [])
    await rejectsLike(t, stage.session(login), { code: 'SERVER_UNAVAILABLE' })
  },
)

t.test('what a login is ended for in one pass is one offence', async (t) => {
  const stage = house.inTest(t)
  const login = await stage.login()
  const sessions = [await stage.session(login), await stage.session(login), await stage.session(login)]
  for (const each of sessions) await each.run('begin; select 1')
  const { blocked, ended, until, watch } = stage.watch(
    { transactionMs: 0 },
    { offences: { count: 2, withinMs: 600_000 } },
  )
  await until(async () => ended.length > 0)
  await watch.settled()
  t.equal(ended.length, 3)
  t.strictSame(blocked, [])
  await stage.session(login)
})

t.test(
  'a block that cannot be written down is closed on the server at once, and written down later',
  async (t) => {
    const stage = house.inTest(t)
    const login = await stage.login()
    let isAway = true
    const written: string[] = []
    const { blocked, errors, until, watch } = stage.watch(
      { transactionMs: 20 },
      {
        offences: { count: 1, withinMs: 600_000 },
        logins: {
          block: async (offender) => {
            if (isAway) throw new Error('the control database is away')
            written.push(offender.login)
          },
          list: async () => [],
          whileBlocked: (_, work) => work(),
          current: async () => undefined,
        },
      },
    )
    const session = await stage.session(login)
    await session.run('begin; select 1')
    await until(async () => errors.length > 0)
    await rejectsLike(t, stage.session(login), { code: 'SERVER_UNAVAILABLE' })
    t.strictSame(blocked, [])
    isAway = false
    await watch.pass()
    await watch.settled()
    t.strictSame(written, [login])
    t.equal(blocked.length, 1)
  },
)

t.test('the first pass closes the logins that are written down', async (t) => {
  const stage = house.inTest(t)
  const [login, other] = [await stage.login(), await stage.login()]
  const session = await stage.session(login)
  const { watch, errors } = stage.watch(
    {},
    {
      logins: {
        block: async () => {},
        list: async () => [login],
        whileBlocked: (_, work) => work(),
        current: async () => undefined,
      },
    },
  )
  await watch.pass()
  await watch.settled()
  t.notOk(await session.isAlive())
  await rejectsLike(t, stage.session(login), { code: 'SERVER_UNAVAILABLE' })
  await stage.session(other)
  t.strictSame(errors, [])
})

t.test('a login whose block is lifted before it is closed again stays open', async (t) => {
  const stage = house.inTest(t)
  const login = await stage.login()
  const session = await stage.session(login)
  const asked: string[] = []
  const { watch, errors } = stage.watch(
    {},
    {
      logins: {
        block: async () => {},
        list: async () => [login],
        whileBlocked: async (of) => void asked.push(of),
        current: async () => undefined,
      },
    },
  )
  await watch.pass()
  await watch.settled()
  t.strictSame([asked, errors], [[login], []])
  t.ok(await session.isAlive())
  await stage.session(login)
})

t.test('a login closes whose role is changed by its own session, which ends', async (t) => {
  const stage = house.inTest(t)
  const login = await stage.login()
  const session = await stage.session(login)
  await session.run(`begin; alter role current_user password 'mine'`)
  await closeLogin(admin, login)
  t.notOk(await session.isAlive())
  await rejectsLike(t, stage.session(login), { code: 'SERVER_UNAVAILABLE' })
  await openLogin(admin, login)
  await stage.session(login)
})

t.test('a session of the watch that is lost is opened again', async (t) => {
  const stage = house.inTest(t)
  const { errors, passes, watch } = stage.watch({})
  await watch.pass()
  t.equal(passes(), 1)
  const mine = sql`select pid from pg_stat_activity where application_name = 'lessor watchdog'`
  const [first] = await admin.query<{ pid: number }>(mine)
  await admin.query(sql`select pg_terminate_backend(${first?.pid ?? 0}::integer, 5000)`)
  for (let pass = 0; pass < 3; pass++) await watch.pass()
  t.ok(passes() >= 2)
  t.ok(errors.length <= 1)
  const after = await admin.query<{ pid: number }>(mine)
  t.equal(after.length, 1)
  t.not(after[0]?.pid, first?.pid)
})

t.test('an administrator who may not log in makes no noise but a failure, and passes go on', async (t) => {
  const stage = house.inTest(t)
  let isAway = true
  const { errors, passes, watch } = stage.watch(
    {},
    {
      login: async () => {
        if (isAway) throw new Error('no login is known')
        return house.address
      },
    },
  )
  await watch.pass()
  t.equal(passes(), 0)
  t.equal(errors.length, 1)
  isAway = false
  await watch.pass()
  t.equal(passes(), 1)
  isAway = true
  watch.reopen()
  await watch.pass()
  t.equal(passes(), 2, 'with the login that it has')
  t.equal(errors.length, 2)
})
