import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { PostgresDatabase } from '../../src/control/postgres-database.ts'
import type { AdminDb } from '../../src/placement/placement.ts'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { dropLogin, ensureLogin } from '../../src/placement/tenant-logins.ts'
import { loginName } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import { OwnServer } from '../faults/own-server.ts'
import { LIMITS, openAdmin, rolePlacement } from './support.ts'

// A server of this file's own: what is left of a role is dropped with the next role of a server.

const ELSEWHERE = 'template1'
const server = await OwnServer.start(t)
const password = randomPassword()

async function twoLogins(t: Test) {
  const admin = openAdmin(t, server.url)
  await rolePlacement().prepare(admin)
  const [victim, attacker] = [loginName(randomUUID(), 'blue'), loginName(randomUUID(), 'blue')]
  for (const name of [victim, attacker]) {
    const role = { name, tenantId: undefined, group: 'lessor_tenant', searchPath: 'app' }
    await ensureLogin(admin, role, { verifier: scramVerifier(password), limits: LIMITS })
  }
  return { admin, victim, attacker }
}

function openSession(t: Test, user: string): PostgresDatabase {
  const session = new PostgresDatabase({
    address: { ...parseDatabaseUrl(server.url), user, password, database: ELSEWHERE },
    applicationName: 'test',
    maxConnections: 1,
    connectTimeoutMs: 10_000,
    statementTimeoutMs: 10_000,
    idleMs: 600_000,
    closeTimeoutMs: 100,
    unavailable: 'SERVER_UNAVAILABLE',
  })
  t.teardown(() => session.close())
  return session
}

/** beset is the administrator, to whom something happens whenever it has been elsewhere. */
function beset(admin: AdminDb, happens: () => Promise<void>): AdminDb {
  return {
    query: (statement) => admin.query(statement),
    script: (text) => admin.script(text),
    transaction: (fn) => admin.transaction(fn),
    asLogin: (login, fn) => admin.asLogin(login, fn),
    async inDatabase(database, fn) {
      const result = await admin.inDatabase(database, fn)
      if (database === ELSEWHERE) await happens()
      return result
    },
  }
}

t.test('a login can be dropped that a session names again and again in another database', async (t) => {
  const { admin, attacker, victim } = await twoLogins(t)
  const session = openSession(t, attacker)
  const [row] = await session.query<{ pid: number }>(sql`select pg_backend_pid() as pid`)
  const pid = row?.pid ?? 0
  const name = async () => {
    const [alive] = await admin.query(sql`select from pg_stat_activity where pid = ${pid}::integer`)
    if (alive !== undefined)
      await session.script(`alter default privileges grant select on tables to ${victim}`)
  }
  await name()
  await dropLogin(beset(admin, name), victim)
  t.equal((await admin.query(sql`select from pg_roles where rolname = ${victim}`)).length, 0)
  t.equal((await admin.query(sql`select from pg_roles where rolname ~ '^td_'`)).length, 0)
  await dropLogin(admin, attacker)
})

t.test('one that new sessions name as well gives its name back, and goes when they have ended', async (t) => {
  const { admin, attacker, victim } = await twoLogins(t)
  const [before] = await admin.query<{ id: string }>(
    sql`select oid::text as id from pg_roles where rolname = ${victim}`,
  )
  const look = async () => {
    const [role] = await admin.query<Record<string, unknown>>(sql`
      select rolname ~ '^td_[0-9a-f]{32}$' as "isLeftover", rolcanlogin as "canLogIn",
        exists (select from pg_auth_members where member = r.oid) as "isMember",
        (select rolpassword is not null from pg_authid a where a.oid = r.oid) as "hasPassword"
      from pg_roles r where oid::text = ${before?.id ?? ''}`)
    return role
  }
  const name = async () => {
    const [role] = await admin.query<{ name: string }>(
      sql`select rolname::text as name from pg_roles where oid::text = ${before?.id ?? ''}`,
    )
    await openSession(t, attacker).script(`alter default privileges grant select on tables to ${role?.name}`)
  }
  await name()
  await dropLogin(beset(admin, name), victim)
  t.equal((await admin.query(sql`select from pg_roles where rolname = ${victim}`)).length, 0)
  t.strictSame(await look(), { isLeftover: true, canLogIn: false, isMember: false, hasPassword: false })

  const other = await twoLogins(t)
  await dropLogin(beset(admin, name), other.victim)
  t.equal((await look())?.isLeftover, true, 'still named, and in the way of nothing')
  await dropLogin(admin, other.attacker)
  t.equal(await look(), undefined)
  await dropLogin(admin, attacker)
})
