import t, { type Test } from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike, sameRows } from '../support/like.ts'
import { openAdmin, openTenant, provisionTenant, rolePlacement } from './support.ts'

async function prepared(t: Test) {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const placement = rolePlacement()
  await placement.prepare(admin)
  return { url, admin, placement }
}

t.test('a table of one file and one call is as safe as the others', async (t) => {
  const { url, admin, placement } = await prepared(t)
  await admin.script(`
    create table app.notes (
      tenant_id uuid,
      id bigint generated always as identity,
      text text not null,
      primary key (tenant_id, id)
    );
    select lessor.protect('app.notes', array['select', 'insert']);
    select lessor.protect('app.notes', array['select', 'insert'])`)
  const tenants = [await provisionTenant(t, placement, admin), await provisionTenant(t, placement, admin)]
  for (const tenant of tenants) {
    const db = await openTenant(t, url, placement, tenant)
    await db.query(sql`insert into app.notes (text) values ('mine')`)
    sameRows(t, await db.query(sql`select tenant_id from app.notes`), [{ tenant_id: tenant.id }])
    await rejectsLike(t, db.query(sql`delete from app.notes`), { code: '42501' }, 'a verb that was not named')
    await placement.check(db, tenant.id)
  }
  sameRows(
    t,
    await admin.query(sql`
      select pg_get_userbyid(relowner) as owner, relrowsecurity, relforcerowsecurity
      from pg_class where oid = 'app.notes'::regclass`),
    [{ owner: 'lessor_owner', relrowsecurity: true, relforcerowsecurity: true }],
  )
})

t.test('every policy checks rows that are read and rows that are written, without a subquery', async (t) => {
  const { admin } = await prepared(t)
  const policies = await admin.query<{ roles: string; qual: string; check: string }>(sql`
    select roles::text, qual, with_check as check from pg_policies where tablename = 'users' order by policyname`)
  sameRows(t, policies, [
    {
      roles: '{lessor_tenant}',
      qual: '(tenant_id = ("right"((CURRENT_USER)::text, 32))::uuid)',
      check: '(tenant_id = ("right"((CURRENT_USER)::text, 32))::uuid)',
    },
    {
      roles: '{lessor_keeper,lessor_row}',
      qual: "(tenant_id = (current_setting('rls.tenant_id'::text))::uuid)",
      check: "(tenant_id = (current_setting('rls.tenant_id'::text))::uuid)",
    },
  ])
})

t.test('protecting again takes back grants that went too far', async (t) => {
  const { admin } = await prepared(t)
  await admin.script(`
    grant all on app.users to public, lessor_tenant, lessor_row, lessor_keeper;
    alter table app.users no force row level security;
    select lessor.protect('app.users')`)
  const grants = await admin.query(sql`
    select grantee::regrole::text as grantee, string_agg(lower(privilege_type), ' ' order by privilege_type) as verbs
    from pg_class, aclexplode(relacl)
    where oid = 'app.users'::regclass and grantee <> relowner group by 1 order by 1`)
  sameRows(t, grants, [
    { grantee: 'lessor_keeper', verbs: 'delete select' },
    { grantee: 'lessor_row', verbs: 'delete insert select update' },
    { grantee: 'lessor_tenant', verbs: 'delete insert select update' },
  ])
})

t.test('a table that cannot be made safe is refused, saying why', async (t) => {
  const { admin } = await prepared(t)
  await admin.script(`
    create table app.parents (tenant_id uuid, id int, primary key (tenant_id, id), unique (tenant_id, id));
    create table app.countries (code text primary key);
    create view app.a_view as select * from app.users;
    create table app.split (tenant_id uuid, id int, primary key (tenant_id, id)) partition by hash (tenant_id);`)
  for (const { ddl, why } of [
    {
      ddl: '(id int primary key)',
      why: /bad cannot be shared between tenants: it has no column tenant_id of type uuid/,
    },
    { ddl: '(tenant_id text, id int, primary key (tenant_id, id))', why: /no column tenant_id of type uuid/ },
    { ddl: '(tenant_id uuid, id int)', why: /no primary key/ },
    { ddl: '(tenant_id uuid, id int primary key)', why: /index app.bad_pkey does not start with tenant_id/ },
    { ddl: '(tenant_id uuid, id int, primary key (id, tenant_id))', why: /bad_pkey does not start/ },
    {
      ddl: '(tenant_id uuid, id int, email text unique, primary key (tenant_id, id))',
      why: /bad_email_key does not/,
    },
    {
      ddl: '(tenant_id uuid, id int, email text, primary key (tenant_id, id)); create index on app.bad (lower(email))',
      why: /bad_lower_idx does not start/,
    },
    {
      ddl: '(tenant_id uuid, id int, code text references app.countries, primary key (tenant_id, id))',
      why: /foreign key bad_code_fkey does not pair tenant_id/,
    },
    {
      ddl: `(tenant_id uuid, id int, parent uuid, parent_id int, primary key (tenant_id, id),
             foreign key (parent, parent_id) references app.parents)`,
      why: /foreign key bad_parent_parent_id_fkey/,
    },
    { ddl: '(primary key (tenant_id, id)) inherits (app.parents)', why: /inherits/ },
    { ddl: 'partition of app.split for values with (modulus 2, remainder 0)', why: /it is a partition/ },
  ]) {
    await rejectsLike(
      t,
      admin.script(`create table app.bad ${ddl}; select lessor.protect('app.bad')`),
      { code: '42P16', message: why },
      ddl,
    )
  }
  await rejectsLike(t, admin.query(sql`select lessor.protect('app.a_view')`), {
    message: /it is not a table/,
  })
  for (const verbs of [
    [],
    ['all'],
    ['select', 'select'],
    ['truncate'],
    ['select on app.users to public --'],
  ]) {
    await rejectsLike(
      t,
      admin.query(sql`select lessor.protect('app.parents', ${verbs}::text[])`),
      { code: '22023' },
      `verbs ${verbs}`,
    )
  }
})
