import t from 'tap'
import { sql } from '../../../src/pool/statement.ts'
import { openStage } from './stage.ts'

t.setTimeout(120_000)

const house = await openStage(t, { maxConnections: 30 })
const { admin } = house

t.test(
  'a server without a place for ordinary logins gets places back, by a session that was there or a reserved one',
  async (t) => {
    const stage = house.inTest(t)
    const { ended, errors, until, watch } = stage.watch({ sessionPart: 0.1, poolSessions: 2 })
    await watch.pass()
    const thieves = [await stage.login(), await stage.login(), await stage.login()]
    const neighbour = await stage.login()
    const own = [await stage.session(neighbour), await stage.session(neighbour)]
    const fill = async () => {
      for (let index = 0; (await stage.squeezeIn(thieves[index % 3] ?? '')) !== undefined; index++);
    }
    const isOpen = async () => (await stage.squeezeIn(neighbour)) !== undefined
    await fill()
    t.notOk(await isOpen())
    await until(isOpen)
    t.ok(ended.length >= 5)
    t.strictSame(errors, [])

    await fill()
    await admin.query(sql`
    select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'lessor watchdog'`)
    await until(isOpen)
    t.ok(ended.every(({ login }) => login !== null && thieves.includes(login)))
    for (const each of own) t.ok(await each.isAlive())
  },
)
