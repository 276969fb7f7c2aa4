import { mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { sql } from '../../../src/pool/statement.ts'
import { WATCH_NAME, WatchSession } from '../../../src/servers/watchdog/watch-session.ts'
import { rejectsLike, sameRows } from '../../support/like.ts'
import { openStage } from './stage.ts'

t.setTimeout(120_000)

const house = await openStage(t, { maxConnections: 30 })
const { address, admin } = house

async function open(t: Test): Promise<WatchSession> {
  const session = await WatchSession.open(address)
  t.teardown(() => session.close())
  return session
}

/** Sessions by which the server is watched. */
async function watching(): Promise<number> {
  return (await admin.query(sql`select from pg_stat_activity where application_name = ${WATCH_NAME}`)).length
}

/** Another session begins to lock what a watch locks, and no login needs; it has it when no watch has. */
async function lock(t: Test) {
  const operator = await house.inTest(t).operator()
  return {
    pid: operator.pid,
    take: () => operator.run('begin; lock table pg_range in access exclusive mode'),
    release: () => operator.run('rollback'),
  }
}

/** How many locks of this key there are. */
async function advisory(key: number): Promise<number> {
  return (
    await admin.query(sql`select from pg_locks where locktype = 'advisory' and objid = ${key}::integer::oid`)
  ).length
}

const WORK_MEM = sql`select current_setting('work_mem') as memory`

t.test('no limit of the server’s for idle sessions and long transactions ends a watch', async (t) => {
  await admin.script(`
    do $$ declare setting text; begin
      for setting in select name from pg_settings
        where name in ('transaction_timeout', 'idle_in_transaction_session_timeout', 'lock_timeout', 'statement_timeout')
      loop execute format('alter role current_user set %I = 77777', setting); end loop;
    end $$`)
  t.teardown(() => admin.script('alter role current_user reset all'))
  const session = await open(t)
  sameRows(
    t,
    await session.query(sql`
      select coalesce(current_setting('transaction_timeout', true), '0') as transaction,
        current_setting('idle_in_transaction_session_timeout') as idle,
        current_setting('lock_timeout') as lock, current_setting('statement_timeout') as statement`),
    [{ transaction: '0', idle: '0', lock: '1s', statement: '5s' }],
  )
})

t.test('the locks that a look needs are there from look to look', async (t) => {
  const session = await open(t)
  const kept = sql`
    select distinct relation::regclass::text as name
    from pg_locks l join pg_stat_activity a using (pid)
    where a.application_name = ${WATCH_NAME} and l.granted
      and relation in ('pg_prepared_xacts'::regclass, 'pg_range'::regclass) order by 1`
  const both = [{ name: 'pg_prepared_xacts' }, { name: 'pg_range' }]
  sameRows(t, await admin.query(kept), both)
  await session.query(sql`select 1`)
  await rejectsLike(t, session.query(sql`select 1 / 0`), { code: '22012' })
  await session.renew()
  sameRows(t, await admin.query(kept), both)
})

t.test('what a look sees of the sessions is of its own time', async (t) => {
  const session = await open(t)
  const others = sql`select from pg_stat_activity where application_name = 'test'`
  t.equal((await session.query(others)).length, 0)
  await house.inTest(t).operator()
  t.equal((await session.query(others)).length, 1)
})

t.test('what a look changes is undone, whether it fails or not', async (t) => {
  const session = await open(t)
  const [before] = await session.query<{ memory: string }>(WORK_MEM)
  const script = `set local work_mem = 77; select pg_advisory_xact_lock(77)`
  sameRows(t, await session.queryAs(script, WORK_MEM), [{ memory: '77kB' }])
  t.equal(await advisory(77), 0)
  await rejectsLike(t, session.queryAs(script, sql`select 1 / 0`), { code: '22012' })
  t.equal(await advisory(77), 0)
  sameRows(t, await session.query(WORK_MEM), [{ memory: before?.memory }])
})

t.test('a transaction is old after some minutes, and at once when it has changed something', async (t) => {
  const session = await open(t)
  t.equal(session.isOld, false)
  await session.query(sql`select 1`)
  t.equal(session.isOld, false)
  await session.queryAs('set local work_mem = 77', sql`select 1`)
  t.equal(session.isOld, true)
  let now = 1_000_000
  const mocks = [mock.method(performance, 'now', () => now), mock.method(Math, 'random', () => 0.5)]
  try {
    await session.renew()
    now += 179_999
    const young = session.isOld
    now += 1
    t.strictSame([young, session.isOld], [false, true], 'one minute to five')
  } finally {
    for (const each of mocks) each.mock.restore()
  }
})

t.test('a watch that could not take its locks again takes them at its next look', async (t) => {
  const session = await open(t)
  const other = await lock(t)
  const taking = other.take()
  await house.inTest(t).untilWaits(other)
  await rejectsLike(t, session.renew(), { code: '55P03' })
  await taking
  await other.release()
  sameRows(t, await session.query(sql`select 1 as one`), [{ one: 1 }])
})

t.test('one that cannot take them when it is opened leaves no session', async (t) => {
  const other = await lock(t)
  await other.take()
  await rejectsLike(t, WatchSession.open(address), { code: '55P03' })
  await other.release()
  while ((await watching()) > 0) await sleep(5)
  const session = await open(t)
  t.equal(await watching(), 1)
  await session.close()
  t.equal(session.isLost, true)
})
