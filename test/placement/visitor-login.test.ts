import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { dataFiles } from '../../src/control/data-files.ts'
import type { AdminDb, Placement } from '../../src/placement/placement.ts'
import { RowPlacement } from '../../src/placement/row-placement.ts'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { dropVisitor, dropVisitors, makeVisitor, visitorName } from '../../src/placement/visitor-login.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike, sameRows } from '../support/like.ts'
import { LIMITS, openAdmin, openSession, ownPlacements, provisionTenant, rolePlacement } from './support.ts'

const PLACEMENTS: readonly Placement[] = [
  new RowPlacement({ files: dataFiles() }),
  rolePlacement(),
  ...ownPlacements(),
]
const LATER = new Date(Date.now() + 3_600_000)

interface Visitor {
  readonly role: string
  /** Logs in; the connection closes when the test ends. */
  open(): Promise<Db>
}

async function visit(
  t: Test,
  { admin, placement, url }: { admin: AdminDb; placement: Placement; url: string },
  tenantId: string,
  { validUntil = LATER, writes = false } = {},
): Promise<Visitor> {
  const role = visitorName(tenantId)
  const password = randomPassword()
  t.teardown(() => dropVisitor(admin, role))
  const verifier = scramVerifier(password)
  await makeVisitor(admin, placement, { role, tenantId, verifier, limits: LIMITS, validUntil, writes })
  const login = placement.login(tenantId, 'blue')
  const address = new URL(url)
  address.username = role
  address.password = password.reveal()
  if (login.database !== undefined) address.pathname = `/${login.database}`
  // Nothing in the start-up packet: all that a visitor needs is on the role.
  return { role, open: () => openSession(t, address.href) }
}

async function open(t: Test, placement: Placement) {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  await placement.prepare(admin)
  return { admin, placement, url }
}

/** A tenant with one row, as `name` says; where it has a login, that is made. */
async function settle(t: Test, house: Awaited<ReturnType<typeof open>>, name: string): Promise<string> {
  const { admin, placement } = house
  const id: string = randomUUID()
  if (placement.hasOwnLogin) await provisionTenant(t, placement, admin, { id })
  const { open: openWriter } = await visit(t, house, id, { writes: true })
  await (await openWriter()).query(sql`insert into users (first_name, last_name) values (${name}, 'Row')`)
  return id
}

for (const placement of PLACEMENTS) {
  t.test(`${placement.name}: a visitor sees the rows of one tenant, by its role alone`, async (t) => {
    const house = await open(t, placement)
    const [mine, other] = [await settle(t, house, 'Mine'), await settle(t, house, 'Other')]
    const visitor = await visit(t, house, mine)
    t.match(visitor.role, new RegExp(`^tc_[0-9a-f]{8}_${mine.replaceAll('-', '')}$`))
    const db = await visitor.open()
    sameRows(t, await db.query(sql`select first_name from users`), [{ first_name: 'Mine' }])
    sameRows(t, await db.query(sql`select from users where tenant_id = ${other}::uuid`), [])
    await db.query(sql`select set_config('rls.tenant_id', ${other}, false)`)
    sameRows(
      t,
      await db.query(sql`select first_name from users`),
      [{ first_name: 'Mine' }],
      'whatever it sets',
    )
    await placement.removeRows(house.admin, mine)
  })

  t.test(`${placement.name}: a visitor reads, and writes only when that was asked for`, async (t) => {
    const house = await open(t, placement)
    const mine = await settle(t, house, 'Mine')
    const reader = await (await visit(t, house, mine)).open()
    const change = sql`update users set first_name = 'Changed' returning first_name`
    await rejectsLike(t, reader.query(change), { code: '25006' }, 'its transactions are read only')
    const writer = await (await visit(t, house, mine, { writes: true })).open()
    sameRows(t, await writer.query(change), [{ first_name: 'Changed' }])
    await rejectsLike(t, writer.query(sql`create table own (id integer)`), { code: '42501' })
    await rejectsLike(t, writer.query(sql`truncate users`), { code: '42501' })
  })

  t.test(`${placement.name}: a visitor who is dropped is gone at once, and no other with him`, async (t) => {
    const house = await open(t, placement)
    const [mine, other] = [await settle(t, house, 'Mine'), await settle(t, house, 'Other')]
    const [first, second, foreign] = [
      await visit(t, house, mine, { writes: true }),
      await visit(t, house, mine),
      await visit(t, house, other),
    ]
    const sessions = [await first.open(), await second.open()]
    await house.admin.script('grant execute on function lo_create(oid) to lessor_tenant')
    await sessions[0]?.query(sql`select lo_create(0)`)
    await dropVisitors(house.admin, mine)
    for (const session of sessions)
      await rejectsLike(t, session.query(sql`select 1`), { code: /57P01|CONNECTION/ })
    await rejectsLike(t, first.open(), { code: '28P01' })
    const left = await house.admin.query(sql`
      select rolname from pg_roles where rolname like 'tc\_%' and right(rolname, 32) = right(${foreign.role}, 32)
        and rolname = ${foreign.role}`)
    t.equal(left.length, 1)
    sameRows(t, await (await foreign.open()).query(sql`select 1 as one`), [{ one: 1 }])
    await dropVisitors(house.admin, mine)
    await dropVisitor(house.admin, first.role)
  })
}

t.test('nobody logs in when the time is over, and not more than two at once before', async (t) => {
  const house = await open(t, rolePlacement())
  const late = await visit(t, house, randomUUID(), { validUntil: new Date(Date.now() - 1000) })
  await rejectsLike(t, late.open(), { code: '28P01' })
  const visitor = await visit(t, house, randomUUID())
  await visitor.open()
  await visitor.open()
  await rejectsLike(t, visitor.open(), { code: '53300' })
})

t.test('a visitor has the limits of a tenant, and is nothing beside it', async (t) => {
  const placement = rolePlacement()
  const house = await open(t, placement)
  const tenantId = randomUUID()
  const db = await (await visit(t, house, tenantId)).open()
  const [settings] = await db.query(sql`
    select current_setting('statement_timeout') as statement, current_setting('rls.tenant_id') as tenant,
      current_setting('idle_in_transaction_session_timeout') as idle, current_setting('search_path') as path`)
  t.strictSame(settings, { statement: '30s', tenant: tenantId, idle: '20s', path: 'app' })
  // What is proved of every login of the tenant.
  await placement.check(db, tenantId)
})

t.test('a plain password is refused', async (t) => {
  const placement = rolePlacement()
  const { admin } = await open(t, placement)
  const tenantId = randomUUID()
  await rejectsLike(
    t,
    makeVisitor(admin, placement, {
      role: visitorName(tenantId),
      tenantId,
      verifier: 'plain',
      limits: LIMITS,
      validUntil: LATER,
      writes: false,
    }),
    { name: 'TypeError', message: /SCRAM/ },
  )
  sameRows(
    t,
    await admin.query(sql`select from pg_roles where right(rolname, 32) = ${tenantId.replaceAll('-', '')}`),
    [],
  )
})
