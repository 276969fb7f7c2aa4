import { randomBytes, randomUUID } from 'node:crypto'
import t from 'tap'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { type ScriptDb, sql } from '../../src/pool/statement.ts'
import { inOwn, OWN_NAMES, ownPlacement } from '../placement/own-support.ts'
import {
  LIMITS,
  openAdmin,
  openSession,
  openTenant,
  provisionTenant,
  rowPlacement,
} from '../placement/support.ts'
import { testDatabase } from '../support/database.ts'
import { like } from '../support/like.ts'
import { explain, FIRST_PAGE, planOf, REQUESTS, scansOf } from './plans.ts'

/** As the user store's findUser has it. */
function lookUp(tenantId: string) {
  return sql`select first_name from users where tenant_id = ${tenantId}::uuid and id = ${randomUUID()}::uuid`
}

// user-store.test.ts has the same for placement `role`.

/** Users of a tenant and of others, 100 each, with all pages visible to all and statistics. */
async function fill(db: ScriptDb, schema: string, tenantId: string, others: number): Promise<void> {
  await db.script(`set search_path = ${schema}`)
  await db.query(sql`
    insert into users (tenant_id, first_name, last_name, created_at)
    select tenant, 'First' || n, 'Last' || n, timestamptz '2026-01-01' + n * interval '1 hour'
    from (select ${tenantId}::uuid as tenant union all select gen_random_uuid() from generate_series(1, ${others}::integer)) tenants,
      generate_series(1, 100) n`)
  await db.query(sql`analyze users`)
}

t.test('row: every list, and a look-up, reads the part of an index that is the bound tenant', async (t) => {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const placement = rowPlacement()
  await placement.prepare(admin)
  const [role, password, tenantId] = [
    `lessor_row_${randomBytes(6).toString('hex')}`,
    randomPassword(),
    randomUUID(),
  ]
  await placement.provisionRuntime(admin, { role, verifier: scramVerifier(password), limits: LIMITS })
  t.teardown(() => admin.script(`drop owned by ${role}; drop role ${role}`))
  await admin.transaction((tx) => fill(tx, 'app', tenantId, 100))
  const login = new URL(url)
  login.username = role
  login.password = password.reveal()
  const db = await openSession(t, login.href, placement.login().parameters)
  await db.transaction(async () => {
    await db.query(sql`select set_config('rls.tenant_id', ${tenantId}, true)`)
    for (const request of REQUESTS) {
      const scans = scansOf(await planOf(db, tenantId, request))
      t.ok(scans.length >= 2, 'one for the count, one for the page')
      for (const scan of scans) {
        if (scan['Node Type'] === 'Bitmap Heap Scan') continue
        t.match(scan['Node Type'], /Index/)
        t.match(scan['Index Cond'], /tenant_id = /, JSON.stringify(scan))
      }
    }
    const [found] = scansOf(await explain(db, lookUp(tenantId)))
    like(t, found, { 'Index Name': 'users_pkey', 'Index Cond': /tenant_id = .* AND .*id = / })
  })
})

for (const name of OWN_NAMES) {
  t.test(`${name}: the first page and a look-up read their part of an index`, async (t) => {
    const { url } = await testDatabase(t)
    const admin = openAdmin(t, url)
    const placement = ownPlacement(name)
    await placement.prepare(admin)
    const tenant = await provisionTenant(t, placement, admin)
    const schema = placement.login(tenant.id, 'blue').parameters.search_path ?? ''
    await inOwn(admin, placement, tenant.id, (there) =>
      there.transaction(async (tx) => {
        for (let round = 0; round < 20; round++) await fill(tx, schema, tenant.id, 0)
      }),
    )
    const db = await openTenant(t, url, placement, tenant)
    for (const sortDirection of ['ascending', 'descending'] as const) {
      const nodes = await planOf(db, tenant.id, { ...FIRST_PAGE, sortDirection })
      t.notOk(nodes.some((node) => node['Node Type'].includes('Sort')))
      const page = nodes.find((node) => node['Node Type'] === 'Index Scan')
      like(t, page, { 'Index Name': 'users_created_at', 'Index Cond': /tenant_id = / })
    }
    const [found] = scansOf(await explain(db, lookUp(tenant.id)))
    like(t, found, { 'Index Name': 'users_pkey', 'Index Cond': /tenant_id = .* AND .*id = / })
  })
}
