import t from 'tap'
import { sql } from '../../../src/pool/statement.ts'
import { readSight } from '../../../src/servers/watchdog/watch-queries.ts'
import { smallQueue } from '../../postgres/environment.ts'
import { openStage } from './stage.ts'

t.setTimeout(120_000)

const house = await openStage(t, {
  maxConnections: 30,
  settings: { max_prepared_transactions: 10, ...smallQueue(1_000) },
})
const { admin } = house

async function listPrepared(): Promise<readonly string[]> {
  const rows = await admin.query<{ gid: string }>(sql`select gid from pg_prepared_xacts order by 1`)
  return rows.map(({ gid }) => gid)
}

t.test('prepared transactions that are old, have many locks or block others are rolled back', async (t) => {
  const stage = house.inTest(t)
  const [thief, neighbour] = [await stage.login(), await stage.login()]
  const table = await stage.sharedTable()
  const leave = async (gid: string, text: string) => {
    const session = await stage.session(thief)
    await session.run(`begin; ${text}; prepare transaction '${gid}'`)
  }
  await leave('old', 'select 1')
  const old = stage.watch({ transactionMs: 20 })
  await old.until(async () => (await listPrepared()).length === 0)
  t.strictSame(old.reasons(), [['old', 'transaction']])
  t.equal(old.ended[0]?.login, thief)

  await leave("it''s many", 'select count(pg_advisory_xact_lock(i)) from generate_series(1, 300) i')
  await leave('few', 'select 1')
  const { lockSize } = await readSight(admin, 1_000)
  const full = stage.watch({ lockPart: 200 / lockSize })
  await full.until(async () => (await listPrepared()).length === 1)
  t.strictSame(full.reasons(), [["it's many", 'locks']])

  await leave('in the way', `lock table ${table} in share mode`)
  const worker = await stage.session(neighbour)
  worker.begin(`insert into ${table} values (1)`)
  await stage.untilWaits(worker)
  const blocking = stage.watch({ blockingMs: 20 })
  await blocking.until(async () => (await listPrepared()).length === 1)
  t.strictSame(blocking.reasons(), [['in the way', 'blocking']])
  t.strictSame([...old.errors, ...full.errors, ...blocking.errors], [])
  await admin.script(`rollback prepared 'few'`)
})

const FILL = `do $$ begin for i in 1..200 loop perform pg_notify('c', i || repeat('x', 7900)); end loop; end $$`

async function usage(): Promise<number> {
  const [row] = await admin.query<{ part: number }>(sql`select pg_notification_queue_usage() as part`)
  return row?.part ?? 0
}

t.test('what cannot be ended keeps a pass from nothing else', async (t) => {
  const stage = house.inTest(t)
  const thief = await stage.login()
  await admin.script('create database out_of_reach')
  t.teardown(async () => {
    await admin.script('alter database out_of_reach allow_connections true')
    await admin.inDatabase('out_of_reach', async (db) => {
      for (const gid of ['first', 'third']) await db.script(`rollback prepared '${gid}'`)
    })
    await admin.script('drop database out_of_reach with (force)')
  })
  // Whatever their order, one that cannot be ended comes before the one that can.
  for (const [gid, database] of [
    ['first', 'out_of_reach'],
    ['second', undefined],
    ['third', 'out_of_reach'],
  ] as const) {
    const session = await stage.session(thief, database)
    await session.run(`begin; select 1; prepare transaction '${gid}'`)
  }
  await admin.script('alter database out_of_reach allow_connections false')
  const { errors, passes, reasons, until } = stage.watch({ transactionMs: 20 })
  await until(async () => !(await listPrepared()).includes('second'))
  t.strictSame(reasons(), [['second', 'transaction']])
  t.ok(passes() > 0)
  t.ok(errors.length >= 2)
  t.strictSame(await listPrepared(), ['first', 'third'])
})

t.test('a listener in a transaction is ended before the queue is full', async (t) => {
  const stage = house.inTest(t)
  const [thief, neighbour] = [await stage.login(), await stage.login()]
  const [listener, sender] = [await stage.session(thief), await stage.session(thief)]
  const patient = await stage.session(neighbour)
  const { blocked, ended, errors, until, watch } = stage.watch(
    {},
    { offences: { count: 1, withinMs: 600_000 } },
  )
  await listener.run('listen c')
  await listener.run('begin; select 1')
  while ((await usage()) < 0.12) await sender.run(FILL)
  // Begun when the queue had something in it; so it is not what keeps it.
  await watch.pass()
  await patient.run('begin; select 1')
  await until(async () => !(await listener.isAlive()))
  t.strictSame(
    ended.map(({ isOffence, login, reason }) => [isOffence, login, reason]),
    [[false, thief, 'notify']],
  )
  t.strictSame(blocked, [], 'what keeps the queue cannot be told for sure')
  t.ok(await patient.isAlive())
  t.strictSame(errors, [])
})

t.test('an innocent old transaction is ended for a full queue, and is no offence', async (t) => {
  const stage = house.inTest(t)
  const [thief, neighbour] = [await stage.login(), await stage.login()]
  const patient = await stage.session(neighbour)
  await patient.run('begin; select 1')
  const [listener, sender] = [await stage.session(thief), await stage.session(thief)]
  await listener.run('listen c')
  await listener.run('begin; select 1')
  while ((await usage()) < 0.12) await sender.run(FILL)
  const { blocked, ended, until } = stage.watch({}, { offences: { count: 1, withinMs: 600_000 } })
  await until(async () => ended.length === 2)
  t.strictSame(
    ended.map(({ isOffence, login }) => [isOffence, login]),
    [
      [false, neighbour],
      [false, thief],
    ],
  )
  t.strictSame(blocked, [])
})
