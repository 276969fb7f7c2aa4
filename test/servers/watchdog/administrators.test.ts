import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { loginName } from '../../../src/placement/tenant-names.ts'
import { sql } from '../../../src/pool/statement.ts'
import { ServerAdmin } from '../../../src/servers/server-admin.ts'
import type { WatchLimits } from '../../../src/servers/watchdog/policy.ts'
import { testedVersion } from '../../postgres/environment.ts'
import { rejectsLike } from '../../support/like.ts'
import { LAX, openStage, PASSWORD, sessionAddress } from './stage.ts'

t.setTimeout(120_000)

const house = await openStage(t, { maxConnections: 30, settings: { max_prepared_transactions: 10 } })
const { address, admin } = house

/** Makes an administrator who is no superuser, and by him a tenant's login. */
async function openOther(t: Test, grants: string) {
  const name = `keeper_${randomUUID().slice(0, 8)}`
  const login = loginName(randomUUID(), 'blue')
  await admin.script(
    `create role ${name} login createrole password '${PASSWORD}'; ${grants.replaceAll('$', name)}`,
  )
  const at = sessionAddress(address, name)
  const keeper = new ServerAdmin({ address: at })
  await keeper.script(`create role ${login} login password '${PASSWORD}'`)
  t.teardown(async () => {
    await keeper.close()
    const rest = new ServerAdmin({ address })
    await rest.query(
      sql`select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename in (${name}, ${login})`,
    )
    await rest.script(`drop owned by ${login}, ${name}; drop role ${login}; drop role ${name}`)
    await rest.close()
  })
  return { name, login, watchAs: { login: async () => at } }
}

for (const [who, grants] of [
  ['no superuser', ''],
  ['no superuser, and may see and end all sessions', 'grant pg_read_all_stats, pg_signal_backend to $'],
] as const) {
  t.test(`an administrator who is ${who} ends sessions and blocks`, async (t) => {
    const stage = house.inTest(t)
    const { login, name, watchAs } = await openOther(t, grants)
    const session = await stage.session(login)
    await session.run('begin; select 1')
    let limits: WatchLimits = { ...LAX, transactionMs: 50 }
    const { blocked, errors, reasons, until } = stage.watch(
      {},
      { ...watchAs, limits: () => limits, offences: { count: 2, withinMs: 600_000 } },
    )
    await until(async () => !(await session.isAlive()))
    t.strictSame(reasons(), [[session.pid, 'transaction']])
    // What he gave himself he gives back, once the session is gone.
    const members = sql`
      select from pg_auth_members m
      where m.roleid = ${login}::regrole and m.member = ${name}::regrole and m.grantor <> 10`
    await until(async () => (await admin.query(members)).length === 0)

    const [again, table] = [await stage.session(login), await stage.sharedTable()]
    const neighbour = await stage.session(await stage.login())
    await again.run(`begin; lock table ${table} in access exclusive mode`)
    neighbour.begin(`insert into ${table} values (1)`)
    await stage.untilWaits(neighbour)
    // The neighbour's transaction is as old as its wait.
    limits = { ...LAX, blockingMs: 20 }
    await until(async () => blocked.length > 0)
    t.strictSame(
      blocked.map(({ login: of }) => of),
      [login],
    )
    await rejectsLike(t, stage.session(login), { code: 'SERVER_UNAVAILABLE' })
    t.ok(await neighbour.isAlive())
    t.strictSame(errors, [])
  })

  t.test(`an administrator who is ${who} rolls back what was prepared`, async (t) => {
    const stage = house.inTest(t)
    const { login, watchAs } = await openOther(t, grants)
    const session = await stage.session(login)
    await session.run(`begin; select 1; prepare transaction '${login}'`)
    const { errors, reasons, until } = stage.watch({ transactionMs: 20 }, watchAs)
    await until(async () => (await admin.query(sql`select from pg_prepared_xacts`)).length === 0)
    t.strictSame([reasons(), errors], [[[login, 'transaction']], []])
  })
}

t.test('a login that he may not take on does not keep an administrator from ending the others', async (t) => {
  const stage = house.inTest(t)
  const { login, watchAs } = await openOther(t, 'grant pg_read_all_stats to $')
  const foreignLogin = await stage.login()
  const [foreign, own] = [await stage.session(foreignLogin), await stage.session(login)]
  for (const session of [foreign, own]) await session.run('begin; select 1')
  const { errors, reasons, until } = stage.watch({ transactionMs: 50 }, watchAs)
  await until(async () => !(await own.isAlive()))
  if (Number(testedVersion()) < 16) {
    // Who makes roles may take on each that is no superuser.
    await until(async () => !(await foreign.isAlive()))
    t.strictSame(
      new Map(reasons()),
      new Map([
        [own.pid, 'transaction'],
        [foreign.pid, 'transaction'],
      ]),
    )
    t.strictSame(errors, [])
    return
  }
  t.strictSame(reasons(), [[own.pid, 'transaction']])
  t.ok(await foreign.isAlive())
  t.strictSame(
    [...new Set(errors.map(String))],
    [`PostgresError: permission denied to grant role "${foreignLogin}"`],
  )
})

t.test('an administrator without a place tries again at each pass, a superuser has one', async (t) => {
  const stage = house.inTest(t)
  const { watchAs } = await openOther(t, '')
  const thief = await stage.login()
  while ((await stage.squeezeIn(thief)) !== undefined);
  const poor = stage.watch({ sessionPart: 0.1, poolSessions: 2 }, watchAs)
  await poor.watch.pass()
  await poor.watch.pass()
  t.strictSame([poor.errors.length, poor.passes()], [2, 0])
  const rich = stage.watch({ sessionPart: 0.1, poolSessions: 2 })
  await rich.until(async () => (await stage.squeezeIn(thief)) !== undefined)
  t.strictSame(rich.errors, [], 'a superuser has a place')
  await poor.watch.pass()
  t.equal(poor.passes(), 1, 'and now he has one as well')
})
