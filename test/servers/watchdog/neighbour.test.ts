import t from 'tap'
import { type Attacker, openStage } from './stage.ts'

t.setTimeout(120_000)

const house = await openStage(t, { maxConnections: 30 })

t.test('a tenant cannot make a neighbour that reads and writes rows look guilty', async (t) => {
  const stage = house.inTest(t)
  const [mean, good] = [await stage.login(), await stage.login()]
  const [table, other] = [await stage.sharedTable(), await stage.sharedTable()]
  const worker = await stage.session(good)
  await worker.run(`begin; insert into ${table} values (1); update ${table} set tenant = 'good';
    select * from ${other} for update`)
  const { blocked, ended, errors, watch } = stage.watch(
    {
      blockingMs: 1,
      requestMs: 600_000,
      transactionMs: 600_000,
      lockPart: 0.1,
      sessionPart: 0.2,
      poolSessions: 2,
    },
    { offences: { count: 1, withinMs: 600_000 } },
  )

  // Waits for what the neighbour has, each by another lock.
  const attempts = [
    `lock table ${table} in access exclusive mode`,
    `lock table ${other} in exclusive mode`,
    `insert into ${table} values (1)`,
    `alter table ${table} add column mine integer`,
    `truncate ${other}`,
  ]
  const thieves: Attacker[] = []
  for (const attempt of attempts) {
    const thief = await stage.session(mean)
    await thief.run('begin')
    thief.begin(attempt)
    thieves.push(thief)
  }
  for (let pass = 0; pass < 10; pass++) await watch.pass()
  await watch.settled()
  t.ok(await worker.isAlive())
  t.notOk(ended.some(({ login }) => login === good))
  t.notOk(blocked.some(({ login }) => login === good))
  t.strictSame(errors, [])
  await worker.run('commit')
})

t.test(
  "a tenant that asks for a neighbour's schema does not make it guilty, and is ended in its way",
  async (t) => {
    const stage = house.inTest(t)
    const [mean, good] = [await stage.login(), await stage.login()]
    await house.admin.script(`create schema of_good; grant all on schema of_good to ${good}`)
    t.teardown(() => house.admin.script('drop schema of_good cascade'))
    const [worker, second] = [await stage.session(good), await stage.session(good)]
    await worker.run('begin; create table of_good.report as select 1 as one')
    const thief = await stage.session(mean)
    // It is looked whether it may after the lock is there.
    thief.begin('drop schema of_good')
    await stage.untilWaits(thief)
    const { reasons, until, watch } = stage.watch({ blockingMs: 1 })
    for (let pass = 0; pass < 10; pass++) await watch.pass()
    t.strictSame(reasons(), [])
    second.begin('create table of_good.other (id integer)')
    await stage.untilWaits(second)
    await until(async () => !(await thief.isAlive()))
    t.strictSame(reasons(), [[thief.pid, 'blocking']])
    await worker.run('commit')
  },
)

t.test('a tenant cannot make a neighbour guilty of predicate locks that are kept for it', async (t) => {
  const stage = house.inTest(t)
  const table = await stage.sharedTable()
  await house.admin.script(
    `insert into ${table} select i, repeat('x', 500) from generate_series(1, 4000) i; analyze ${table}`,
  )
  const holder = await stage.session(await stage.login())
  await holder.run(`begin isolation level serializable; select from ${table} where id = 1`)
  const worker = await stage.session(await stage.login())
  const { blocked, errors, reasons, until, watch } = stage.watch({ lockPart: 0.12 })
  for (let round = 0; round < 60; round++) {
    await worker.run(`begin isolation level serializable; set local enable_seqscan = off;
      select from ${table} where id = any(array(select ${round} + i * 100 from generate_series(1, 30) i));
      update ${table} set tenant = 'y' where id = ${round + 1}; commit`)
    await watch.pass()
  }
  t.ok(await worker.isAlive())
  t.notOk(reasons().some(([pid]) => pid === worker.pid))
  t.strictSame([blocked, errors], [[], []])
  await until(async () => !(await holder.isAlive()))
  t.strictSame(reasons(), [[holder.pid, 'predicate-locks']])
})

t.test('a neighbour that a tenant holds up is not guilty of what waits for it', async (t) => {
  const stage = house.inTest(t)
  const [mean, good] = [await stage.login(), await stage.login()]
  const table = await stage.sharedTable()
  const [holder, waiter, worker] = [
    await stage.session(mean),
    await stage.session(mean),
    await stage.session(good),
  ]
  await holder.run('select pg_advisory_lock(5, 5)')
  await worker.run(`begin; insert into ${table} values (1)`)
  worker.begin('select pg_advisory_lock(5, 5)')
  await stage.untilWaits(worker)
  waiter.begin(`insert into ${table} values (1)`)
  await stage.untilWaits(waiter)
  const { reasons, watch } = stage.watch({ blockingMs: 1, requestMs: 2 })
  for (let pass = 0; pass < 10; pass++) await watch.pass()
  t.strictSame(reasons(), [])
  t.ok(await worker.isAlive())
})

t.test("ordinary traffic of the service's own pools is never an offence", async (t) => {
  const stage = house.inTest(t)
  const logins = [await stage.login(), await stage.login(), await stage.login()]
  const table = await stage.sharedTable()
  const sessions: Attacker[] = []
  for (const login of logins) {
    for (let index = 0; index < 4; index++) sessions.push(await stage.session(login))
  }
  const { blocked, ended, errors, watch } = stage.watch(
    {
      blockingMs: 2_000,
      requestMs: 15_000,
      transactionMs: 600_000,
      lockPart: 0.12,
      sessionPart: 0.1,
      poolSessions: 4,
    },
    { offences: { count: 1, withinMs: 600_000 } },
  )
  await Promise.all(
    sessions.map(async (session, index) => {
      for (let round = 0; round < 10; round++) {
        await session.run(`begin; insert into ${table} values (${index * 100 + round});
          update ${table} set tenant = 'x' where id = ${index * 100 + round};
          select count(*) from ${table}; notify news; commit`)
        await watch.pass()
      }
    }),
  )
  t.strictSame([ended, blocked, errors], [[], [], []])
})
