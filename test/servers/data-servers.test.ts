import t from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { migrate, readMigrations } from '../../src/control/migrate.ts'
import { LessorError } from '../../src/errors.ts'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { excludes, like, rejectsLike, sameRows } from '../support/like.ts'
import { rolePlacement } from '../tenants/house.ts'
import { allPlacements, openServers } from './support.ts'

const { url } = await testDatabase(t, { template: 'control' })
const db = new ControlDatabase({ url })
t.teardown(() => db.close())

t.test('the first data server is the database of the configuration', async (t) => {
  const servers = openServers({ db, address: parseDatabaseUrl(url) })
  t.teardown(() => servers.close())
  await servers.start([rolePlacement()])
  const { host, port, database } = parseDatabaseUrl(url)
  const [row] = await servers.list()
  like(t, row, { name: 'default', host, port, database, tls: 'disable' })
  excludes(
    t,
    JSON.stringify([row, await servers.address('default')]),
    parseDatabaseUrl(url).password.reveal(),
  )
  await servers.start([])
  sameRows(t, await servers.list(), [row], 'a second start changes nothing')
  t.strictSame(await servers.address('default'), { name: 'default', host, port, database, tls: 'disable' })
  const [session] = await (await servers.admin('default')).query(sql`
    select current_setting('application_name') as name, to_regclass('app.users') is not null as prepared`)
  t.strictSame(session, { name: 'lessor admin', prepared: true })
  await rejectsLike(t, servers.admin('other'), { code: 'SERVER_NOT_FOUND' })
  await rejectsLike(t, servers.address('other'), { code: 'SERVER_NOT_FOUND' })
})

t.test('several services that start at once on a new database all get ready', async (t) => {
  const { url } = await testDatabase(t)
  const start = async () => {
    const own = new ControlDatabase({ url })
    t.teardown(() => own.close())
    const servers = openServers({ db: own, address: parseDatabaseUrl(url) })
    t.teardown(() => servers.close())
    await migrate(own, await readMigrations())
    await servers.start([rolePlacement()])
    return servers.list()
  }
  for (const list of await Promise.all([start(), start(), start(), start()])) t.equal(list.length, 1)
})

t.test('a server that moved is entered anew', async (t) => {
  const address = { ...parseDatabaseUrl(url), host: 'localhost' }
  const servers = openServers({ db, address })
  t.teardown(() => servers.close())
  const [before] = await servers.list()
  await servers.start([])
  const [after] = await servers.list()
  like(t, after, { host: 'localhost' })
  t.ok(before && after && after.updatedAt > before.updatedAt)
})

t.test('a server that cannot be made ready is not entered', async (t) => {
  const { url } = await testDatabase(t, { template: 'control' })
  const own = new ControlDatabase({ url })
  t.teardown(() => own.close())
  const placement = rolePlacement()
  const servers = openServers({ db: own, address: parseDatabaseUrl(url) })
  t.teardown(() => servers.close())
  placement.prepare = async () => {
    throw new LessorError('PLACEMENT_UNAVAILABLE')
  }
  await rejectsLike(t, servers.start([placement]), { code: 'PLACEMENT_UNAVAILABLE' })
  sameRows(t, await servers.list(), [])
})

t.test('the first server need not carry all placements', async (t) => {
  const { url } = await testDatabase(t, { template: 'control' })
  const own = new ControlDatabase({ url })
  t.teardown(() => own.close())
  const problems: unknown[] = []
  const servers = openServers({
    db: own,
    address: parseDatabaseUrl(url),
    onProblem: (server, error) => problems.push({ server, error }),
  })
  t.teardown(() => servers.close())
  const [role, row] = allPlacements()
  if (role === undefined || row === undefined) throw new Error('there are no placements')
  row.prepare = async () => {
    throw new LessorError('PLACEMENT_UNAVAILABLE', 'It rains.')
  }
  await servers.start([role, row])
  like(t, problems, [
    { server: 'default', error: { code: 'PLACEMENT_UNAVAILABLE', message: 'row: It rains.' } },
  ])
  t.equal(await servers.choose({ placement: 'role' }), 'default')
  await rejectsLike(t, servers.choose({ placement: 'row' }), {
    code: 'PLACEMENT_UNAVAILABLE',
    message: 'No data server will do for the placement "row": "default" does not carry it: It rains.',
  })
})

t.test('a server that cannot be reached is one error, and holds no secret', async (t) => {
  const address = parseDatabaseUrl('postgres://me:hunter2@127.0.0.1:1/data')
  const servers = openServers({ db, address })
  t.teardown(() => servers.close())
  await rejectsLike(t, (await servers.admin('default')).query(sql`select 1`), {
    code: 'SERVER_UNAVAILABLE',
    retryAfterSeconds: 1,
  })
})
