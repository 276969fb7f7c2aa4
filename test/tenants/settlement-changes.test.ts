import t, { type Test } from 'tap'
import { loginName } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { type House, openHouse } from './house.ts'
import { canLogIn, lines } from './logins.ts'

const { url } = await testDatabase(t, { template: 'control' })

/**
 * settleWhile lets recovery settle the logins of an active tenant, whose tenant changes after it was read and before its
 * login is opened.
 */
async function settleWhile(t: Test, name: string, change: (house: House, id: string) => Promise<unknown>) {
  let meanwhile: (() => Promise<unknown>) | undefined
  const house = await openHouse(t, {
    url,
    wrapAdmin: (own) => ({
      query: async (statement) => {
        const due = meanwhile
        meanwhile = undefined
        await due?.()
        return own.query(statement)
      },
      script: (text) => own.script(text),
      transaction: (fn) => own.transaction(fn),
      inDatabase: (database, fn) => own.inDatabase(database, fn),
      asLogin: (login, fn) => own.asLogin(login, fn),
    }),
  })
  const { db, tenants, unsettled } = house
  const { id } = (await tenants.onboard({ name })).tenant
  await db.query(sql`
    insert into lessor.login_settlements (id, tenant_id, retry_at)
    values (gen_random_uuid(), ${id}::uuid, now() - interval '1 second')`)
  let changes = 0
  meanwhile = async () => {
    changes += 1
    await change(house, id)
  }
  await tenants.recover()
  t.equal(changes, 1)
  t.equal(await lines(house, id), 0)
  t.strictSame(unsettled, [])
  return { ...house, id }
}

t.test('logins follow a status that changes while they are settled', async (t) => {
  const { db, id } = await settleWhile(t, 'Suspended meanwhile', (house, tenantId) =>
    house.db.query(sql`update lessor.tenants set status = 'suspended' where id = ${tenantId}::uuid`),
  )
  t.equal(await canLogIn(db, loginName(id, 'blue')), false)
})

t.test('a login that is blocked while it is settled is closed', async (t) => {
  const { db, id } = await settleWhile(t, 'Blocked meanwhile', (house, tenantId) =>
    house.db.query(sql`
      insert into lessor.login_blocks (tenant_id, colour, reason) values (${tenantId}::uuid, 'blue', 'locks')`),
  )
  t.equal(await canLogIn(db, loginName(id, 'blue')), false)
})

t.test('a login that comes into use while logins are settled is opened', async (t) => {
  const green = (id: string) => loginName(id, 'green')
  const { db, id } = await settleWhile(t, 'Rotated meanwhile', async (house, tenantId) => {
    await house.db.script(`create role ${green(tenantId)} nologin`)
    await house.db.query(sql`update lessor.tenants set colour = 'green' where id = ${tenantId}::uuid`)
  })
  t.equal(await canLogIn(db, green(id)), true)
  await db.script(`drop role ${green(id)}`)
})
