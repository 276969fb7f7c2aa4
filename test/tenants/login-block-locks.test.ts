import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { loginName } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { testDatabase } from '../support/database.ts'
import { openHouse } from './house.ts'

t.setTimeout(120_000)
const { url } = await testDatabase(t, { template: 'control' })
const admin = new ServerAdmin({ address: parseDatabaseUrl(url) })
t.teardown(() => admin.close())

async function withBlocked(t: Test, name: string) {
  const { db, tenants } = await openHouse(t, { url })
  const { tenant } = await tenants.onboard({ name })
  const login = loginName(tenant.id, 'blue')
  const offender = {
    server: 'default',
    tenantId: tenant.id,
    login,
    reason: 'locks',
    isVisitor: false,
  } as const
  await tenants.blocks.block(offender)
  await admin.script(`alter role ${login} nologin`)
  return { db, tenants, id: tenant.id, login, blocks: tenants.blocks }
}

async function canLogIn(user: string): Promise<boolean | undefined> {
  const [row] = await admin.query<{ can: boolean }>(
    sql`select rolcanlogin as can from pg_roles where rolname = ${user}`,
  )
  return row?.can
}

/** Resolves with whether some work waits for another's transaction, or is done before. */
async function outcome(work: Promise<unknown>): Promise<'waits' | 'is done'> {
  let isDone = false
  void work.finally(() => {
    isDone = true
  })
  for (;;) {
    const waiting = await admin.query(sql`
      select from pg_locks l join pg_stat_activity a using (pid)
      where not l.granted and a.datname = current_database()`)
    if (waiting.length > 0) return 'waits'
    if (isDone) return 'is done'
  }
}

t.test('an unblock waits for what changes the tenant, and opens the login that is in use then', async (t) => {
  const { blocks, db, id, login } = await withBlocked(t, 'Unblocked')
  let unblocked: Promise<void> | undefined
  await db.transaction(async (tx) => {
    await tx.query(sql`update lessor.tenants set status = 'suspended' where id = ${id}::uuid`)
    unblocked = blocks.unblock(id)
    t.equal(await outcome(unblocked), 'waits')
  })
  await unblocked
  t.equal(await canLogIn(login), false, 'it is suspended')
  t.strictSame([...(await blocks.list('default'))].includes(login), false)
})

t.test('what is done while a login is blocked is not done when an unblock comes before', async (t) => {
  const { blocks, db, id, login } = await withBlocked(t, 'Lifted')
  let runs = 0
  let kept: Promise<void> | undefined
  await db.transaction(async (tx) => {
    await tx.query(sql`select from lessor.tenants where id = ${id}::uuid for no key update`)
    await tx.query(sql`delete from lessor.login_blocks where tenant_id = ${id}::uuid`)
    kept = blocks.whileBlocked(login, async () => {
      runs += 1
    })
    t.equal(await outcome(kept), 'waits')
  })
  await kept
  t.equal(runs, 0)
})

t.test('an unblock and a rotation wait for what is done while the login is blocked', async (t) => {
  const { blocks, id, login, tenants } = await withBlocked(t, 'Kept')
  let unblocked: Promise<void> | undefined
  await blocks.whileBlocked(login, async () => {
    unblocked = blocks.unblock(id)
    t.equal(await outcome(unblocked), 'waits')
    t.equal(await canLogIn(login), false)
  })
  await unblocked
  t.equal(await canLogIn(login), true)

  await blocks.block({ server: 'default', tenantId: id, login, reason: 'locks', isVisitor: false })
  let rotated: Promise<unknown> | undefined
  await blocks.whileBlocked(login, async () => {
    rotated = tenants.rotateCredential(id)
    t.equal(await outcome(rotated), 'waits')
  })
  await rotated
  while ((await tenants.get(id)).job !== null) await new Promise(setImmediate)
  t.equal(await canLogIn(login), undefined)
})
