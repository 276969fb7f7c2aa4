import t, { type Test } from 'tap'
import { ident, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike, sameRows } from '../support/like.ts'
import { openAdmin, openSession, openTenant, provisionTenant, rolePlacement } from './support.ts'

// What docs/architecture.md promises of the placement `role`, tried by the statements of a tenant that has
// got hold of its own login.

async function twoTenants(t: Test) {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const placement = rolePlacement()
  await placement.prepare(admin)
  const [own, other] = [
    await provisionTenant(t, placement, admin),
    await provisionTenant(t, placement, admin),
  ]
  const [db, otherDb] = [await openTenant(t, url, placement, own), await openTenant(t, url, placement, other)]
  for (const each of [db, otherDb]) {
    await each.query(sql`insert into app.users (first_name, last_name) values ('Ada', 'Lovelace')`)
  }
  const [foreign] = await otherDb.query<{ id: string }>(sql`select id from app.users`)
  return { url, admin, placement, own, other, db, otherDb, foreignRow: foreign?.id ?? '' }
}

t.test('a tenant reads, changes and deletes its own rows and no others', async (t) => {
  const { own, other, db, otherDb, foreignRow } = await twoTenants(t)
  sameRows(
    t,
    await db.query(sql`select tenant_id from app.users`),
    [{ tenant_id: own.id }],
    'the default is its own',
  )
  sameRows(t, await db.query(sql`select from app.users where tenant_id = ${other.id}::uuid`), [])
  sameRows(t, await db.query(sql`select from app.users where id = ${foreignRow}::uuid`), [])
  sameRows(
    t,
    await db.query(sql`update app.users set last_name = 'x' where id = ${foreignRow}::uuid returning 1`),
    [],
  )
  t.equal((await db.query(sql`update app.users set last_name = 'King' returning 1`)).length, 1)
  t.equal((await db.query(sql`delete from app.users returning 1`)).length, 1)
  sameRows(t, await otherDb.query(sql`select last_name from app.users`), [{ last_name: 'Lovelace' }])
})

t.test('a row of another tenant can be neither made nor moved there', async (t) => {
  const { other, db } = await twoTenants(t)
  const refused = { code: '42501', message: /row-level security/ }
  await rejectsLike(
    t,
    db.query(sql`insert into app.users (tenant_id, first_name, last_name) values (${other.id}, 'a', 'b')`),
    refused,
  )
  await rejectsLike(t, db.query(sql`update app.users set tenant_id = ${other.id}`), refused)
  await rejectsLike(
    t,
    db.query(sql`
      insert into app.users (id, first_name, last_name) select id, 'a', 'b' from app.users
      on conflict (tenant_id, id) do update set tenant_id = ${other.id}`),
    refused,
  )
  t.equal((await db.query(sql`select from app.users`)).length, 1)
})

t.test('the same id in two tenants is no conflict, so that none can probe for it', async (t) => {
  const { db, foreignRow } = await twoTenants(t)
  await db.query(sql`insert into app.users (id, first_name, last_name) values (${foreignRow}, 'a', 'b')`)
  t.equal((await db.query(sql`select from app.users`)).length, 2)
})

t.test('changing rls.tenant_id gives a tenant nothing', async (t) => {
  const { url, placement, own, other, db } = await twoTenants(t)
  await db.query(sql`select set_config('rls.tenant_id', ${other.id}, false)`)
  sameRows(t, await db.query(sql`select tenant_id from app.users`), [{ tenant_id: own.id }])
  await rejectsLike(t, db.query(sql`insert into app.users (first_name, last_name) values ('a', 'b')`), {
    code: '42501',
  })
  await db.query(sql`select set_config('rls.tenant_id', '', false)`)
  await rejectsLike(t, db.query(sql`insert into app.users (first_name, last_name) values ('a', 'b')`), {
    code: '22P02',
  })
  // A role may keep settings for its next login; the service's start-up packet overrides this one.
  const { user } = placement.login(own.id, own.colour)
  await db.query(sql`alter role ${ident(user)} set row_security = off`)
  await rejectsLike(t, (await openTenant(t, url, placement, own)).query(sql`select from app.users`), {
    code: '42501',
  })
})

t.test('row security cannot be switched off', async (t) => {
  const { db } = await twoTenants(t)
  await db.query(sql`set row_security = off`)
  await rejectsLike(t, db.query(sql`select from app.users`), { code: '42501' })
  await rejectsLike(t, db.query(sql`delete from app.users`), { code: '42501' })
})

t.test('a tenant cannot become anyone else', async (t) => {
  const { admin, placement, own, other, db } = await twoTenants(t)
  const { user: otherUser } = placement.login(other.id, other.colour)
  const [superuser] = await admin.query<{ name: string }>(sql`select current_user as name`)
  for (const role of [otherUser, 'lessor_owner', 'lessor_keeper', superuser?.name ?? '']) {
    await rejectsLike(t, db.query(sql`set role ${ident(role)}`), { code: '42501' }, `set role ${role}`)
    await rejectsLike(t, db.query(sql`set session authorization ${ident(role)}`), { code: '42501' }, role)
  }
  const { user } = placement.login(own.id, own.colour)
  for (const statement of [
    sql`grant ${ident(otherUser)} to ${ident(user)}`,
    sql`grant lessor_owner to ${ident(user)}`,
    sql`alter role ${ident(user)} bypassrls`,
    sql`alter role ${ident(user)} superuser`,
    sql`alter role ${ident(user)} connection limit -1`,
    sql`alter role ${ident(otherUser)} rename to someone_else`,
    sql`alter role ${ident(otherUser)} password null`,
    sql`drop role ${ident(otherUser)}`,
    sql`create role another_one`,
    sql`select pg_terminate_backend(pid) from pg_stat_activity where usename = ${otherUser}`,
  ]) {
    await rejectsLike(t, db.query(statement), { code: '42501' }, statement.strings.join('...'))
  }
  // Since PostgreSQL 16 a member can be kept from becoming its group; before, the group sees nothing.
  const [server] = await db.query<{ version: number }>(
    sql`select current_setting('server_version_num')::integer as version`,
  )
  const asGroup = async () => {
    await db.query(sql`set role lessor_tenant`)
    await db.query(sql`select from app.users`)
  }
  await rejectsLike(t, asGroup(), { code: (server?.version ?? 0) >= 160_000 ? '42501' : '22P02' })
})

t.test('a tenant cannot truncate, refer to, put triggers on or alter a table', async (t) => {
  const { db } = await twoTenants(t)
  const [row] = await db.query(sql`
    select has_table_privilege('app.users', 'truncate') as truncate,
      has_table_privilege('app.users', 'references') as references,
      has_table_privilege('app.users', 'trigger') as trigger`)
  t.strictSame(row, { truncate: false, references: false, trigger: false })
  for (const statement of [
    sql`truncate app.users`,
    sql`alter table app.users disable row level security`,
    sql`alter table app.users no force row level security`,
    sql`alter table app.users add column x text`,
    sql`drop table app.users`,
    sql`create policy mine on app.users using (true)`,
    sql`drop policy tenant_by_role on app.users`,
    sql`create index on app.users (tenant_id)`,
    sql`create trigger x before insert on app.users for each row execute function suppress_redundant_updates_trigger()`,
  ]) {
    await rejectsLike(t, db.query(statement), { code: '42501' }, statement.strings.join('...'))
  }
})

t.test('a tenant can create nothing in any schema', async (t) => {
  const { db } = await twoTenants(t)
  for (const statement of [
    sql`create table app.mine (id int)`,
    sql`create table public.mine (id int)`,
    sql`create temporary table mine (id int)`,
    sql`create schema mine`,
    sql`create function app.f() returns int language sql as 'select 1'`,
    sql`create view app.v as select * from app.users`,
  ]) {
    await rejectsLike(t, db.query(statement), { code: '42501' }, statement.strings.join('...'))
  }
  sameRows(
    t,
    await db.query(sql`select nspname from pg_namespace where has_schema_privilege(oid, 'create')`),
    [],
  )
})

t.test('a tenant sees nothing of schema lessor and cannot change what protects its tables', async (t) => {
  const { admin, db } = await twoTenants(t)
  for (const statement of [
    sql`select * from lessor.app_migrations`,
    sql`select lessor.protect('app.users'::regclass)`,
    sql`select lessor.unsafe_reasons('app.users'::regclass)`,
  ]) {
    await rejectsLike(t, db.query(statement), { code: '42501' }, statement.strings.join('...'))
  }
  const functions = await admin.query(sql`
    select proname from pg_proc
    where pronamespace = 'lessor'::regnamespace and has_function_privilege('public', oid, 'execute')`)
  sameRows(t, functions, [], 'nor through the functions, should it get into the schema')
})

t.test('a tenant logs in to the databases that are prepared for tenants and to no other', async (t) => {
  const { admin, own, placement, url } = await twoTenants(t)
  const elsewhere = new URL((await testDatabase(t)).url)
  const closed = openAdmin(t, elsewhere.href)
  await closed.query(sql`select 1`)
  const name = elsewhere.pathname.slice(1)
  await closed.query(sql`revoke connect on database ${ident(name)} from public`)
  await rejectsLike(t, openTenant(t, elsewhere.href, placement, own), { code: '42501' })
  await openTenant(t, url, placement, own)
  const [row] = await admin.query<{ everybody: boolean }>(sql`
    select exists (
      select from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) a
      where datname = current_database() and a.grantee = 0) as everybody`)
  t.equal(row?.everybody, false)
})

t.test('the owner of the tables sees no row', async (t) => {
  const { url } = await twoTenants(t)
  const session = await openSession(t, url)
  await session.query(sql`set role lessor_owner`)
  sameRows(t, await session.query(sql`select from app.users`), [])
  await rejectsLike(
    t,
    session.query(
      sql`insert into app.users (tenant_id, first_name, last_name) values (gen_random_uuid(), 'a', 'b')`,
    ),
    { code: '42501' },
  )
  await session.query(sql`set role lessor_tenant`)
  await rejectsLike(t, session.query(sql`select from app.users`), { code: '22P02' }, 'the group is no tenant')
})

t.test('the keeper sees the rows of the tenant that rls.tenant_id names, and fails without it', async (t) => {
  const { url, own } = await twoTenants(t)
  const session = await openSession(t, url)
  await session.query(sql`set role lessor_keeper`)
  await rejectsLike(t, session.query(sql`select from app.users`), { code: '42704' })
  await session.query(sql`select set_config('rls.tenant_id', 'everybody', false)`)
  await rejectsLike(t, session.query(sql`select from app.users`), { code: '22P02' })
  await session.query(sql`select set_config('rls.tenant_id', ${own.id}, false)`)
  sameRows(t, await session.query(sql`select tenant_id from app.users`), [{ tenant_id: own.id }])
  await rejectsLike(t, session.query(sql`update app.users set first_name = 'x'`), { code: '42501' })
})

t.test('after SET LOCAL has ended the setting is empty, and the keeper is refused again', async (t) => {
  const { url, own } = await twoTenants(t)
  const session = await openSession(t, url)
  await session.query(sql`set role lessor_keeper`)
  await session.transaction(async (tx) => {
    await tx.query(sql`select set_config('rls.tenant_id', ${own.id}, true)`)
    t.equal((await tx.query(sql`select from app.users`)).length, 1)
  })
  sameRows(t, await session.query(sql`select current_setting('rls.tenant_id') as value`), [{ value: '' }])
  await rejectsLike(t, session.query(sql`select from app.users`), { code: '22P02' })
})
