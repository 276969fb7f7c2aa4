import t, { type Test } from 'tap'
import { ident, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike } from '../support/like.ts'
import { openAdmin, openSession, openTenant, provisionTenant, rolePlacement } from './support.ts'

async function tenants(t: Test) {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const placement = rolePlacement()
  await placement.prepare(admin)
  const own = await provisionTenant(t, placement, admin)
  const other = await provisionTenant(t, placement, admin)
  const role = ident(placement.login(own.id, own.colour).user)
  return { url, admin, placement, own, other, role }
}

function names(rule: string) {
  return { code: 'INTERNAL', message: new RegExp(rule) }
}

t.test('check passes for a login as it is provisioned, with rows of others about', async (t) => {
  const { url, placement, own, other } = await tenants(t)
  const [db, otherDb] = [await openTenant(t, url, placement, own), await openTenant(t, url, placement, other)]
  await otherDb.query(sql`insert into app.users (first_name, last_name) values ('a', 'b')`)
  await t.resolves(placement.check(db, own.id))
  await t.resolves(placement.check(db, own.id.toUpperCase()))
})

t.test(
  'check fails for the login of another tenant, for the wrong setting and for row_security off',
  async (t) => {
    const { url, placement, own, other } = await tenants(t)
    const db = await openTenant(t, url, placement, own)
    await rejectsLike(t, placement.check(db, other.id), names('named after another tenant'))
    await db.query(sql`select set_config('rls.tenant_id', ${other.id}, false)`)
    await rejectsLike(t, placement.check(db, own.id), names('rls.tenant_id names another tenant'))
    const off = await openTenant(t, url, placement, own, { row_security: 'off' })
    await rejectsLike(t, placement.check(off, own.id), names('row_security is off'))
  },
)

t.test('check fails for a superuser, and for one who acts as the tenant', async (t) => {
  const { url, placement, own, role } = await tenants(t)
  const session = await openSession(t, url, { 'rls.tenant_id': own.id })
  await rejectsLike(t, placement.check(session, own.id), names('attributes beyond login'))
  await session.query(sql`set role ${role}`)
  await rejectsLike(t, placement.check(session, own.id), names('return to another role'))
})

t.test('check fails when the role has got attributes, memberships or grants', async (t) => {
  const { url, admin, placement, own, role } = await tenants(t)
  const database = ident(new URL(url).pathname.slice(1))
  await admin.script(`
    create table app.unprotected (tenant_id uuid, x int);
    create materialized view app.everything as select * from app.users;
    create view app.windows as select * from app.users;
    create view app.invoker with (security_invoker) as select * from app.users;
    grant select on app.invoker to lessor_tenant`)
  const db = await openTenant(t, url, placement, own)
  await t.resolves(placement.check(db, own.id))
  for (const { rule, broken, mended } of [
    {
      rule: 'attributes beyond login',
      broken: sql`alter role ${role} createdb`,
      mended: sql`alter role ${role} nocreatedb`,
    },
    {
      rule: 'attributes beyond login',
      broken: sql`alter role ${role} bypassrls`,
      mended: sql`alter role ${role} nobypassrls`,
    },
    {
      rule: 'member of other roles',
      broken: sql`grant lessor_owner to ${role}`,
      mended: sql`revoke lessor_owner from ${role}`,
    },
    {
      rule: 'member of other roles',
      broken: sql`grant lessor_tenant to ${role} with admin option`,
      mended: sql`revoke admin option for lessor_tenant from ${role}`,
    },
    {
      rule: 'create objects',
      broken: sql`grant create on schema app to ${role}`,
      mended: sql`revoke create on schema app from ${role}`,
    },
    {
      rule: 'create objects',
      broken: sql`grant temporary on database ${database} to public`,
      mended: sql`revoke temporary on database ${database} from public`,
    },
    {
      rule: 'use schema lessor',
      broken: sql`grant usage on schema lessor to ${role}`,
      mended: sql`revoke usage on schema lessor from ${role}`,
    },
    {
      rule: 'truncate, refer',
      broken: sql`grant truncate on app.users to ${role}`,
      mended: sql`revoke truncate on app.users from ${role}`,
    },
    {
      rule: 'truncate, refer',
      broken: sql`grant references on app.users to ${role}`,
      mended: sql`revoke references on app.users from ${role}`,
    },
    {
      rule: 'not active on every table',
      broken: sql`grant select on app.unprotected to ${role}`,
      mended: sql`revoke select on app.unprotected from ${role}`,
    },
    {
      rule: 'not active on every table',
      broken: sql`grant insert (x) on app.unprotected to ${role}`,
      mended: sql`revoke insert (x) on app.unprotected from ${role}`,
    },
    {
      rule: 'not active on every table',
      broken: sql`grant select on app.everything to ${role}`,
      mended: sql`revoke select on app.everything from ${role}`,
    },
    {
      rule: 'view shows what its owner sees',
      broken: sql`grant select on app.windows to ${role}`,
      mended: sql`revoke select on app.windows from ${role}`,
    },
    {
      rule: 'not active on every table',
      broken: sql`alter table app.users disable row level security`,
      mended: sql`alter table app.users enable row level security`,
    },
  ]) {
    await admin.query(broken)
    await rejectsLike(t, placement.check(db, own.id), names(rule), broken.strings.join('...'))
    await admin.query(mended)
    await t.resolves(placement.check(db, own.id))
  }
})

t.test('check fails when a policy lets rows of others through', async (t) => {
  const { url, admin, placement, own, other } = await tenants(t)
  const otherDb = await openTenant(t, url, placement, other)
  await otherDb.query(sql`insert into app.users (first_name, last_name) values ('a', 'b')`)
  await admin.query(sql`create policy leak on app.users using (true)`)
  const db = await openTenant(t, url, placement, own)
  await rejectsLike(t, placement.check(db, own.id), names('rows of other tenants show in users'))
})
