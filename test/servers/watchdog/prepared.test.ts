import t from 'tap'
import { dropLogin } from '../../../src/placement/tenant-logins.ts'
import { sql } from '../../../src/pool/statement.ts'
import { readSight } from '../../../src/servers/watchdog/watch-queries.ts'
import { OwnServer } from '../../faults/own-server.ts'
import { withAdmin } from '../../support/template.ts'
import { openStage } from './stage.ts'

const server = await OwnServer.start(t)
await withAdmin(server.url, (admin) => admin.unsafe('alter system set max_prepared_transactions = 4'))
await restart()
process.env.WATCHED_DATABASE_URL = server.url
const house = await openStage(t)
const { admin } = house

for (const isRestarted of [false, true]) {
  t.test(
    `a prepared transaction that others wait for is rolled back, ${isRestarted ? 'after' : 'before'} a restart of the server`,
    async (t) => {
      const stage = house.inTest(t)
      const table = await stage.sharedTable()
      const [thief, neighbour] = [await stage.login(), await stage.login()]
      const session = await stage.session(thief)
      await session.run(`begin; lock table ${table} in access exclusive mode; prepare transaction 'held'`)
      if (isRestarted) await restart()
      const waiting = await stage.session(neighbour)
      waiting.begin(`select from ${table}`)
      await stage.untilWaits(waiting)
      const { reasons, until, errors } = stage.watch({ blockingMs: 1 })
      await until(async () => (await admin.query(sql`select from pg_prepared_xacts`)).length === 0)
      t.strictSame(reasons(), [['held', 'blocking']])
      t.strictSame(errors, [])
    },
  )
}

t.test("the locks of prepared transactions are their login's", async (t) => {
  const stage = house.inTest(t)
  const thief = await stage.login()
  const session = await stage.session(thief)
  await session.run(`begin; select count(pg_advisory_xact_lock(8, i)) from generate_series(1, 1000) i;
    prepare transaction 'many'`)
  const { prepared } = await readSight(admin, 1_000)
  t.strictSame(
    prepared.map(({ gid, login, locks }) => ({ gid, login, hasAll: locks >= 1_000 && locks < 1_010 })),
    [{ gid: 'many', login: thief, hasAll: true }],
  )
  const { reasons, until } = stage.watch({ lockPart: 1 / 8 })
  await until(async () => (await admin.query(sql`select from pg_prepared_xacts`)).length === 0)
  t.strictSame(reasons(), [['many', 'locks']])
})

t.test('a login that is dropped leaves no prepared transaction behind', async (t) => {
  const stage = house.inTest(t)
  const table = await stage.sharedTable()
  const thief = `tb_${'ab'.repeat(16)}`
  await stage.login(thief)
  const session = await stage.session(thief)
  await session.run(`begin; lock table ${table} in access exclusive mode; prepare transaction 'left'`)
  await dropLogin(admin, thief)
  t.equal((await admin.query(sql`select from pg_prepared_xacts`)).length, 0)
  await admin.script(`create role ${thief}`)
})

async function restart(): Promise<void> {
  await server.stop()
  await server.startAgain()
}
