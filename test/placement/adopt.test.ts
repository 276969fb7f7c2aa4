import t, { type Test } from 'tap'
import { migrate, readMigrations } from '../../src/control/migrate.ts'
import { ensureGroupRoles } from '../../src/placement/group-roles.ts'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { like, sameRows } from '../support/like.ts'
import { openAdmin, openTenant, provisionTenant, rolePlacement } from './support.ts'

// Data servers that the first release prepared: the walls were a file of sql/app then.

async function firstRelease(t: Test) {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  await ensureGroupRoles(admin)
  const files = await readMigrations(new URL('./first-release/', import.meta.url))
  await migrate(admin, files, { ledger: 'lessor.app_migrations' })
  return { url, admin, files }
}

t.test(
  'a data server of the first release is adopted, with its rows, by one of several starters',
  async (t) => {
    const { url, admin } = await firstRelease(t)
    const placement = rolePlacement()
    const tenant = await provisionTenant(t, placement, admin)
    await admin.query(
      sql`insert into app.users (tenant_id, first_name, last_name) values (${tenant.id}, 'Ada', 'Lovelace')`,
    )
    await Promise.all(Array.from({ length: 4 }, () => rolePlacement().prepare(openAdmin(t, url))))
    await placement.prepare(admin)

    const fresh = openAdmin(t, (await testDatabase(t)).url)
    await placement.prepare(fresh)
    const ledgers = sql`
    select 'walls' as ledger, version, name, checksum from lessor.wall_migrations
    union all select 'app', version, name, checksum from lessor.app_migrations order by ledger, version`
    sameRows(t, await admin.query(ledgers), await fresh.query(ledgers), 'it is what a new one is')
    const policies = sql`
    select tablename, policyname, roles::text, qual, with_check from pg_policies where schemaname = 'app' order by 1, 2`
    sameRows(t, await admin.query(policies), await fresh.query(policies))
    const grants = sql`
    select grantee::regrole::text as grantee, privilege_type as verb
    from pg_class, aclexplode(relacl) where oid = 'app.users'::regclass and grantee <> relowner order by 1, 2`
    sameRows(t, await admin.query(grants), await fresh.query(grants))

    const db = await openTenant(t, url, placement, tenant)
    sameRows(t, await db.query(sql`select first_name from users`), [{ first_name: 'Ada' }])
    await t.resolves(placement.check(db, tenant.id))
  },
)

t.test(
  "a team's own tables of the first release keep their verbs and their place in the ledger",
  async (t) => {
    const { admin } = await firstRelease(t)
    await admin.script(`
    create table app.notes (tenant_id uuid, id int, primary key (tenant_id, id));
    select lessor.protect('app.notes', array['select', 'insert']);
    insert into lessor.app_migrations (version, name, checksum) values (3, '000003-notes', 'as it was')`)
    await rolePlacement().prepare(admin)
    like(t, await admin.query(sql`select * from lessor.app_migrations order by version`), [
      { version: 1, name: '000001-users' },
      { version: 2, name: '000002-notes', checksum: 'as it was' },
    ])
    sameRows(
      t,
      await admin.query(sql`
      select grantee::regrole::text as grantee, string_agg(lower(privilege_type), ' ' order by privilege_type) as verbs
      from pg_class, aclexplode(relacl)
      where oid = 'app.notes'::regclass and grantee <> relowner group by 1 order by 1`),
      [
        { grantee: 'lessor_keeper', verbs: 'delete select' },
        { grantee: 'lessor_row', verbs: 'insert select' },
        { grantee: 'lessor_tenant', verbs: 'insert select' },
      ],
    )
  },
)
