import t from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { migrate, readMigrations } from '../../src/control/migrate.ts'
import { LessorError } from '../../src/errors.ts'
import { sql } from '../../src/pool/statement.ts'
import { DataServers } from '../../src/servers/data-servers.ts'
import { testDatabase } from '../support/database.ts'
import { rolePlacement } from '../tenants/house.ts'

const { url } = await testDatabase(t, { template: 'control' })
const db = new ControlDatabase({ url })
t.teardown(() => db.close())

t.test('the first data server is the database of the configuration', async (t) => {
  const servers = new DataServers({ db, address: parseDatabaseUrl(url) })
  t.teardown(() => servers.close())
  await servers.start([rolePlacement()])
  const { host, port, database } = parseDatabaseUrl(url)
  const [row] = await servers.list()
  t.match(row, { name: 'default', host, port, database, tls: 'disable' })
  t.notMatch(JSON.stringify([row, servers.address('default')]), parseDatabaseUrl(url).password.reveal())
  await servers.start([])
  t.same(await servers.list(), [row], 'a second start changes nothing')
  t.same(servers.address('default'), { name: 'default', host, port, database, tls: 'disable' })
  const [session] = await servers.admin('default').query(sql`
    select current_setting('application_name') as name, to_regclass('app.users') is not null as prepared`)
  t.same(session, { name: 'lessor admin', prepared: true })
  t.throws(() => servers.admin('other'), { code: 'SERVER_NOT_FOUND' })
  t.throws(() => servers.address('other'), { code: 'SERVER_NOT_FOUND' })
})

t.test('several services that start at once on a new database all get ready', async (t) => {
  const { url } = await testDatabase(t)
  const start = async () => {
    const own = new ControlDatabase({ url })
    t.teardown(() => own.close())
    const servers = new DataServers({ db: own, address: parseDatabaseUrl(url) })
    t.teardown(() => servers.close())
    await migrate(own, await readMigrations())
    await servers.start([rolePlacement()])
    return servers.list()
  }
  for (const list of await Promise.all([start(), start(), start(), start()])) t.equal(list.length, 1)
})

t.test('a server that moved is entered anew', async (t) => {
  const address = { ...parseDatabaseUrl(url), host: 'localhost' }
  const servers = new DataServers({ db, address })
  t.teardown(() => servers.close())
  const [before] = await servers.list()
  await servers.start([])
  const [after] = await servers.list()
  t.match(after, { host: 'localhost' })
  t.ok(before && after && after.updatedAt > before.updatedAt)
})

t.test('a server that cannot be made ready is not entered', async (t) => {
  const { url } = await testDatabase(t, { template: 'control' })
  const own = new ControlDatabase({ url })
  t.teardown(() => own.close())
  const placement = rolePlacement()
  const servers = new DataServers({ db: own, address: parseDatabaseUrl(url) })
  t.teardown(() => servers.close())
  placement.prepare = async () => {
    throw new LessorError('PLACEMENT_UNAVAILABLE')
  }
  await t.rejects(servers.start([placement]), { code: 'PLACEMENT_UNAVAILABLE' })
  t.same(await servers.list(), [])
})

t.test('a server that cannot be reached is one error, and holds no secret', async (t) => {
  const address = parseDatabaseUrl('postgres://me:hunter2@127.0.0.1:1/data')
  const servers = new DataServers({ db, address })
  t.teardown(() => servers.close())
  await t.rejects(servers.admin('default').query(sql`select 1`), {
    code: 'SERVER_UNAVAILABLE',
    retryAfterSeconds: 1,
  })
})
