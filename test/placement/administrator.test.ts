import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { moveBack, moveOut } from '../../src/placement/partition-moves.ts'
import { promotionProblems } from '../../src/placement/partitions.ts'
import type { AdminDb } from '../../src/placement/placement.ts'
import { sql } from '../../src/pool/statement.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { startTestServer } from '../support/server.ts'
import { appFiles, leftOf, NOTHING, ownPlacement } from './own-support.ts'
import { openAdmin, openTenant, provisionTenant, rolePlacement } from './support.ts'

// A server of this file's own: the first administrator of a server makes its group roles.

const { url: superuserUrl, stop } = await startTestServer()
t.teardown(stop)

/** administrator makes a role that is no superuser, with a database that it owns. */
async function administrator(t: Test, superuser: ReturnType<typeof openAdmin>, name: string) {
  const password = randomUUID()
  await superuser.script(`create role ${name} login createrole password '${password}'`)
  await superuser.script(`create database ${name} owner ${name}`)
  const url = new URL(superuserUrl)
  url.username = name
  url.password = password
  url.pathname = `/${name}`
  return { url: url.href, admin: openAdmin(t, url.href) }
}

t.test('an administrator needs no more than CREATEROLE and a database of its own', async (t) => {
  const superuser = openAdmin(t, superuserUrl)
  const { url, admin } = await administrator(t, superuser, 'landlord')
  const notices: string[] = []
  const placement = rolePlacement(notices)
  await placement.prepare(admin)
  like(t, notices, [/temp_file_limit/, /rls\.tenant_id/])
  await placement.prepare(admin)

  const [own, other] = [
    await provisionTenant(t, placement, admin),
    await provisionTenant(t, placement, admin),
  ]
  const green = await provisionTenant(t, placement, admin, { id: own.id, colour: 'green' })
  const [db, otherDb] = [await openTenant(t, url, placement, own), await openTenant(t, url, placement, other)]
  for (const each of [db, otherDb]) {
    await each.query(
      sql`insert into app.users (first_name, last_name) select 'a', 'b' from generate_series(1, 7)`,
    )
  }
  await t.resolves(placement.check(db, own.id))
  await db.query(sql`select lo_from_bytea(4711, 'kept')`)
  await placement.withdraw(admin, own.id, 'blue')
  await db.connection.lost
  const greenDb = await openTenant(t, url, placement, green)
  like(t, await greenDb.query(sql`select convert_from(lo_get(4711), 'utf8') as text`), [{ text: 'kept' }])
  await t.resolves(placement.check(greenDb, own.id))
  like(
    t,
    await admin.query(
      sql`select pg_has_role(${placement.login(own.id, 'green').user}, 'usage') as "mayActAsTenant"`,
    ),
    [{ mayActAsTenant: false }],
    'the administrator is left with no more than before',
  )
  t.equal(await placement.removeRows(admin, own.id), 7)
  t.equal((await otherDb.query(sql`select from app.users`)).length, 7)
  await placement.unprovision(admin, own.id)
  await greenDb.connection.lost
  sameRows(t, await admin.query(sql`select rolname from pg_roles where rolname ~ '^t[bg]_' order by 1`), [
    { rolname: placement.login(other.id, 'blue').user },
  ])
  await makesLegacyLogins(t, superuser, admin)
})

/** The logins of docs/legacy.md, made by the administrator `landlord`. */
async function makesLegacyLogins(t: Test, superuser: AdminDb, admin: AdminDb) {
  const page = await readFile('docs/legacy.md', 'utf8')
  const [grant = ''] = /grant set on parameter rls\.tenant_id to /.exec(page) ?? []
  const blocks = [...page.matchAll(/```sql\n(create role[\s\S]*?)```/g)].map(([, text = '']) => text)
  t.equal(blocks.length, 2)
  const scripts = blocks.flatMap((text) => text.split(';')).filter((each) => each.trim() !== '')
  const last = scripts.pop() ?? ''
  for (const script of scripts) await admin.script(script)
  await rejectsLike(t, admin.script(last), { code: '42501' })
  await superuser.script(`${grant}landlord`)
  await admin.script(last)
  const settings = await admin.query(
    sql`select rolconfig from pg_roles where rolname ~ '^(legacy|lessor_row)_' order by rolname`,
  )
  sameRows(t, settings, [
    { rolconfig: ['search_path=app', 'rls.tenant_id=3f2a9c1e-7d55-4b0a-9a61-0d1c5e6f7a8b'] },
    { rolconfig: ['search_path=app'] },
  ])
  await superuser.script(`revoke set on parameter rls.tenant_id from landlord`)
}

t.test('an administrator who is no superuser moves a tenant into partitions and back', async (t) => {
  const superuser = openAdmin(t, superuserUrl)
  const role = { name: 'mover', password: randomUUID() }
  await superuser.script(`create role ${role.name} login createrole password '${role.password}'`)
  await superuser.script(`create database ${role.name} owner ${role.name}`)
  await superuser.script(`
    grant lessor_owner, lessor_keeper, lessor_tenant, lessor_row, lessor_schema, lessor_ddl to ${role.name} with admin option`)
  const url = new URL(superuserUrl)
  Object.assign(url, { username: role.name, password: role.password, pathname: `/${role.name}` })
  const admin = openAdmin(t, url.href)
  const placement = rolePlacement()
  await placement.prepare(admin)
  const tenant = await provisionTenant(t, placement, admin)
  const db = await openTenant(t, url.href, placement, tenant)
  await db.query(sql`insert into users (first_name, last_name) select 'a', 'b' from generate_series(1, 7)`)
  const options = { signal: new AbortController().signal, note: async () => {} }
  const rows = () =>
    db.query(sql`select tableoid::regclass::text = 'lessor_partitions.users' as common, count(*)::integer as count
      from users group by 1`)
  await moveOut(admin, tenant.id, { ...options, tablespace: undefined })
  sameRows(t, await rows(), [{ common: false, count: 7 }])
  await moveBack(admin, tenant.id, { ...options, rowLimit: 7 })
  sameRows(t, await rows(), [{ common: true, count: 7 }])

  await admin.script(`
    create table app.topics (tenant_id uuid, id integer, primary key (tenant_id, id));
    create table app.posts (tenant_id uuid, id integer, topic integer, primary key (tenant_id, id),
      constraint on_topic foreign key (tenant_id, topic) references app.topics);
    select lessor.protect('app.topics'), lessor.protect('app.posts')`)
  like(t, await promotionProblems(admin, undefined), [
    /^The table app\.topics cannot .* may not set session_replication_role, .* foreign key on_topic /,
  ])
  await superuser.script(`grant set on parameter session_replication_role to ${role.name}`)
  t.strictSame(await promotionProblems(admin, undefined), [])
})

t.test('tenants with tables of their own need CREATEDB besides, for databases', async (t) => {
  const superuser = openAdmin(t, superuserUrl)
  const { url, admin } = await administrator(t, superuser, 'builder')
  await superuser.script(`
    grant lessor_owner, lessor_tenant, lessor_row, lessor_keeper, lessor_schema, lessor_ddl
      to builder with admin option`)
  const [schemas, databases] = [ownPlacement('schema'), ownPlacement('database')]
  await schemas.prepare(admin)
  await rejectsLike(t, databases.prepare(admin), {
    code: 'PLACEMENT_UNAVAILABLE',
    message: /may not create databases/,
  })
  await superuser.script('alter role builder createdb')
  const newer = await appFiles(t, {
    '000001-users.sql': await readFile(new URL('../../sql/app/000001-users.sql', import.meta.url), 'utf8'),
    '000002-column.sql': 'alter table users add column nickname text',
  })
  for (const placement of [schemas, databases]) {
    await placement.prepare(admin)
    const own = await provisionTenant(t, placement, admin)
    const green = await provisionTenant(t, placement, admin, { id: own.id, colour: 'green' })
    const db = await openTenant(t, url, placement, own)
    await db.query(sql`insert into users (first_name, last_name) values ('Ada', 'Lovelace')`)
    await db.query(sql`select lo_from_bytea(4713, 'kept')`)
    await t.resolves(placement.check(db, own.id))
    const later = ownPlacement(placement.name, newer)
    t.strictSame(await later.migrate(admin, own.id, { lockTimeoutMs: 0 }), ['000002-column'])
    await placement.withdraw(admin, own.id, 'blue')
    await db.connection.lost
    const greenDb = await openTenant(t, url, placement, green)
    sameRows(t, await greenDb.query(sql`select first_name, nickname from users`), [
      { first_name: 'Ada', nickname: null },
    ])
    like(t, await greenDb.query(sql`select convert_from(lo_get(4713), 'utf8') as text`), [{ text: 'kept' }])
    await t.resolves(placement.check(greenDb, own.id))
    await placement.unprovision(admin, own.id)
    await greenDb.connection.lost
    t.strictSame(await leftOf(admin, own.id), NOTHING)
  }
})

t.test('what a superuser lets the administrator set is set on the roles', async (t) => {
  const superuser = openAdmin(t, superuserUrl)
  const { url, admin } = await administrator(t, superuser, 'trusted')
  await superuser.script(`
    grant set on parameter temp_file_limit to trusted;
    grant set on parameter rls.tenant_id to trusted;
    grant lessor_owner, lessor_tenant, lessor_row, lessor_keeper, lessor_schema, lessor_ddl to trusted with admin option`)
  const notices: string[] = []
  const placement = rolePlacement(notices)
  await placement.prepare(admin)
  t.strictSame(notices, [])
  const tenant = await provisionTenant(t, placement, admin)
  const db = await openTenant(t, url, placement, tenant)
  like(t, await db.query(sql`show temp_file_limit`), [{ temp_file_limit: '64MB' }])
  like(
    t,
    await admin.query(sql`
      select setconfig::text as config from pg_db_role_setting
      where setrole = to_regrole(${placement.login(tenant.id, 'blue').user})`),
    [{ config: new RegExp(`rls.tenant_id=${tenant.id}`) }],
  )
})

t.test('an administrator that may not use the group roles of the server is told so', async (t) => {
  const superuser = openAdmin(t, superuserUrl)
  const { admin } = await administrator(t, superuser, 'stranger')
  const [server] = await admin.query<{ modern: boolean }>(
    sql`select current_setting('server_version_num')::integer >= 160000 as modern`,
  )
  // Before PostgreSQL 16 who may make roles may use all of them.
  if (server?.modern === false) await t.resolves(rolePlacement().prepare(admin))
  else await rejectsLike(t, rolePlacement().prepare(admin), { code: '42501', message: /lessor_owner/ })
})

t.test('an administrator that does not own the database cannot keep everybody out of it', async (t) => {
  const superuser = openAdmin(t, superuserUrl)
  const { admin } = await administrator(t, superuser, 'guest')
  await superuser.script(`
    grant lessor_owner, lessor_tenant, lessor_row, lessor_keeper, lessor_schema, lessor_ddl to guest with admin option;
    alter database guest owner to postgres`)
  await rejectsLike(t, rolePlacement().prepare(admin), {
    code: 'PLACEMENT_UNAVAILABLE',
    message: /guest does not own the database/,
  })
})

t.test('a group role that could get past the walls is refused', async (t) => {
  const superuser = openAdmin(t, superuserUrl)
  for (const role of [
    'lessor_owner',
    'lessor_tenant',
    'lessor_row',
    'lessor_keeper',
    'lessor_schema',
    'lessor_ddl',
  ]) {
    for (const attribute of ['login', 'bypassrls', 'superuser', 'createrole']) {
      await superuser.script(`alter role ${role} ${attribute}`)
      await rejectsLike(
        t,
        rolePlacement().prepare(superuser),
        { code: 'PLACEMENT_UNAVAILABLE', message: new RegExp(`role ${role} may more than it should`) },
        `${role} ${attribute}`,
      )
      await superuser.script(`alter role ${role} no${attribute}`)
    }
  }
})
