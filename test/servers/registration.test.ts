import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { insertChange } from '../../src/control/change-store.ts'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { isLessorError } from '../../src/errors.ts'
import type { Placement } from '../../src/placement/placement.ts'
import { RootCertificates } from '../../src/pool/root-certificates.ts'
import { sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import type { DataServersOptions } from '../../src/servers/data-servers.ts'
import { toServerBody } from '../../src/servers/server-schemas.ts'
import { changeServer } from '../../src/servers/server-store.ts'
import { testDatabase } from '../support/database.ts'
import { excludes, like, rejectsLike, sameRows } from '../support/like.ts'
import { startTestServer } from '../support/server.ts'
import { makeCertificate } from '../support/tls.ts'
import { allPlacements, makeHall, makeVault, openServers } from './support.ts'

const other = await startTestServer()
t.teardown(other.stop)

/** One process's data servers, started, on a control database of its own. */
async function open(
  t: Test,
  options: Partial<DataServersOptions> & { readonly placements?: Placement[] } = {},
) {
  const { url } = await testDatabase(t, { template: 'control' })
  const db = new ControlDatabase({ url })
  t.teardown(() => db.close())
  const problems: unknown[] = []
  const servers = openServers({
    db,
    address: parseDatabaseUrl(url),
    changes: { publish: insertChange },
    onProblem: (_, error) => problems.push(error),
    ...options,
  })
  t.teardown(() => servers.close())
  await servers.start(options.placements ?? allPlacements())
  return { url, db, servers, problems }
}

const vault = makeVault()
/** What most tests share. */
const house = await open(t, { vault })

/** A database on the other server, with the URL of an administrator. */
const database = (t: Test, attributes?: string) => makeHall(t, other.url, attributes)

t.test('a server is probed, made ready and entered, and its password is sealed', async (t) => {
  const { db, servers } = house
  const hall = await database(t)
  const server = await servers.register({
    name: hall.name,
    url: new Secret(hall.url),
    labels: { region: 'eu' },
    maxConnections: 12,
  })
  like(t, server, {
    name: hall.name,
    database: hall.name,
    labels: { region: 'eu' },
    maxConnections: 12,
    budget: 12,
    tenants: 0,
    capabilities: { placements: ['row', 'role', 'schema', 'database'], problems: [] },
    probedAt: Date,
  })
  const stored = await db.query<{ purpose: string; login: string; envelope: Buffer; keyId: string }>(sql`
    select purpose, login, envelope, key_id as "keyId" from lessor.server_credentials
    where server = ${hall.name} order by purpose`)
  like(t, stored, [
    { purpose: 'admin', login: hall.name },
    { purpose: 'row', login: /^lessor_row_[0-9a-f]{12}$/ },
  ])
  for (const { envelope, keyId } of stored) {
    t.equal(keyId, vault.keyId(envelope))
    t.notOk(envelope.includes(hall.password))
  }
  const [dump] = await db.query<{ text: string }>(sql`
    select (select string_agg(s::text, '') from lessor.servers s)
      || (select string_agg(c::text, '') from lessor.changes c) as text`)
  excludes(t, dump?.text, hall.password)
  excludes(t, JSON.stringify(server), hall.password)

  const [session] = await (await servers.admin(hall.name)).query(sql`
    select current_database()::text as database, to_regclass('app.users') is not null as prepared`)
  t.strictSame(session, { database: hall.name, prepared: true })
  like(t, await servers.address(hall.name), { name: hall.name, database: hall.name })
  t.strictSame(
    servers.budgets().find(({ name }) => name === hall.name),
    { name: hall.name, budget: 12 },
  )
  like(t, await db.query(sql`select distinct kind from lessor.changes`), [{ kind: 'server' }])
})

t.test('a name is taken once, and a database is registered once', async (t) => {
  const { servers, url } = house
  const hall = await database(t)
  await servers.register({ name: hall.name, url: new Secret(hall.url) })
  await rejectsLike(t, servers.register({ name: hall.name, url: new Secret(hall.url) }), {
    code: 'SERVER_NAME_TAKEN',
  })
  await rejectsLike(t, servers.register({ name: 'default', url: new Secret(hall.url) }), {
    code: 'SERVER_NAME_TAKEN',
  })
  await rejectsLike(t, servers.register({ name: 'twin', url: new Secret(hall.url) }), {
    code: 'SERVER_UNSUITABLE',
    message: new RegExp(`registered as the data server "${hall.name}"`),
  })
  const byAnotherName = new URL(hall.url)
  byAnotherName.hostname = 'localhost'
  await rejectsLike(t, servers.register({ name: 'twin', url: new Secret(byAnotherName.href) }), {
    code: 'SERVER_UNSUITABLE',
    message: new RegExp(`registered as the data server "${hall.name}"`),
  })
  await rejectsLike(t, servers.register({ name: 'twin', url: new Secret(url) }), {
    code: 'SERVER_UNSUITABLE',
    message: /registered as the data server "default"/,
  })
  t.notOk(servers.names().includes('twin'))
})

t.test('of two who register a name at once, one does', async (t) => {
  const { servers } = house
  const halls = [await database(t), await database(t)]
  const outcomes = await Promise.allSettled(
    halls.map(({ url }) => servers.register({ name: 'contested', url: new Secret(url) })),
  )
  t.strictSame(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  const refused = outcomes.find((each) => each.status === 'rejected')
  like(t, refused?.reason, { code: 'SERVER_NAME_TAKEN' })
})

t.test('a server that carries nothing is refused, with what would be right', async (t) => {
  const { servers } = house
  const hall = await database(t, 'createdb nocreaterole')
  await rejectsLike(t, servers.register({ name: hall.name, url: new Secret(hall.url) }), {
    code: 'SERVER_UNSUITABLE',
    message: /row: the administrator may not make roles: give it CREATEROLE\..*database:/,
  })
  t.notOk(servers.names().includes(hall.name))
  await hall.superuser.script(`alter role ${hall.name} createrole`)
  like(t, await servers.register({ name: hall.name, url: new Secret(hall.url) }), { name: hall.name })
})

t.test('a server that carries some placements is entered, and says why not the others', async (t) => {
  const { servers } = house
  const hall = await database(t, 'createrole')
  like(t, await servers.register({ name: hall.name, url: new Secret(hall.url) }), {
    capabilities: {
      placements: ['row', 'role', 'schema'],
      problems: [{ placement: 'database', reason: /CREATEDB/ }],
    },
  })
  await rejectsLike(t, servers.choose({ placement: 'database', server: hall.name }), {
    code: 'PLACEMENT_UNAVAILABLE',
    message: new RegExp(`"${hall.name}" does not carry it: .*CREATEDB`),
  })
  t.equal(await servers.choose({ placement: 'schema', server: hall.name }), hall.name)

  await hall.superuser.script(`alter role ${hall.name} createdb`)
  like(t, await servers.probe(hall.name), {
    capabilities: { placements: ['row', 'role', 'schema', 'database'], problems: [] },
  })
  t.equal(await servers.choose({ placement: 'database', server: hall.name }), hall.name)
})

t.test('what a placement refuses when it is made ready counts as well', async (t) => {
  const placements = [...allPlacements()]
  const { servers } = await open(t, { placements })
  const hall = await database(t)
  const schema = placements.find(({ name }) => name === 'schema')
  const { LessorError } = await import('../../src/errors.ts')
  if (schema) {
    schema.prepare = async () => {
      throw new LessorError('PLACEMENT_UNAVAILABLE', 'The moon is not right.')
    }
  }
  like(t, await servers.register({ name: hall.name, url: new Secret(hall.url) }), {
    capabilities: {
      placements: ['row', 'role', 'database'],
      problems: [{ placement: 'schema', reason: 'The moon is not right' }],
    },
  })
})

t.test('a login that is refused and a server that is away are told apart, and hold no secret', async (t) => {
  const { servers } = house
  const hall = await database(t)
  const wrong = new URL(hall.url)
  wrong.password = 'hunter2'
  const nowhere = new URL(hall.url)
  nowhere.port = '1'
  const noDatabase = new URL(hall.url)
  noDatabase.pathname = '/nothing'
  const register = (url: URL) => servers.register({ name: hall.name, url: new Secret(url.href) })
  await rejectsLike(t, register(wrong), { code: 'SERVER_UNSUITABLE', message: /28P01/ })
  await rejectsLike(t, register(noDatabase), { code: 'SERVER_UNSUITABLE', message: /3D000/ })
  await rejectsLike(t, register(nowhere), {
    code: 'SERVER_UNAVAILABLE',
    message: /ECONNREFUSED/,
    retryAfterSeconds: 1,
  })
  for (const url of ['hunter2', 'mysql://root:hunter2@localhost/x', 'postgres://me:hunter2@/x']) {
    const error = await servers
      .register({ name: hall.name, url: new Secret(url) })
      .catch((thrown: unknown) => thrown)
    like(t, error, { code: 'INVALID_REQUEST', errors: [{ in: 'body', path: '/url' }] })
    excludes(t, JSON.stringify([error, (error as Error).message]), /hunter2/)
  }
  await rejectsLike(t, servers.register({ name: 'Not a name', url: new Secret(hall.url) }), {
    code: 'INVALID_REQUEST',
  })
  t.notOk(servers.names().includes(hall.name))
})

t.test('a registration that dies half-way has entered nothing, and can be repeated', async (t) => {
  const placements = [...allPlacements()]
  const { db, servers } = await open(t, { placements })
  const hall = await database(t)
  const last = placements.at(-1)
  const prepare = last?.prepare.bind(last)
  if (last && prepare) {
    last.prepare = async () => {
      last.prepare = prepare
      throw new Error('the power')
    }
  }
  await rejectsLike(t, servers.register({ name: hall.name, url: new Secret(hall.url) }), {
    message: 'the power',
  })
  sameRows(t, await db.query(sql`select from lessor.servers where name = ${hall.name}`), [])
  t.notOk(servers.names().includes(hall.name))
  like(t, await servers.register({ name: hall.name, url: new Secret(hall.url) }), {
    capabilities: { placements: ['row', 'role', 'schema', 'database'] },
  })
})

t.test('labels, connections and the way to a server can be changed', async (t) => {
  const { servers } = house
  const hall = await database(t)
  await servers.register({ name: hall.name, url: new Secret(hall.url), labels: { region: 'eu' } })
  like(t, await servers.update(hall.name, { labels: { region: 'us' }, maxConnections: 7 }), {
    labels: { region: 'us' },
    budget: 7,
  })
  like(t, await servers.update(hall.name, { maxConnections: null }), { labels: { region: 'us' }, budget: 80 })
  like(t, await servers.update('default', { labels: { region: 'eu' }, maxConnections: 50 }), {
    name: 'default',
    labels: { region: 'eu' },
    budget: 50,
  })

  const before = await servers.admin(hall.name)
  const password = randomUUID()
  await hall.superuser.script(`alter role ${hall.name} password '${password}'`)
  const changed = new URL(hall.url)
  changed.password = password
  await rejectsLike(t, servers.update(hall.name, { url: new Secret(hall.url) }), {
    code: 'SERVER_UNSUITABLE',
  })
  like(t, await servers.update(hall.name, { url: new Secret(changed.href) }), { generation: 2 })
  const after = await servers.admin(hall.name)
  t.not(after, before, 'connections are made anew')
  await t.resolves(after.query(sql`select 1`))
  await t.resolves(servers.ping(hall.name))

  const elsewhere = await database(t)
  await rejectsLike(
    t,
    servers.update(hall.name, { url: new Secret(elsewhere.url.replace(/\/\/.*@/, '//x:y@')) }),
    {
      code: 'SERVER_UNSUITABLE',
    },
  )
  await rejectsLike(t, servers.update('default', { url: new Secret(hall.url) }), {
    code: 'INVALID_REQUEST',
    message: /DATABASE_URL/,
  })
  await rejectsLike(t, servers.update(hall.name, { tls: 'require' }), {
    code: 'INVALID_REQUEST',
    message: /with url/,
  })
  await rejectsLike(t, servers.update('nowhere', { labels: {} }), { code: 'SERVER_NOT_FOUND' })
})

t.test('a server keeps all hosts of its URL, for every process', async (t) => {
  const { db, servers, url } = house
  const hall = await database(t)
  const [first, second] = [
    { host: '127.0.0.1', port: 1 },
    { host: 'db-b.invalid', port: 5432 },
  ]
  const several = (...hosts: string[]) => new Secret(hall.url.replace(/(@[^/]+)/, ['$1', ...hosts].join(',')))
  await servers.register({ name: hall.name, url: several('127.0.0.1:1', 'db-b.invalid') })
  const other = openServers({ db, vault, address: parseDatabaseUrl(url) })
  t.teardown(() => other.close())
  for (const each of [servers, other])
    sameRows(t, (await each.address(hall.name)).alternates, [first, second])
  t.strictSame(toServerBody(await servers.get(hall.name), true).alternates, [first, second])

  const twin = servers.register({
    name: `${hall.name}-2`,
    url: new Secret(`postgres://x:y@127.0.0.1:1/${hall.name}`),
  })
  await rejectsLike(t, twin, {
    code: 'SERVER_UNSUITABLE',
    message: `This database is registered as the data server "${hall.name}", or is a copy of that. Name an empty database, or use that server.`,
  })
  await servers.update(hall.name, { url: new Secret(hall.url) })
  sameRows(t, (await servers.address(hall.name)).alternates, undefined)
  await servers.update(hall.name, { url: several('db-b.invalid') })
  sameRows(t, (await servers.address(hall.name)).alternates, [second])
})

t.test('root certificates are of one way to a server, and stand in no file', async (t) => {
  const { db, servers } = house
  const hall = await database(t)
  const folder = t.testdir()
  const { certificate, certFile } = makeCertificate(folder)
  const refusal = (promise: Promise<unknown>) =>
    promise.then(
      () => 'accepted',
      (error: unknown) => (isLessorError(error, 'INVALID_REQUEST') ? error.message : error),
    )
  t.equal(
    await refusal(
      servers.register({ name: hall.name, url: new Secret(`${hall.url}?sslrootcert=${certFile}`) }),
    ),
    'The body field /url is not what it should be: The database URL must not have the parameter "sslrootcert" with a ' +
      'file, which other processes do not have: send the certificates themselves as root_certificates, or write ' +
      'sslrootcert=system.',
  )
  t.equal(
    await refusal(
      servers.register({ name: hall.name, url: new Secret(hall.url), rootCertificates: certificate }),
    ),
    'The body field /url is not what it should be: The root certificates are of no use without TLS: write ' +
      'sslmode=verify-full into the database URL, or name none.',
  )
  await servers.register({ name: hall.name, url: new Secret(hall.url) })
  t.equal(
    await refusal(servers.update(hall.name, { rootCertificates: certificate })),
    'The body field /root_certificates changes together with url.',
  )
  t.equal(
    await refusal(servers.update('default', { rootCertificates: null })),
    'The body field /root_certificates does not change: the server "default" is that of DATABASE_URL.',
  )

  // As it is stored: servers of the tests have no TLS.
  const address = { ...parseDatabaseUrl(hall.url), tls: 'verify-ca' } as const
  const stored = RootCertificates.parse(certificate)
  await changeServer(db, hall.name, { address: { ...address, rootCertificates: stored } })
  await servers.reload()
  const known = await servers.address(hall.name)
  t.strictSame([known.tls, known.rootCertificates?.text], ['verify-ca', certificate])
  t.equal(toServerBody(await servers.get(hall.name), true).root_certificates, certificate)
  t.equal(
    await refusal(servers.update(hall.name, { url: new Secret(hall.url) })),
    'The body field /url is not what it should be: The root certificates are of no use without TLS: write ' +
      'sslmode=verify-full into the database URL, or name none.',
    'they stay with a new URL',
  )
  await servers.update(hall.name, { url: new Secret(hall.url), rootCertificates: null })
  const after = await servers.address(hall.name)
  t.strictSame([after.tls, after.rootCertificates], ['disable', undefined])
})

t.test('a new URL must lead to the same server', async (t) => {
  const { servers, url } = house
  const hall = await database(t)
  await servers.register({ name: hall.name, url: new Secret(hall.url) })
  await rejectsLike(t, servers.update(hall.name, { url: new Secret(url) }), {
    code: 'SERVER_UNSUITABLE',
    message: new RegExp(
      `^The URL leads to the database of the data server "default", and not to the database of the data server "${hall.name}"`,
    ),
  })
  like(t, await servers.address(hall.name), { database: hall.name })
})

t.test('another process knows a server by its name without being told, and can use it', async (t) => {
  const { servers, url } = house
  const db = new ControlDatabase({ url })
  t.teardown(() => db.close())
  const second = openServers({ db, vault, address: parseDatabaseUrl(url) })
  t.teardown(() => second.close())
  await second.start(allPlacements())
  const hall = await database(t)
  await servers.register({ name: hall.name, url: new Secret(hall.url) })
  t.notOk(second.names().includes(hall.name))
  like(t, await second.address(hall.name), { database: hall.name })
  t.ok(second.names().includes(hall.name))
  const [here, there] = [await servers.runtime(hall.name), await second.runtime(hall.name)]
  t.strictSame([there.user, there.password.reveal()], [here.user, here.password.reveal()])
  await t.resolves((await second.admin(hall.name)).query(sql`select 1`))
  await rejectsLike(t, second.admin('nowhere'), { code: 'SERVER_NOT_FOUND' })
})

t.test('a process that hears of no changes looks again after a while', async (t) => {
  const { servers, url, db } = house
  const hall = await database(t)
  await servers.register({ name: hall.name, url: new Secret(hall.url) })
  const clock = { at: 1_000_000, now: () => clock.at }
  const deaf = openServers({ db, vault, clock, address: parseDatabaseUrl(url) })
  t.teardown(() => deaf.close())
  await deaf.start(allPlacements())
  await servers.update(hall.name, { labels: { hall: hall.name } })
  const wish = { placement: 'role', labels: { hall: hall.name } } as const
  // A refusal is never by what may have changed.
  t.equal(await deaf.choose(wish), hall.name)
  await servers.update(hall.name, { labels: {} })
  clock.at += 9_999
  t.equal(await deaf.choose(wish), hall.name)
  clock.at += 1
  await rejectsLike(t, deaf.choose(wish), { code: 'PLACEMENT_UNAVAILABLE' })
})

t.test('a server whose credential another key has sealed cannot be used, and the others can', async (t) => {
  const { servers, url, db } = house
  const hall = await database(t)
  await servers.register({ name: hall.name, url: new Secret(hall.url) })
  const problems: unknown[] = []
  const stranger = openServers({
    db,
    address: parseDatabaseUrl(url),
    onProblem: (_, error) => problems.push(error),
  })
  t.teardown(() => stranger.close())
  await stranger.start(allPlacements())
  t.equal(problems.length, stranger.names().length)
  for (const problem of problems) like(t, problem, { code: 'VAULT_OPEN_FAILED' })
  await rejectsLike(t, stranger.admin(hall.name), { code: 'VAULT_OPEN_FAILED' })
  await rejectsLike(t, stranger.runtime('default'), { code: 'VAULT_OPEN_FAILED' })
  await t.resolves(stranger.ping('default'))
})

t.test(
  'a process starts while a registered server is away, and makes it ready when it is back',
  async (t) => {
    const { servers, url, db } = house
    const hall = await database(t)
    await servers.register({ name: hall.name, url: new Secret(hall.url) })
    await hall.superuser.script(`alter role ${hall.name} nologin`)
    const problems: unknown[] = []
    const prepared: unknown[] = []
    const placements = allPlacements().map((placement) => {
      const prepare = placement.prepare.bind(placement)
      placement.prepare = async (admin) => {
        const [row] = await admin.query<{ name: string }>(sql`select current_database()::text as name`)
        if (row?.name === hall.name) prepared.push(placement.name)
        await prepare(admin)
      }
      return placement
    })
    const late = openServers({
      db,
      vault,
      address: parseDatabaseUrl(url),
      onProblem: (server, error) => problems.push({ server, error }),
    })
    t.teardown(() => late.close())
    await late.start(placements)
    like(t, problems, [{ server: hall.name, error: { code: 'SERVER_UNAVAILABLE' } }])
    t.strictSame(prepared, [])
    t.equal(await late.tend(), 1, 'it is still away')
    t.equal(problems.length, 2)
    t.ok(late.names().includes(hall.name))

    await hall.superuser.script(`alter role ${hall.name} login`)
    t.equal(await late.tend(), 0)
    await late.tend()
    t.strictSame(prepared, ['role', 'row', 'schema', 'database'], 'once')
    t.equal(problems.length, 2)
  },
)
