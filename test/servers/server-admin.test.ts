import t from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { sql } from '../../src/pool/statement.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { testDatabase } from '../support/database.ts'
import { like } from '../support/like.ts'

const { url } = await testDatabase(t)
const address = parseDatabaseUrl(url)

t.test('work elsewhere has so many connections and no more, and they are closed after it', async (t) => {
  const admin = new ServerAdmin({ address, maxElsewhere: 2 })
  t.teardown(() => admin.close())
  let [running, most] = [0, 0]
  const pids: number[] = []
  const work = () =>
    admin.inDatabase('postgres', async (db) => {
      running += 1
      most = Math.max(most, running)
      const [row] = await db.query<{ pid: number; name: string }>(sql`
        select pg_backend_pid() as pid, current_database()::text as name`)
      t.equal(row?.name, 'postgres')
      if (row) pids.push(row.pid)
      running -= 1
    })
  await Promise.all([work(), work(), work(), work(), work()])
  t.equal(most, 2)
  t.equal(new Set(pids).size, 5)
  for (let left = 1; left > 0; ) {
    const [row] = await admin.query<{ left: number }>(sql`
      select count(*)::integer as left from pg_stat_activity where pid::text = any(${pids.map(String)})`)
    left = row?.left ?? 0
  }
})

t.test('work that fails gives its turn to the next', async (t) => {
  const admin = new ServerAdmin({ address, maxElsewhere: 1 })
  t.teardown(() => admin.close())
  const outcomes = await Promise.allSettled([
    admin.inDatabase('no_such_database', (db) => db.query(sql`select 1`)),
    admin.inDatabase('postgres', async () => {
      throw new Error('the work')
    }),
    admin.asLogin({ user: address.user, password: address.password }, (db) =>
      db.query(sql`select current_user::text as name`),
    ),
  ])
  like(t, outcomes, [
    { status: 'rejected', reason: { code: 'SERVER_UNAVAILABLE' } },
    { status: 'rejected', reason: { message: 'the work' } },
    { status: 'fulfilled', value: [{ name: address.user }] },
  ])
})
