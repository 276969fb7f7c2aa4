import t, { type Test } from 'tap'
import type { Placement } from '../../src/placement/placement.ts'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { openAdmin, openTenant, provisionTenant, rolePlacement } from './support.ts'

async function prepared(t: Test) {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const placement: Placement = rolePlacement()
  await placement.prepare(admin)
  await admin.script(`select lessor.tenant_view('app.users')`)
  return { url, admin, placement }
}

t.test('a view without tenant_id shows each tenant its own rows and takes new ones', async (t) => {
  const { url, admin, placement } = await prepared(t)
  const tenants = [await provisionTenant(t, placement, admin), await provisionTenant(t, placement, admin)]
  for (const [index, tenant] of tenants.entries()) {
    const db = await openTenant(t, url, placement, tenant)
    const [made] = await db.query<{ id: string }>(
      sql`insert into my_users (first_name, last_name) values ('Ada', ${`number ${index}`}) returning id`,
    )
    like(t, await db.query(sql`select * from my_users`), [{ id: made?.id, last_name: `number ${index}` }])
    sameRows(t, await db.query(sql`select tenant_id from users`), [{ tenant_id: tenant.id }])
    await db.query(sql`update my_users set first_name = 'Augusta'`)
    like(t, await db.query(sql`select first_name from users`), [{ first_name: 'Augusta' }])
    await rejectsLike(t, db.query(sql`select tenant_id from my_users`), { code: '42703' })
    await t.resolves(placement.check(db, tenant.id), 'the walls stand')
  }
  const [first] = tenants
  if (first === undefined) throw new Error('there should be a tenant')
  const db = await openTenant(t, url, placement, first)
  sameRows(t, await db.query(sql`delete from my_users returning last_name`), [{ last_name: 'number 0' }])
  sameRows(t, await admin.query(sql`select last_name from app.users`), [{ last_name: 'number 1' }])
})

t.test("a view is granted as its table is, and is its owner's", async (t) => {
  const { admin } = await prepared(t)
  await admin.script(`
    create table app.read_only (tenant_id uuid, id integer, "select" text, primary key (tenant_id, id));
    select lessor.protect('app.read_only', array['select']);
    select lessor.tenant_view('app.read_only', 'Plain Names')`)
  const [view] = await admin.query<Record<string, unknown>>(sql`
    select pg_get_userbyid(relowner) as owner, reloptions::text as options,
      (select string_agg(distinct grantee::regrole || ' ' || privilege_type, ', ' order by grantee::regrole || ' ' || privilege_type)
       from aclexplode(relacl) where grantee <> relowner) as grants,
      (select string_agg(attname, ', ' order by attnum) from pg_attribute where attrelid = c.oid) as columns
    from pg_class c where oid = 'app."Plain Names"'::regclass`)
  t.strictSame(view, {
    owner: 'lessor_owner',
    options: '{security_invoker=true}',
    grants: 'lessor_row SELECT, lessor_tenant SELECT',
    columns: 'id, select',
  })
})

t.test('a view that is made again follows the columns of its table', async (t) => {
  const { admin } = await prepared(t)
  const columns = async () =>
    (
      await admin.query<{ name: string }>(sql`
        select attname as name from pg_attribute where attrelid = 'app.notes_of_mine'::regclass order by attnum`)
    ).map(({ name }) => name)
  await admin.script(`
    create table app.notes (tenant_id uuid, id integer, text text, primary key (tenant_id, id));
    select lessor.protect('app.notes');
    select lessor.tenant_view('app.notes', 'notes_of_mine')`)
  t.strictSame(await columns(), ['id', 'text'])
  await admin.script(`
    alter table app.notes add column done boolean;
    select lessor.tenant_view('app.notes', 'notes_of_mine')`)
  t.strictSame(await columns(), ['id', 'text', 'done'])
  await admin.script(`
    alter table app.notes rename column text to body;
    select lessor.tenant_view('app.notes', 'notes_of_mine')`)
  t.strictSame(await columns(), ['id', 'body', 'done'])
})

t.test('a view stays when its table is partitioned', async (t) => {
  const { url, admin, placement } = await prepared(t)
  const tenant = await provisionTenant(t, placement, admin)
  const db = await openTenant(t, url, placement, tenant)
  await db.query(sql`insert into my_users (first_name, last_name) values ('Ada', 'before')`)
  await admin.script(`select lessor.partition('app.users')`)
  await db.query(sql`insert into my_users (first_name, last_name) values ('Ada', 'after')`)
  sameRows(t, await db.query(sql`select last_name from my_users order by created_at`), [
    { last_name: 'before' },
    { last_name: 'after' },
  ])
  await placement.check(db, tenant.id)
})

t.test('a table that is not protected gets no view', async (t) => {
  const { admin } = await prepared(t)
  await admin.script('create table app.bare (tenant_id uuid, id integer, primary key (tenant_id, id))')
  for (const name of ['app.bare', 'app.my_users', 'lessor.app_migrations']) {
    await rejectsLike(
      t,
      admin.query(sql`select lessor.tenant_view(${name}::text::regclass)`),
      { code: '42P16', message: /has no walls that a view could rely on/ },
      name,
    )
  }
})
