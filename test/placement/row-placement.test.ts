import { randomBytes, randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { type ConnectionDb, LIMITS, openAdmin, openSession, rowPlacement } from './support.ts'

async function prepared(t: Test) {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const placement = rowPlacement()
  await placement.prepare(admin)
  const role = `lessor_row_${randomBytes(6).toString('hex')}`
  const password = randomPassword()
  t.teardown(() => admin.script(`drop owned by ${role}; drop role ${role}`))
  await placement.provisionRuntime(admin, { role, verifier: scramVerifier(password), limits: LIMITS })
  const login = new URL(url)
  login.username = role
  login.password = password.reveal()
  const open = (parameters = {}) =>
    openSession(t, login.href, { ...placement.login().parameters, ...parameters })
  return { url, admin, placement, role, open }
}

/** As the engine binds: for one transaction. */
function bound<T>(db: ConnectionDb, tenantId: string, work: () => Promise<T>): Promise<T> {
  return db.transaction(async () => {
    await db.query(sql`select set_config('rls.tenant_id', ${tenantId}, true)`)
    return work()
  })
}

function add(db: ConnectionDb, tenantId: string) {
  return bound(db, tenantId, () =>
    db.query<{ id: string }>(
      sql`insert into users (first_name, last_name) values ('Ada', 'Lovelace') returning id`,
    ),
  )
}

t.test('the runtime login is the tenant that it is bound to, for as long as the transaction', async (t) => {
  const { open, placement } = await prepared(t)
  const db = await open()
  const [own, other] = [randomUUID(), randomUUID()]
  await add(db, own)
  const [foreign] = await add(db, other)
  await bound(db, own, async () => {
    sameRows(t, await db.query(sql`select tenant_id from users`), [{ tenant_id: own }])
    sameRows(
      t,
      await db.query(sql`update users set last_name = 'x' where id = ${foreign?.id ?? ''} returning 1`),
      [],
    )
    sameRows(t, await db.query(sql`delete from users where tenant_id = ${other} returning 1`), [])
  })
  for (const forged of [
    sql`insert into users (tenant_id, first_name, last_name) values (${other}, 'a', 'b')`,
    sql`update users set tenant_id = ${other}`,
  ]) {
    await rejectsLike(
      t,
      bound(db, own, () => db.query(forged)),
      { code: '42501' },
    )
  }
  await rejectsLike(
    t,
    db.query(sql`select from users`),
    { code: '22P02' },
    'the setting is empty after the commit',
  )
  await t.resolves(placement.check(db, own))
})

t.test('without rls.tenant_id, with an empty and with a malformed one every statement fails', async (t) => {
  const { open } = await prepared(t)
  await add(await open(), randomUUID())
  const db = await open()
  const statements = [
    sql`select from users`,
    sql`select count(*) from users`,
    sql`insert into users (first_name, last_name) values ('a', 'b')`,
    sql`insert into users (tenant_id, first_name, last_name) values (gen_random_uuid(), 'a', 'b')`,
    sql`update users set first_name = 'x'`,
    sql`delete from users`,
  ]
  for (const statement of statements) await rejectsLike(t, db.query(statement), { code: '42704' })
  for (const value of ['', 'everybody', "' or true --", `${randomUUID()}x`]) {
    await db.query(sql`select set_config('rls.tenant_id', ${value}, false)`)
    for (const statement of statements) await rejectsLike(t, db.query(statement), { code: '22P02' }, value)
  }
})

t.test('the runtime login has its limits, and nothing beyond its group', async (t) => {
  const { admin, open, placement, role } = await prepared(t)
  like(t, await admin.query(sql`select * from pg_roles where rolname = ${role}`), [
    { rolcanlogin: true, rolsuper: false, rolbypassrls: false, rolconnlimit: LIMITS.connectionLimit },
  ])
  const db = await open()
  like(
    t,
    await db.query(sql`
      select current_setting('statement_timeout') as timeout, current_setting('search_path') as path,
        current_setting('rls.tenant_id', true) as tenant`),
    [{ timeout: '30s', path: 'app', tenant: null }],
  )
  await db.query(sql`set row_security = off`)
  await rejectsLike(
    t,
    bound(db, randomUUID(), () => db.query(sql`select from users`)),
    { code: '42501' },
  )
  for (const statement of [
    sql`truncate users`,
    sql`create table app.mine (id int)`,
    sql`create temporary table mine (id int)`,
    sql`select * from lessor.app_migrations`,
    sql`select lessor.protect('app.users')`,
    sql`set role lessor_owner`,
    sql`set role lessor_keeper`,
    sql`alter table users no force row level security`,
  ]) {
    await rejectsLike(t, db.query(statement), { code: '42501' }, statement.strings.join('...'))
  }
  await t.resolves(placement.check(await open(), randomUUID()))
})

t.test('check fails when a wall around the runtime login is down', async (t) => {
  const { admin, open, placement, role, url } = await prepared(t)
  const own = randomUUID()
  await add(await open(), randomUUID())
  const fails = async (rule: RegExp, broken: string, mended: string) => {
    await admin.script(broken)
    await rejectsLike(t, placement.check(await open(), own), { code: 'INTERNAL', message: rule }, broken)
    await admin.script(mended)
    await t.resolves(placement.check(await open(), own))
  }
  await fails(/attributes beyond login/, `alter role ${role} bypassrls`, `alter role ${role} nobypassrls`)
  await fails(/member of other roles/, `grant lessor_tenant to ${role}`, `revoke lessor_tenant from ${role}`)
  await fails(
    /create objects/,
    `grant create on schema app to lessor_row`,
    'revoke create on schema app from lessor_row',
  )
  await fails(
    /may use schema lessor/,
    'grant usage on schema lessor to lessor_row',
    'revoke usage on schema lessor from lessor_row',
  )
  await fails(
    /not active on every table/,
    'alter table app.users disable row level security',
    'alter table app.users enable row level security',
  )
  await fails(
    /users can be read without rls\.tenant_id; users can be read with a malformed.*rows of other tenants show in users/,
    'drop policy tenant_by_setting on app.users; create policy tenant_by_setting on app.users using (true)',
    "select lessor.protect('app.users')",
  )
  await fails(
    /users can be read without/,
    `alter policy tenant_by_setting on app.users
       using (tenant_id = nullif(current_setting('rls.tenant_id', true), '')::uuid)`,
    "select lessor.protect('app.users')",
  )
  await rejectsLike(t, placement.check(await open({ 'rls.tenant_id': own }), own), {
    message: /set before any/,
  })
  await rejectsLike(t, placement.check(await openSession(t, url), own), {
    message: /not named as the runtime/,
  })
})

t.test("removing a tenant's rows leaves those of others", async (t) => {
  const { admin, open, placement } = await prepared(t)
  const db = await open()
  const [own, other] = [randomUUID(), randomUUID()]
  for (const id of [own, own, own, other]) await add(db, id)
  t.equal(await placement.removeRows(admin, own), 3)
  t.equal(await placement.removeRows(admin, own), 0)
  t.equal((await bound(db, other, () => db.query(sql`select from users`))).length, 1)
})

t.test('a tenant has no login of its own, and no steps around one', async (t) => {
  const { admin, placement } = await prepared(t)
  const roles = sql`select count(*)::integer as count from pg_roles where rolname ~ '^t[bg]_'`
  const before = await admin.query(roles)
  await rejectsLike(t, placement.provision(), { code: 'PLACEMENT_UNAVAILABLE' })
  await placement.withdraw()
  await placement.unprovision()
  t.strictSame(await placement.migrate(), [])
  sameRows(t, await admin.query(roles), before)
  like(t, placement, { hasOwnLogin: false, hasOwnTables: false })
})

t.test('a runtime login of another name, or with a plain password, is refused', async (t) => {
  const { admin, placement } = await prepared(t)
  const verifier = scramVerifier(randomPassword())
  for (const role of ['lessor_row', 'postgres', 'lessor_row_0123456789AB', 'lessor_row_0123456789ab; --']) {
    await rejectsLike(t, placement.provisionRuntime(admin, { role, verifier, limits: LIMITS }), {
      message: /"role" must be/,
    })
  }
  const role = 'lessor_row_0123456789ab'
  await rejectsLike(t, placement.provisionRuntime(admin, { role, verifier: 'plain', limits: LIMITS }), {
    message: /"verifier"/,
  })
  sameRows(t, await admin.query(sql`select to_regrole(${role}) as role`), [{ role: null }])
})

t.test('providing the runtime login again changes its password and nothing else', async (t) => {
  const { admin, open, placement, role, url } = await prepared(t)
  await open()
  const password = randomPassword()
  await placement.provisionRuntime(admin, { role, verifier: scramVerifier(password), limits: LIMITS })
  await rejectsLike(t, open(), { code: '28P01' })
  const login = new URL(url)
  login.username = role
  login.password = password.reveal()
  await t.resolves(placement.check(await openSession(t, login.href), randomUUID()))
})
