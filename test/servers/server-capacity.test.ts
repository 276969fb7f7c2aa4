import { randomBytes } from 'node:crypto'
import t from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { type DatabaseAddress, parseDatabaseUrl } from '../../src/control/database-url.ts'
import { PostgresDatabase } from '../../src/control/postgres-database.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import { readServerCapacity } from '../../src/servers/server-capacity.ts'
import { OwnServer } from '../faults/own-server.ts'
import { like } from '../support/like.ts'

// Whose sessions there are is counted over the whole server.
const { url } = await OwnServer.start(t)
const address = parseDatabaseUrl(url)
const target = { ...address, server: 'default', parameters: {} }

/** An administrator with one session, and without the second one that clears the way where something takes long. */
function openAdmin(of: DatabaseAddress): PostgresDatabase {
  return new PostgresDatabase({
    address: of,
    applicationName: 'lessor admin',
    maxConnections: 1,
    connectTimeoutMs: 10_000,
    statementTimeoutMs: 60_000,
    idleMs: 600_000,
    closeTimeoutMs: 5_000,
    unavailable: 'SERVER_UNAVAILABLE',
  })
}

t.test('a data server tells its limits and whose the sessions are', async (t) => {
  const admin = openAdmin(address)
  t.teardown(() => admin.close())
  const [settings] = await admin.query(sql`
    select current_setting('max_connections')::integer as max,
           current_setting('superuser_reserved_connections')::integer as reserved`)
  const before = await readServerCapacity(admin)
  like(t, before, { maxConnections: settings?.max, superuserReserved: settings?.reserved, reserved: 0 })
  like(t, before.sessions, { tenants: 0, service: 1 }, 'the administrator himself')

  const control = new ControlDatabase({ url, maxConnections: 1 })
  t.teardown(() => control.close())
  await control.ping()
  const [one, two] = [await openConnection(target, signal()), await openConnection(target, signal())]
  like(t, (await readServerCapacity(admin)).sessions, { tenants: 2, service: 2 })
  await Promise.all([one.close(), two.close()])
})

t.test('sessions in other databases are those of others, but in a database of a tenant', async (t) => {
  const admin = openAdmin(address)
  t.teardown(() => admin.close())
  const own = `t_${randomBytes(16).toString('hex')}`
  await admin.script('create database other')
  await admin.script(`create database ${own}`)
  const stranger = await openConnection({ ...target, database: 'other' }, signal())
  t.teardown(() => stranger.close())
  like(t, (await readServerCapacity(admin)).sessions, { tenants: 0, service: 1, others: 1 })
  const tenant = await openConnection({ ...target, database: own }, signal())
  like(t, (await readServerCapacity(admin)).sessions, { tenants: 1, service: 1, others: 1 })
  await tenant.close()
})

t.test('an administrator who is no superuser counts the sessions that he may not look into', async (t) => {
  const superuser = openAdmin(address)
  t.teardown(() => superuser.close())
  const [name, password] = [`plain_${randomBytes(6).toString('hex')}`, randomBytes(16).toString('hex')]
  await superuser.script(`create role ${name} login password '${password}'`)
  t.teardown(() => superuser.script(`drop role ${name}`))
  const admin = openAdmin({ ...address, user: name, password: new Secret(password) })
  t.teardown(() => admin.close())
  const tenant = await openConnection(target, signal())
  t.teardown(() => tenant.close())
  like(t, (await readServerCapacity(admin)).sessions, { tenants: 1, service: 2 })
})

function signal(): AbortSignal {
  return new AbortController().signal
}
