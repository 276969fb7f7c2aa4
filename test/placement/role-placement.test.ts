import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { ident, type ScriptDb, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { LIMITS, openAdmin, openSession, openTenant, provisionTenant, rolePlacement } from './support.ts'

/** ENDED is what a statement fails with whose session the server ends. */
const ENDED = { code: 'CONNECTION_CLOSED', cause: { code: '57P01' } }

async function prepared(t: Test) {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const placement = rolePlacement()
  await placement.prepare(admin)
  return { url, admin, placement }
}

async function rolesOf(admin: ScriptDb, tenantId: string) {
  const hex = tenantId.replaceAll('-', '')
  return admin.query(sql`select rolname from pg_roles where rolname like ${`%${hex}`} order by 1`)
}

t.test('services that start at once prepare a data server once', async (t) => {
  const { url } = await testDatabase(t)
  const admins = Array.from({ length: 5 }, () => openAdmin(t, url))
  await Promise.all(admins.map((admin) => rolePlacement().prepare(admin)))
  const [admin] = admins
  if (admin === undefined) throw new Error('bug: no administrator')
  sameRows(t, await admin.query(sql`select name from lessor.app_migrations order by version`), [
    { name: '000001-users' },
  ])
  like(t, await admin.query(sql`select name from lessor.wall_migrations order by version limit 1`), [
    { name: '000001-walls' },
  ])
  await rolePlacement().prepare(admin)
  sameRows(
    t,
    await admin.query(sql`select tablename, tableowner, rowsecurity from pg_tables where schemaname = 'app'`),
    [{ tablename: 'users', tableowner: 'lessor_owner', rowsecurity: true }],
  )
})

t.test('prepare closes the database again when somebody has opened it to everybody', async (t) => {
  const { admin, placement, url } = await prepared(t)
  const database = new URL(url).pathname.slice(1)
  await admin.query(sql`grant all on database ${ident(database)} to public`)
  await admin.query(sql`grant all on schema public to public`)
  await placement.prepare(admin)
  sameRows(
    t,
    await admin.query(sql`
      select has_database_privilege(${`public`}, current_database(), 'connect') as connect,
        has_database_privilege('public', current_database(), 'temporary') as temporary,
        has_schema_privilege('public', 'public', 'usage') as usage`),
    [{ connect: false, temporary: false, usage: false }],
  )
})

t.test('a login has its limits and settings, and only its verifier is stored', async (t) => {
  const { url, admin, placement } = await prepared(t)
  const tenant = await provisionTenant(t, placement, admin, {
    limits: {
      connectionLimit: 3,
      statementTimeoutMs: 1500,
      idleInTransactionTimeoutMs: 2500,
      tempFileLimitKb: 2048,
    },
  })
  const { user } = placement.login(tenant.id, 'blue')
  t.match(user, /^tb_[0-9a-f]{32}$/)
  like(t, await admin.query(sql`select *, rolpassword as password from pg_authid where rolname = ${user}`), [
    {
      rolcanlogin: true,
      rolsuper: false,
      rolbypassrls: false,
      rolcreaterole: false,
      rolcreatedb: false,
      rolreplication: false,
      rolconnlimit: 3,
      password: /^SCRAM-SHA-256\$/,
    },
  ])
  const bare = new URL(url)
  bare.username = user
  bare.password = tenant.password.reveal()
  const db = await openSession(t, bare.href)
  sameRows(
    t,
    await db.query(sql`
      select current_setting('statement_timeout') as statement,
        current_setting('idle_in_transaction_session_timeout') as idle,
        current_setting('temp_file_limit') as temp,
        current_setting('rls.tenant_id') as tenant`),
    [{ statement: '1500ms', idle: '2500ms', temp: '2MB', tenant: tenant.id }],
    'for any program that logs in',
  )
  await db.query(sql`insert into app.users (first_name, last_name) values ('a', 'b')`)
  await openSession(t, bare.href)
  await openSession(t, bare.href)
  await rejectsLike(t, openSession(t, bare.href), { code: '53300' }, 'one connection more than allowed')
  await rejectsLike(t, db.query(sql`select pg_sleep(5)`), { code: '57014' })
})

t.test('provisioning again changes password and limits and nothing else', async (t) => {
  const { url, admin, placement } = await prepared(t)
  const tenant = await provisionTenant(t, placement, admin)
  const password = randomPassword()
  await placement.provision(admin, {
    tenantId: tenant.id.toUpperCase(),
    colour: 'blue',
    verifier: scramVerifier(password),
    limits: { ...LIMITS, statementTimeoutMs: 777 },
  })
  t.equal((await rolesOf(admin, tenant.id)).length, 1)
  await rejectsLike(t, openTenant(t, url, placement, tenant), { code: '28P01' }, 'the old password')
  const db = await openTenant(t, url, placement, { ...tenant, password })
  like(t, await db.query(sql`show statement_timeout`), [{ statement_timeout: '777ms' }])
  await placement.check(db, tenant.id)
})

t.test('blue and green are two logins of one tenant that see the same rows', async (t) => {
  const { url, admin, placement } = await prepared(t)
  const blue = await provisionTenant(t, placement, admin)
  const green = await provisionTenant(t, placement, admin, { id: blue.id, colour: 'green' })
  like(t, placement.login(blue.id, 'green'), { user: /^tg_/, parameters: { 'rls.tenant_id': blue.id } })
  const [blueDb, greenDb] = [
    await openTenant(t, url, placement, blue),
    await openTenant(t, url, placement, green),
  ]
  await blueDb.query(sql`insert into app.users (first_name, last_name) values ('a', 'b')`)
  t.equal((await greenDb.query(sql`select from app.users`)).length, 1)
  await placement.check(blueDb, blue.id)
  await placement.check(greenDb, blue.id)
})

t.test('a plain password never gets to the server', async (t) => {
  const { admin, placement } = await prepared(t)
  const tenantId = randomUUID()
  await rejectsLike(
    t,
    placement.provision(admin, { tenantId, colour: 'blue', verifier: 'secret', limits: LIMITS }),
    { name: 'TypeError', message: /"verifier"/ },
  )
  sameRows(t, await rolesOf(admin, tenantId), [])
})

t.test('an id that is no UUID is refused before it gets near SQL', async (t) => {
  const { admin, placement } = await prepared(t)
  const id = "x'; drop table app.users; --"
  t.throws(() => placement.login(id, 'blue'), TypeError)
  await t.rejects(placement.removeRows(admin, id), TypeError)
  await t.rejects(placement.unprovision(admin, id), TypeError)
  await t.rejects(placement.withdraw(admin, id, 'blue'), TypeError)
  await t.rejects(placement.check(admin, id), TypeError)
  await t.rejects(
    placement.provision(admin, { tenantId: id, colour: 'blue', verifier: '', limits: LIMITS }),
    TypeError,
  )
})

t.test('two nodes that provision or remove one tenant at once both succeed', async (t) => {
  const { url, admin, placement } = await prepared(t)
  const tenantId = randomUUID()
  t.teardown(() => placement.unprovision(admin, tenantId))
  const verifier = scramVerifier(randomPassword())
  const nodes = Array.from({ length: 4 }, () => openAdmin(t, url))
  await Promise.all(
    nodes.map((node) => placement.provision(node, { tenantId, colour: 'blue', verifier, limits: LIMITS })),
  )
  t.equal((await rolesOf(admin, tenantId)).length, 1)
  await Promise.all(nodes.map((node) => placement.unprovision(node, tenantId)))
  sameRows(t, await rolesOf(admin, tenantId), [])
})

t.test('unprovision ends the sessions of both logins and leaves nothing of them', async (t) => {
  const { url, admin, placement } = await prepared(t)
  const blue = await provisionTenant(t, placement, admin)
  const green = await provisionTenant(t, placement, admin, { id: blue.id, colour: 'green' })
  const [idle, busy] = [await openTenant(t, url, placement, blue), await openTenant(t, url, placement, green)]
  await admin.script('grant execute on function lo_create(oid) to lessor_tenant')
  await idle.query(sql`select lo_create(0)`)
  const sleep = rejectsLike(t, busy.query(sql`select pg_sleep(20)`), ENDED)
  await placement.unprovision(admin, blue.id)
  await Promise.all([sleep, idle.connection.lost, busy.connection.lost])
  sameRows(t, await rolesOf(admin, blue.id), [])
  sameRows(t, await admin.query(sql`select from pg_largeobject_metadata`), [], 'what they owned is gone')
  await rejectsLike(t, openTenant(t, url, placement, blue), { code: '28P01' })
  await placement.unprovision(admin, blue.id)
})

t.test('withdraw ends one login, and what it owned is the other one’s', async (t) => {
  const { url, admin, placement } = await prepared(t)
  const blue = await provisionTenant(t, placement, admin)
  const green = await provisionTenant(t, placement, admin, { id: blue.id, colour: 'green' })
  const other = await provisionTenant(t, placement, admin)
  const [old, fresh, foreign] = [
    await openTenant(t, url, placement, blue),
    await openTenant(t, url, placement, green),
    await openTenant(t, url, placement, other),
  ]
  // Made before that was taken from tenants of this placement.
  await admin.script('grant execute on function lo_from_bytea(oid, bytea) to lessor_tenant')
  const [made] = await old.query<{ oid: number }>(sql`select lo_from_bytea(0, 'kept') as oid`)
  await admin.script('revoke execute on function lo_from_bytea(oid, bytea) from lessor_tenant')
  const read = sql`select convert_from(lo_get(${made?.oid ?? 0}::oid), 'utf8') as text`
  await old.query(sql`alter default privileges grant select on tables to public`)
  const sleep = rejectsLike(t, old.query(sql`select pg_sleep(20)`), ENDED)
  await placement.withdraw(admin, blue.id.toUpperCase(), 'blue')
  await Promise.all([sleep, old.connection.lost])
  like(t, await rolesOf(admin, blue.id), [{ rolname: placement.login(blue.id, 'green').user }])
  await rejectsLike(t, openTenant(t, url, placement, blue), { code: '28P01' })
  like(t, await fresh.query(read), [{ text: 'kept' }])
  await rejectsLike(t, foreign.query(read), { code: '42501' })
  sameRows(t, await admin.query(sql`select from pg_default_acl`), [])
  await placement.check(fresh, blue.id)
  await placement.withdraw(admin, blue.id, 'blue')
  await placement.withdraw(admin, blue.id, 'green')
  sameRows(t, await rolesOf(admin, blue.id), [])
  sameRows(t, await admin.query(sql`select from pg_largeobject_metadata`), [], 'nobody is left to own it')
  await foreign.query(sql`select 1`)
})

t.test("removeRows deletes one tenant's rows in every table, in batches, and no others", async (t) => {
  const { url, admin, placement } = await prepared(t)
  const [tenant, other] = [
    await provisionTenant(t, placement, admin),
    await provisionTenant(t, placement, admin),
  ]
  // Named so that the parents come first in the alphabet.
  await admin.script(`
    create table app.a_parent (tenant_id uuid not null, id int, primary key (tenant_id, id));
    create table app.b_child (tenant_id uuid not null, id int, parent int, primary key (tenant_id, id),
      foreign key (tenant_id, parent) references app.a_parent);
    create table app.c_log (tenant_id uuid not null, id int, primary key (tenant_id, id)) partition by hash (tenant_id);
    create table app.c_log_0 partition of app.c_log for values with (modulus 2, remainder 0);
    create table app.c_log_1 partition of app.c_log for values with (modulus 2, remainder 1);
    create table app.settings (name text primary key);
    select lessor.protect('app.a_parent');
    select lessor.protect('app.b_child');
    select lessor.protect('app.c_log', array['select', 'insert']);`)
  for (const { db, rows } of [
    { db: await openTenant(t, url, placement, tenant), rows: 12_345 },
    { db: await openTenant(t, url, placement, other), rows: 10 },
  ]) {
    await db.query(sql`
      insert into app.users (first_name, last_name) select 'a', 'b' from generate_series(1, ${rows}::integer)`)
    await db.query(
      sql`insert into app.a_parent select current_setting('rls.tenant_id')::uuid, n from generate_series(1, 10) n`,
    )
    await db.query(
      sql`insert into app.b_child select current_setting('rls.tenant_id')::uuid, n, n from generate_series(1, 10) n`,
    )
    await db.query(
      sql`insert into app.c_log select current_setting('rls.tenant_id')::uuid, n from generate_series(1, 10) n`,
    )
  }
  t.equal(await placement.removeRows(admin, tenant.id), 12_375)
  for (const table of ['users', 'a_parent', 'b_child', 'c_log']) {
    sameRows(
      t,
      await admin.query(sql`select distinct tenant_id from app.${ident(table)}`),
      [{ tenant_id: other.id }],
      table,
    )
  }
  t.equal(await placement.removeRows(admin, tenant.id), 0, 'again')
})

t.test('removeRows works behind row level security, even for a superuser', async (t) => {
  const { url, admin, placement } = await prepared(t)
  const tenant = await provisionTenant(t, placement, admin)
  const db = await openTenant(t, url, placement, tenant)
  await db.query(sql`insert into app.users (first_name, last_name) values ('a', 'b')`)
  await admin.script(`
    create function public.only_keeper() returns trigger language plpgsql as $$
    begin
      if current_user <> 'lessor_keeper' or not row_security_active(tg_relid) then
        raise exception 'deleted by %', current_user;
      end if;
      return old;
    end $$;
    create trigger only_keeper before delete on app.users for each row execute function public.only_keeper()`)
  t.equal(await placement.removeRows(admin, tenant.id), 1)
})

t.test('rows that a table outside keeps from being deleted are reported, not skipped', async (t) => {
  const { url, admin, placement } = await prepared(t)
  const tenant = await provisionTenant(t, placement, admin)
  const db = await openTenant(t, url, placement, tenant)
  await db.query(sql`insert into app.users (first_name, last_name) values ('a', 'b')`)
  await admin.script(`
    create table public.outside (tenant_id uuid, id uuid, foreign key (tenant_id, id) references app.users);
    insert into public.outside select tenant_id, id from app.users`)
  await rejectsLike(t, placement.removeRows(admin, tenant.id), { code: '23503' })
})
