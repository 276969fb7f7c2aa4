import { randomUUID } from 'node:crypto'
import { inspect } from 'node:util'
import t from 'tap'
import { dataFiles } from '../../src/control/data-files.ts'
import type { Placement } from '../../src/placement/placement.ts'
import { RowPlacement } from '../../src/placement/row-placement.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { sql } from '../../src/pool/statement.ts'
import { makeLocate } from '../../src/tenants/locate.ts'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import { testDatabase } from '../support/database.ts'
import { excludes, like, rejectsLike } from '../support/like.ts'
import { openHouse } from './house.ts'

const { url } = await testDatabase(t, { template: 'control' })
const signal = new AbortController().signal

t.test('a tenant is located with all that it takes to log in', async (t) => {
  const { db, vault, servers, placement, tenants } = await openHouse(t, { url })
  const placements = new Map<PlacementName, typeof placement>([['role', placement]])
  const locate = makeLocate({ db, vault, servers, placements })
  const { tenant } = await tenants.onboard({ name: 'Here', quota: { connections: 3, weight: 9 } })
  const target = await locate({ tenantId: tenant.id, generation: 1 }, signal)
  like(t, target, {
    server: 'default',
    user: `tb_${tenant.id.replaceAll('-', '')}`,
    tls: 'disable',
    parameters: { application_name: 'lessor', 'rls.tenant_id': tenant.id },
    maxConnections: 3,
    weight: 9,
  })
  excludes(t, inspect(target, { depth: 9, showHidden: true }), target.password.reveal())
  const connection = await openConnection(target, AbortSignal.timeout(5_000))
  const [row] = await connection.run(sql`
    select current_user as user, current_setting('application_name') as name,
      current_setting('statement_timeout') as timeout`).result
  t.strictSame(row, { user: target.user, name: 'lessor', timeout: '15s' })
  await connection.close()
})

t.test('a tenant of row is located by the login that all of its server have in common', async (t) => {
  const { url } = await testDatabase(t, { template: 'control' })
  const { db, vault, servers, tenants } = await openHouse(t, { url })
  const placements = new Map<PlacementName, Placement>([['row', new RowPlacement({ files: dataFiles() })]])
  const locate = makeLocate({ db, vault, servers, placements })
  const { tenant } = await tenants.onboard({ name: 'Shared', placement: 'row', quota: { weight: 9 } })
  const target = await locate({ tenantId: tenant.id, generation: 1 }, signal)
  const { user, password } = await servers.runtime('default')
  like(t, target, { server: 'default', user, isShared: true, weight: 9 })
  t.equal(target.password.reveal(), password.reveal())
  excludes(
    t,
    JSON.stringify(target.parameters),
    tenant.id,
    'nothing that outlives a transaction names a tenant',
  )
  const connection = await openConnection(target, AbortSignal.timeout(5_000))
  await rejectsLike(t, connection.run(sql`select from users`).result, { code: '42704' })
  await connection.close()
})

t.test('a tenant that may not be used is refused with the reason', async (t) => {
  const { db, vault, servers, placement, tenants } = await openHouse(t, { url })
  const locate = makeLocate({ db, vault, servers, placements: new Map([['role', placement]]) })
  const { tenant } = await tenants.onboard({ name: 'Refused' })
  const key = { tenantId: tenant.id, generation: 1 }
  await rejectsLike(t, locate({ tenantId: randomUUID(), generation: 1 }, signal), {
    code: 'TENANT_NOT_FOUND',
  })
  const codes = {
    suspended: 'TENANT_SUSPENDED',
    provisioning: 'TENANT_NOT_ACTIVE',
    deleting: 'TENANT_NOT_ACTIVE',
    deleted: 'TENANT_NOT_FOUND',
  }
  for (const [status, code] of Object.entries(codes)) {
    await db.query(sql`update lessor.tenants set status = ${status} where id = ${tenant.id}`)
    await rejectsLike(t, locate(key, signal), { code }, status)
  }
  await db.query(sql`update lessor.tenants set status = 'active' where id = ${tenant.id}`)
  await rejectsLike(t, locate(key, AbortSignal.abort(new Error('gone'))), { message: 'gone' })
  await rejectsLike(
    t,
    makeLocate({ db, vault, servers, placements: new Map() })(key, signal),
    { code: 'PLACEMENT_UNAVAILABLE' },
    'a placement that this process does not offer',
  )
})

t.test("another tenant's credential does not open", async (t) => {
  const { db, vault, servers, placement, tenants } = await openHouse(t, { url })
  const locate = makeLocate({ db, vault, servers, placements: new Map([['role', placement]]) })
  const { tenant: mine } = await tenants.onboard({ name: 'Mine' })
  const { tenant: yours } = await tenants.onboard({ name: 'Yours' })
  await db.query(sql`
    update lessor.credentials set envelope = (
      select envelope from lessor.credentials where tenant_id = ${yours.id})
    where tenant_id = ${mine.id}`)
  const key = { tenantId: mine.id, generation: 1 }
  await rejectsLike(t, locate(key, signal), { code: 'VAULT_OPEN_FAILED' })
  await db.query(sql`delete from lessor.credentials where tenant_id = ${mine.id}`)
  await rejectsLike(t, locate(key, signal), { code: 'VAULT_OPEN_FAILED' })
})

t.test("a tenant's login sees no control table", async (t) => {
  const { db, pools, tenants } = await openHouse(t, { url })
  const { tenant } = await tenants.onboard({ name: 'Curious' })
  const tables = await db.query<{ name: string }>(sql`
    select quote_ident(relname) as name from pg_class
    where relnamespace = 'lessor'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S')`)
  t.ok(tables.length >= 8)
  await pools.use({ tenantId: tenant.id, generation: 1 }, new AbortController(), async (own) => {
    for (const { name } of tables) {
      const [row] = await own.query(sql`
        select has_schema_privilege('lessor', 'usage, create') as schema,
          has_table_privilege(c.oid, 'select, insert, update, delete, truncate, references, trigger') as any
        from pg_class c where c.relnamespace = 'lessor'::regnamespace and quote_ident(c.relname) = ${name}`)
      t.strictSame(row, { schema: false, any: false }, name)
    }
    await rejectsLike(t, own.query(sql`select name from lessor.tenants`), { code: '42501' })
    await rejectsLike(t, own.query(sql`select envelope from lessor.credentials`), { code: '42501' })
  })
})
