import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { insertChange } from '../../src/control/change-store.ts'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { isLessorError, type LessorError } from '../../src/errors.ts'
import { sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import type { DataServers, DataServersOptions } from '../../src/servers/data-servers.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike, sameRows } from '../support/like.ts'
import { Pooler } from '../support/pooler.ts'
import { startTestServer } from '../support/server.ts'
import { allPlacements, type Hall, makeHall, makeVault, openServers } from './support.ts'

// A file of many databases, on a machine that may be busy.
t.setTimeout(300_000)

const other = await startTestServer()
t.teardown(other.stop)
const vault = makeVault()

interface House {
  readonly url: string
  readonly db: ControlDatabase
  readonly servers: DataServers
  /** What onProblem has heard, as "server: message". */
  readonly problems: string[]
  readonly moved: string[]
}

/** One process's data servers on a control database; `isOther` makes it one of another installation. */
async function open(
  t: Test,
  {
    url,
    isOther = false,
    ...options
  }: Partial<DataServersOptions> & { url?: string; isOther?: boolean } = {},
): Promise<House> {
  const control = url ?? (await testDatabase(t, { template: 'control' })).url
  const db = new ControlDatabase({ url: control })
  t.teardown(() => db.close())
  if (isOther) await db.query(sql`update lessor.installation set id = gen_random_uuid()`)
  const problems: string[] = []
  const moved: string[] = []
  const servers = openServers({
    db,
    vault,
    address: parseDatabaseUrl(control),
    changes: { publish: insertChange },
    onProblem: (server, error) => problems.push(`${server}: ${messageOf(error)}`),
    onMove: (server) => moved.push(server),
    ...options,
  })
  t.teardown(() => servers.close())
  return { url: control, db, servers, problems, moved }
}

async function started(t: Test, options?: Parameters<typeof open>[1]): Promise<House> {
  const house = await open(t, options)
  await house.servers.start(allPlacements())
  return house
}

/** What most tests share. */
const house = await started(t)

const hall = await registered(t)
const neighbour = await registered(t)
const stranger = await started(t, { isOther: true })
/** Of another installation. */
const foreign = await registered(t, stranger)

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** What work is refused with. */
async function refusal(work: Promise<unknown>): Promise<LessorError> {
  try {
    await work
  } catch (error) {
    if (isLessorError(error)) return error
    throw error
  }
  throw new Error('it was not refused')
}

async function refused(t: Test, work: Promise<unknown>, message: string): Promise<void> {
  const { code, message: said } = await refusal(work)
  t.equal(code, 'SERVER_UNSUITABLE')
  t.equal(said, message)
}

async function registered(t: Test, { servers }: House = house): Promise<Hall> {
  const hall = await makeHall(t, other.url)
  await servers.register({ name: hall.name, url: new Secret(hall.url) })
  return hall
}

/** Another database of the same cluster with the same administrator, empty or a copy. */
async function beside({ name, superuser, url }: Hall, template = 'template0'): Promise<string> {
  const database = `${name}_${randomUUID().slice(0, 4)}`
  await superuser.script(`create database ${database} template ${template} owner ${name}`)
  const there = new URL(url)
  there.pathname = `/${database}`
  return there.href
}

function asSuperuser(url: string): string {
  const { pathname } = new URL(url)
  const there = new URL(other.url)
  there.pathname = pathname
  return there.href
}

/** copied makes a copy of a hall's database, whose sessions are ended for that. */
async function copied(hall: Hall): Promise<string> {
  await hall.superuser.query(sql`
    select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = ${hall.name}`)
  return beside(hall, hall.name)
}

async function markOf({ db }: House, name: string): Promise<string | null> {
  const [row] = await db.query<{ mark: string | null }>(sql`
    select mark from lessor.servers where name = ${name}`)
  return row?.mark ?? null
}

async function inDatabase<T extends object>(url: string, text: string): Promise<readonly T[]> {
  const db = new ControlDatabase({ url, maxConnections: 1 })
  try {
    return [...(await db.query<T>(sql([text] as unknown as TemplateStringsArray)))]
  } finally {
    await db.close()
  }
}

/** As a version without marks has left it. */
async function forget({ db }: House, { name, url }: { readonly name: string; readonly url: string }) {
  await inDatabase(url, 'drop table lessor.database_mark')
  await inDatabase(url, 'delete from lessor.wall_migrations where version = 6')
  await db.query(sql`update lessor.servers set mark = null where name = ${name}`)
}

function another(hall: Hall, found: string, mark: string | null): string {
  return (
    `The URL leads to ${found}, and not to the database of the data server "${hall.name}"` +
    `${mark === null ? '' : `, whose mark is ${mark}`}. Only that database can take its place, moved, restored or ` +
    'replicated as a whole. Register another one under a name of its own.'
  )
}

function registeredAs(name: string): string {
  return (
    `This database is registered as the data server "${name}", or is a copy of that. Name an empty database, or use ` +
    'that server.'
  )
}

t.test('every data server has a mark, which is in its database', async (t) => {
  const [inside] = await inDatabase<{ id: string; installation: string }>(
    asSuperuser(hall.url),
    'select id, installation from lessor.database_mark',
  )
  const [own] = await house.db.query<{ id: string }>(sql`select id from lessor.installation`)
  t.strictSame(inside, { id: await markOf(house, hall.name), installation: own?.id })
  const [first] = await inDatabase<{ id: string }>(house.url, 'select id from lessor.database_mark')
  t.equal(first?.id, await markOf(house, 'default'))
  t.not(first?.id, inside?.id)
})

t.test('the address of a server changes to no other database of the same cluster', async (t) => {
  const mark = await markOf(house, hall.name)
  const update = (url: string) => house.servers.update(hall.name, { url: new Secret(url) })

  const empty = await beside(hall)
  await refused(t, update(empty), another(hall, 'a database in which Lessor has never been', mark))
  sameRows(
    t,
    await inDatabase(empty, `select nspname from pg_namespace where nspname in ('app', 'lessor')`),
    [],
    'nothing was made there',
  )
  await refused(
    t,
    update(asSuperuser(neighbour.url)),
    another(hall, `the database of the data server "${neighbour.name}"`, mark),
  )
  await refused(
    t,
    update(asSuperuser(foreign.url)),
    another(hall, `a database with the mark ${await markOf(stranger, foreign.name)}`, mark),
  )
  await refused(
    t,
    update(neighbour.url),
    another(hall, `the database of the data server "${neighbour.name}"`, mark),
  )
  const emptied = await copied(hall)
  await inDatabase(asSuperuser(emptied), 'delete from lessor.database_mark')
  await refused(t, update(emptied), another(hall, 'a database of Lessor without a mark', mark))
  t.equal((await house.servers.address(hall.name)).database, hall.name)
})

t.test('a copy of the whole database takes its place, one without the tables does not', async (t) => {
  const mark = await markOf(house, hall.name)
  const copy = await copied(hall)
  const half = await copied(hall)
  await inDatabase(asSuperuser(half), 'drop schema app cascade')
  await refused(
    t,
    house.servers.update(hall.name, { url: new Secret(half) }),
    `The URL leads to a database that has the mark of the data server "${hall.name}" and not its tables: there is no ` +
      'schema app. Restore the database as a whole.',
  )
  for (const url of [copy, hall.url]) {
    await house.servers.update(hall.name, { url: new Secret(url) })
    t.equal(`/${(await house.servers.address(hall.name)).database}`, new URL(url).pathname)
    t.equal(await markOf(house, hall.name), mark)
  }
})

t.test('the roles of a server have to be there as well', async (t) => {
  const { user } = await house.servers.runtime(hall.name)
  await hall.superuser.script(`alter role ${user} rename to ${user}_gone`)
  await refused(
    t,
    house.servers.update(hall.name, { url: new Secret(hall.url) }),
    `The URL leads to the database of the data server "${hall.name}" without its roles: there is no role ${user}. ` +
      'Restore the roles of the old server first (pg_dumpall --roles-only).',
  )
  await hall.superuser.script(`alter role ${user}_gone rename to ${user}`)
})

t.test('an administrator who may not read the mark is told so', async (t) => {
  const newcomer = await makeHall(t, other.url)
  await hall.superuser.script(`grant connect on database ${hall.name} to ${newcomer.name}`)
  const url = new URL(newcomer.url)
  url.pathname = `/${hall.name}`
  await refused(
    t,
    house.servers.update(hall.name, { url: new Secret(url.href) }),
    'The login may not read the mark of the database (lessor.database_mark): it is not the administrator who made it. ' +
      'Log in as that role, or as a member of it.',
  )
})

t.test('a database is no new server when it is a copy, or belongs to another installation', async (t) => {
  const copy = await copied(hall)
  const register = (url: string) => house.servers.register({ name: 'twin', url: new Secret(url) })
  await refused(t, register(copy), registeredAs(hall.name))

  const free =
    'If that installation is gone for good, "delete from lessor.database_mark" in that database frees it.'
  await refused(
    t,
    register(foreign.url),
    `The database belongs to another installation of Lessor (its mark is ${await markOf(stranger, foreign.name)}). ` +
      `Name an empty database. ${free}`,
  )
  await inDatabase(foreign.url, 'delete from lessor.database_mark')
  await house.servers.register({ name: foreign.name, url: new Secret(foreign.url) })

  // Of a version without marks.
  await inDatabase(stranger.url, 'delete from lessor.database_mark')
  await refused(
    t,
    register(stranger.url),
    'The database is the control database of another Lessor. Name an empty database.',
  )
  t.notOk(house.servers.names().includes('twin'))
})

t.test('a registration that was cut after the mark can be repeated', async (t) => {
  const house = await started(t, {
    vault: {
      open: (...args) => vault.open(...args),
      keyId: (envelope) => vault.keyId(envelope),
      seal: (plaintext, context) => {
        if (context.purpose === 'server-admin' && isCut) throw new Error('the power')
        return vault.seal(plaintext, context)
      },
    },
  })
  let isCut = true
  const hall = await makeHall(t, other.url)
  const register = () => house.servers.register({ name: hall.name, url: new Secret(hall.url) })
  await rejectsLike(t, register(), { message: 'the power' })
  t.equal(await markOf(house, hall.name), null)
  const [before] = await inDatabase<{ id: string }>(hall.url, 'select id from lessor.database_mark')
  isCut = false
  await register()
  t.equal(await markOf(house, hall.name), before?.id)
})

t.test('of two who register a database at once under two names, one does', async (t) => {
  const hall = await makeHall(t, other.url)
  const names = [`${hall.name}_a`, `${hall.name}_b`]
  const outcomes = await Promise.allSettled(
    names.map((name) => house.servers.register({ name, url: new Secret(hall.url) })),
  )
  t.strictSame(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  const winner = names[outcomes.findIndex(({ status }) => status === 'fulfilled')] ?? ''
  const loser = outcomes.find((each) => each.status === 'rejected')
  t.equal(messageOf(loser?.reason), registeredAs(winner))
})

t.test('databases of a version without marks get theirs at the start', async (t) => {
  const before = await started(t)
  const hall = await registered(t, before)
  await before.servers.close()
  await forget(before, { name: hall.name, url: hall.url })
  await forget(before, { name: 'default', url: before.url })
  const after = await started(t, { url: before.url })
  t.strictSame(after.problems, [])
  for (const [name, url] of [
    [hall.name, hall.url],
    ['default', after.url],
  ] as const) {
    const mark = await markOf(after, name)
    sameRows(t, await inDatabase(url, 'select id from lessor.database_mark'), [{ id: mark }])
  }
  const mark = await markOf(after, hall.name)
  await refused(
    t,
    after.servers.update(hall.name, { url: new Secret(await beside(hall)) }),
    another(hall, 'a database in which Lessor has never been', mark),
  )
})

t.test('a server without a mark gets it before its address changes', async (t) => {
  await forget(house, hall)
  const empty = await beside(hall)
  const update = (url: string) => house.servers.update(hall.name, { url: new Secret(url) })
  const said = (await refusal(update(empty))).message
  t.equal(said, another(hall, 'a database in which Lessor has never been', await markOf(house, hall.name)))
  t.match(await markOf(house, hall.name), /^[0-9a-f-]{36}$/)
  await update(await copied(hall))
})

t.test('a server without a mark whose old address is gone moves to no database of others', async (t) => {
  const house = await started(t)
  const hall = await registered(t, house)
  const neighbour = await registered(t, house)
  await forget(house, hall)
  await house.servers.close()
  const moved = `${hall.name}_moved`
  await hall.superuser.query(sql`
    select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = ${hall.name}`)
  await hall.superuser.script(`alter database ${hall.name} rename to ${moved}`)
  const late = await started(t, { url: house.url })
  t.equal(late.problems.length, 1, 'it is away')
  const update = (url: string) => late.servers.update(hall.name, { url: new Secret(url) })
  await refused(
    t,
    update(await beside(hall)),
    another(hall, 'a database in which Lessor has never been', null),
  )
  await refused(
    t,
    update(asSuperuser(neighbour.url)),
    another(hall, `the database of the data server "${neighbour.name}"`, null),
  )
  // The neighbour's, as of a version without marks.
  await forget(late, { name: neighbour.name, url: asSuperuser(neighbour.url) })
  await refused(t, update(asSuperuser(neighbour.url)), registeredAs(neighbour.name))

  const url = new URL(hall.url)
  url.pathname = `/${moved}`
  await update(url.href)
  const mark = await markOf(late, hall.name)
  sameRows(t, await inDatabase(url.href, 'select id from lessor.database_mark'), [{ id: mark }])
})

t.test('a server at whose address another database answers is not touched and not used', async (t) => {
  const house = await started(t)
  const hall = await registered(t, house)
  const mark = await markOf(house, hall.name)
  await house.servers.close()
  const away = `${hall.name}_away`
  const { superuser } = hall
  const rename = async (from: string, to: string) => {
    await superuser.query(sql`
      select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = ${from}`)
    await superuser.script(`alter database ${from} rename to ${to}`)
  }
  await rename(hall.name, away)
  await superuser.script(`create database ${hall.name} owner ${hall.name}`)

  const late = await started(t, { url: house.url })
  const told = `${hall.name}: ${another(hall, 'a database in which Lessor has never been', mark)}`
  t.strictSame(late.problems, [told])
  t.strictSame(late.moved, [hall.name], 'what was opened there is closed')
  sameRows(
    t,
    await inDatabase(hall.url, `select nspname from pg_namespace where nspname in ('app', 'lessor')`),
    [],
  )
  for (const work of [
    () => late.servers.address(hall.name),
    () => late.servers.admin(hall.name),
    () => late.servers.runtime(hall.name),
  ]) {
    const { code, message, retryAfterSeconds } = await refusal(work())
    t.strictSame([code, retryAfterSeconds], ['SERVER_UNAVAILABLE', 1])
    t.equal(
      message,
      'What answers at the address of the data server is not the database that it was registered with.',
    )
  }
  await refused(
    t,
    late.servers.probe(hall.name),
    another(hall, 'a database in which Lessor has never been', mark),
  )
  await late.servers.tend()
  t.strictSame(late.problems, [told, told], 'it is looked at again')

  await rename(hall.name, `${hall.name}_wrong`)
  await rename(away, hall.name)
  await late.servers.tend()
  t.strictSame(late.problems, [told, told])
  t.equal((await late.servers.address(hall.name)).database, hall.name)
  t.match((await late.servers.runtime(hall.name)).user, /^lessor_row_/)
})

t.test('a control database that is none is refused before it is changed', async (t) => {
  const free =
    'If that installation is gone for good, "delete from lessor.database_mark" in that database frees it.'
  const wrong = await open(t, { url: asSuperuser(hall.url) })
  await refused(
    t,
    wrong.servers.check(),
    'DATABASE_URL leads to a database that another installation of Lessor has entered as a data server (its mark is ' +
      `${await markOf(house, hall.name)}). Set it to the control database, or to an empty one. ${free}`,
  )
  sameRows(t, await inDatabase(hall.url, `select to_regclass('lessor.servers')::text as servers`), [
    { servers: null },
  ])
  const fresh = await open(t, { url: (await testDatabase(t)).url })
  await fresh.servers.check()
  await house.servers.check()
})

t.test('a control database without the data of its own data server is refused', async (t) => {
  const house = await started(t)
  const mark = await markOf(house, 'default')
  await house.servers.check()
  await inDatabase(house.url, 'update lessor.database_mark set id = gen_random_uuid()')
  const [found] = await inDatabase<{ id: string }>(house.url, 'select id from lessor.database_mark')
  const said = (what: string) =>
    `DATABASE_URL leads to a control database without the data of its data server "default": its mark should be ${mark}, ` +
    `and is ${what}. Restore the database as a whole.`
  await refused(t, house.servers.check(), said(found?.id ?? ''))
  await inDatabase(house.url, 'delete from lessor.database_mark')
  await refused(t, house.servers.check(), said('missing'))
  await inDatabase(
    house.url,
    `insert into lessor.database_mark (id, installation) select '${mark}', id from lessor.installation`,
  )
  await house.servers.check()
  await inDatabase(house.url, 'drop schema app cascade')
  await refused(
    t,
    house.servers.check(),
    'DATABASE_URL leads to a database that has the mark of the data server "default" and not its tables: there is no ' +
      'schema app. Restore the database as a whole.',
  )
})

t.test('a pooler is not registered, and takes no server’s place', async (t) => {
  const fresh = await makeHall(t, other.url)
  const pooled = (what: string) =>
    `${what} leads to a connection pooler such as PgBouncer, and not to PostgreSQL itself: a setting of the start-up ` +
    'packet does not reach the session. Lessor pools connections itself and binds sessions to tenants, so no other ' +
    'pooler may stand between. Give the address of the server itself.'
  for (const mode of ['session', 'transaction', 'statement'] as const) {
    const pooler = await Pooler.start(t, other.url, { mode, startup: 'ignore' })
    await refused(
      t,
      house.servers.register({ name: fresh.name, url: new Secret(pooler.url(fresh.url)) }),
      pooled('The URL'),
    )
    await refused(
      t,
      house.servers.update(hall.name, { url: new Secret(pooler.url(hall.url)) }),
      pooled('The URL'),
    )
    const address = parseDatabaseUrl(pooler.url(asSuperuser(hall.url)))
    const behind = await open(t, { url: house.url, address })
    await refused(t, behind.servers.check(), pooled('DATABASE_URL'))
    if (mode !== 'session') continue
    // One that was put between later.
    const { host, port } = address
    await house.db.query(sql`
      update lessor.servers set host = ${host}, port = ${port} where name = ${hall.name}`)
    const late = await started(t, { url: house.url })
    t.ok(late.problems.includes(`${hall.name}: ${pooled(`The address of the data server "${hall.name}"`)}`))
    t.equal((await refusal(late.servers.address(hall.name))).code, 'SERVER_UNAVAILABLE')
    const direct = parseDatabaseUrl(hall.url)
    await house.db.query(sql`
      update lessor.servers set host = ${direct.host}, port = ${direct.port} where name = ${hall.name}`)
  }
})
