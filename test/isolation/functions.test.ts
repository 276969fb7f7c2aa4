import './own-server.ts'
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { checkCatalog } from '../../src/isolation/check-catalog.ts'
import { statementOf } from '../../src/isolation/session.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { appFiles, ownPlacement } from '../placement/own-support.ts'
import { openAdmin, openTenant, provisionTenant, rolePlacement } from '../placement/support.ts'
import { testDatabase } from '../support/database.ts'
import { sameRows } from '../support/like.ts'

// Functions of PostgreSQL that everybody may run and that only hurt others (lessor.close_functions).

const NO_RIGHT = '42501'
const EVERYWHERE = [`select pg_logical_emit_message(false, 'x', 'y')`, 'select pg_export_snapshot()']
const WHERE_TABLES_ARE_SHARED = [
  'select lo_create(0)',
  'select pg_try_advisory_lock(1)',
  'select pg_advisory_xact_lock_shared(1, 2)',
]

/** openWarden makes an administrator who is no superuser, with a database of its own in which `there` is a superuser. */
async function openWarden(t: Test) {
  const { url } = await testDatabase(t)
  const superuser = openAdmin(t, url)
  const name = `warden_${randomUUID().slice(0, 8)}`
  const password = randomUUID()
  await superuser.script(`create role ${name} login createrole password '${password}'`)
  await superuser.script(`create database ${name} owner ${name}`)
  const own = Object.assign(new URL(url), { pathname: `/${name}` })
  const there = openAdmin(t, own.href)
  Object.assign(own, { username: name, password })
  const admin = openAdmin(t, own.href)
  return { admin, there, url: own.href }
}

async function refusalsOf(db: Db, texts: readonly string[]): Promise<readonly string[]> {
  const codes: string[] = []
  for (const text of texts) {
    codes.push(
      await db.query(statementOf(text)).then(
        () => 'done',
        (error: { code?: string }) => error.code ?? 'no code',
      ),
    )
  }
  return codes
}

/** rightsOf is who may run what, of all functions of PostgreSQL. */
async function rightsOf(db: Db): Promise<readonly unknown[]> {
  return [
    ...(await db.query(sql`
      select oid::regprocedure::text as name, proacl::text as rights, xmin::text as written from pg_proc
      where pronamespace = 'pg_catalog'::regnamespace and proacl is not null order by 1`)),
  ]
}

/** noticesOf is what the proof says of functions. */
async function noticesOf(db: Db): Promise<readonly string[]> {
  const { notices } = await checkCatalog(db, 'default')
  return notices.filter((notice) => /^tenants may run|hurts other tenants/.test(notice))
}

t.test('what an administrator who is no superuser had to leave open, a superuser closes', async (t) => {
  const { admin, there, url } = await openWarden(t)
  const placement = rolePlacement()
  await placement.prepare(admin)
  const tenant = await provisionTenant(t, placement, admin)
  const db = await openTenant(t, url, placement, tenant)
  const all = [...EVERYWHERE, ...WHERE_TABLES_ARE_SHARED]
  t.strictSame(
    await refusalsOf(db, all),
    all.map(() => 'done'),
  )
  await db.query(sql`select lo_unlink(oid) from pg_largeobject_metadata`)
  t.equal((await noticesOf(admin)).length, 1, 'and the proof says so')
  await admin.query(sql`select lessor.close_functions()`)
  t.equal((await noticesOf(admin)).length, 1, 'it cannot do so by itself')

  await there.query(sql`select lessor.close_functions()`)
  t.strictSame(
    await refusalsOf(db, all),
    all.map(() => NO_RIGHT),
  )
  t.strictSame(await noticesOf(admin), [])
  t.strictSame(await refusalsOf(db, ['select lessor.close_functions()']), [NO_RIGHT])
})

t.test('closing what is closed changes nothing, nor what a team has granted', async (t) => {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  await rolePlacement().prepare(admin)
  await admin.script(`
    grant execute on function pg_export_snapshot() to lessor_schema, lessor_ddl;
    grant execute on function lo_create(oid) to lessor_tenant;
    revoke execute on function pg_advisory_lock(bigint) from lessor_schema`)
  const before = await rightsOf(admin)
  await admin.query(sql`select lessor.close_functions()`)
  sameRows(t, await rightsOf(admin), before)
  t.strictSame(
    [...(await noticesOf(admin))].toSorted(),
    [
      'lo_create(oid) was granted to lessor_tenant, and hurts other tenants',
      'pg_export_snapshot() was granted to lessor_ddl, and hurts other tenants',
      'pg_export_snapshot() was granted to lessor_schema, and hurts other tenants',
    ],
    'which the proof lists',
  )
  const { broken } = await checkCatalog(admin, 'default')
  t.strictSame(broken, [])
})

for (const name of ['schema', 'database'] as const) {
  t.test(`${name}: a place that is made later is closed as well`, async (t) => {
    const { url } = await testDatabase(t)
    const admin = openAdmin(t, url)
    const placement = ownPlacement(name, await appFiles(t, {}))
    await placement.prepare(admin)
    const db = await openTenant(t, url, placement, await provisionTenant(t, placement, admin))
    t.strictSame(
      await refusalsOf(db, EVERYWHERE),
      EVERYWHERE.map(() => NO_RIGHT),
    )
    t.strictSame(
      await refusalsOf(db, WHERE_TABLES_ARE_SHARED),
      WHERE_TABLES_ARE_SHARED.map(() => 'done'),
      'programs that migrate a schema need those',
    )
  })
}
