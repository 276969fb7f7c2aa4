import t, { type Test } from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { MAX_PAGE_SIZE } from '../../src/users/user.ts'
import { insertUser, listUsers } from '../../src/users/user-store.ts'
import { openAdmin, openTenant, provisionTenant, rolePlacement } from '../placement/support.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike, sameRows } from '../support/like.ts'
import { FIRST_PAGE, planOf, REQUESTS, scansOf } from './plans.ts'

/** A tenant among others that have as many users as it. */
async function crowd(t: Test, { others = 100, users = 100 } = {}) {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const placement = rolePlacement()
  await placement.prepare(admin)
  const tenant = await provisionTenant(t, placement, admin)
  await admin.query(sql`
    insert into app.users (tenant_id, first_name, last_name, created_at)
    select tenant, 'First' || n, 'Last' || n, timestamptz '2026-01-01' + n * interval '1 hour'
    from (select ${tenant.id}::uuid as tenant union all select gen_random_uuid() from generate_series(1, ${others}::integer)) tenants,
      generate_series(1, ${users}::integer) n`)
  // VACUUM marks a page only when the commit on it is on disk, which the test server does not wait for.
  await admin.query(sql`checkpoint`)
  // Nor while any other session of this database, such as an autovacuum worker, has an older snapshot.
  const isVisible = async () => {
    await admin.query(sql`vacuum analyze app.users`)
    const [row] = await admin.query<{ visible: boolean }>(
      sql`select relallvisible = relpages as visible from pg_class where oid = 'app.users'::regclass`,
    )
    return row?.visible === true
  }
  while (!(await isVisible()));
  return { tenant, db: await openTenant(t, url, placement, tenant) }
}

t.test("every list reads the tenant's part of an index and nothing else", async (t) => {
  const { db, tenant } = await crowd(t)
  for (const request of REQUESTS) {
    const scans = scansOf(await planOf(db, tenant.id, request))
    t.equal(scans.length >= 2, true, 'one for the count, one for the page')
    for (const scan of scans) {
      if (scan['Node Type'] === 'Bitmap Heap Scan') continue
      t.match(scan['Node Type'], /Index/)
      t.match(scan['Index Cond'], /tenant_id = /, JSON.stringify(scan))
    }
  }
})

t.test(
  'the first page comes from the index in its order, and counts without touching the table',
  async (t) => {
    const { db, tenant } = await crowd(t)
    for (const sortDirection of ['ascending', 'descending'] as const) {
      const nodes = await planOf(db, tenant.id, { ...FIRST_PAGE, sortDirection })
      t.notOk(nodes.some((node) => node['Node Type'].includes('Sort')))
      t.ok(nodes.some((node) => node['Index Name'] === 'users_created_at'))
      t.ok(nodes.some((node) => node['Node Type'] === 'Index Only Scan'))
    }
  },
)

t.test('the largest page is full on the first page and on any other', async (t) => {
  const { db, tenant } = await crowd(t, { others: 1, users: 2 * MAX_PAGE_SIZE })
  for (const page of [1, 2]) {
    const { records, total } = await listUsers(db, tenant.id, {
      ...FIRST_PAGE,
      page,
      pageSize: MAX_PAGE_SIZE,
    })
    t.equal(JSON.parse(`[${records}]`).length, MAX_PAGE_SIZE)
    t.equal(total, 2 * MAX_PAGE_SIZE)
  }
})

t.test('the list of the first page is planned once for all page sizes that are common', async (t) => {
  const { db, tenant } = await crowd(t, { others: 20, users: 2000 })
  for (let i = 0; i < 20; i++) await listUsers(db, tenant.id, { ...FIRST_PAGE, pageSize: 10 + i })
  const statements = await db.query(sql`
    select generic_plans::integer as generic, custom_plans::integer as custom
    from pg_prepared_statements where statement like '%string_agg%' and statement not like '%pg_prepared%'`)
  sameRows(t, statements, [{ generic: 15, custom: 5 }], 'PostgreSQL tries five plans for the values first')
})

t.test('filters do not multiply the prepared statements', async (t) => {
  const { db, tenant } = await crowd(t)
  for (const request of REQUESTS) await listUsers(db, tenant.id, request)
  const statements = await db.query(
    sql`select from pg_prepared_statements where statement like '%string_agg%' and statement not like '%pg_prepared%'`,
  )
  t.equal(statements.length, 2)
})

t.test("the statements hold a tenant's rows even against a wrong tenant id", async (t) => {
  const { db } = await crowd(t)
  const stranger = '00000000-0000-4000-8000-000000000000'
  for (const request of REQUESTS) {
    t.strictSame(await listUsers(db, stranger, request), { total: 0, records: '' })
  }
  await rejectsLike(t, insertUser(db, stranger, { firstName: 'a', lastName: 'b', confirmed: false }), {
    code: '42501',
  })
})

t.test('times are in UTC whatever the time zone of the session', async (t) => {
  const { db, tenant } = await crowd(t)
  const before = await listUsers(db, tenant.id, FIRST_PAGE)
  await db.query(sql`set timezone = 'Asia/Kathmandu'`)
  await db.query(sql`set datestyle = 'German'`)
  t.strictSame(await listUsers(db, tenant.id, FIRST_PAGE), before)
  t.match(before.records, /"created_at":"2026-01-05T04:00:00\.000Z"/)
})
