import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { insertChange } from '../../src/control/change-store.ts'
import type { NewChange } from '../../src/control/changes.ts'
import { loginName } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import type { Colour } from '../../src/tenants/tenant.ts'
import { testDatabase } from '../support/database.ts'
import { openHouse } from './house.ts'

const { url } = await testDatabase(t, { template: 'control' })

/** A tenant in the midst of a rotation: it has logins of both colours, and uses the blue one. */
async function withBoth(t: Test) {
  const published: NewChange[] = []
  const { db, tenants } = await openHouse(t, {
    url,
    changes: {
      publish: (tx, change) => {
        published.push(change)
        return insertChange(tx, change)
      },
      settled: async () => {},
    },
  })
  const { tenant } = await tenants.onboard({ name: `Tenant ${randomUUID()}` })
  const { id } = tenant
  await db.query(sql`
    insert into lessor.credentials (tenant_id, colour, envelope, key_id, generation)
    select tenant_id, 'green', envelope, key_id, generation from lessor.credentials where tenant_id = ${id}::uuid`)
  published.splice(0)
  const offender = (colour: Colour) =>
    ({
      server: 'default',
      tenantId: id,
      login: loginName(id, colour),
      reason: 'locks',
      isVisitor: false,
    }) as const
  return {
    id,
    tenants,
    published,
    block: (colour: Colour) => tenants.blocks.block(offender(colour)),
    blocked: async () =>
      (await tenants.blocks.list('default')).filter((login) => login.endsWith(hex(id))).sort(),
    generation: async () => (await tenants.get(id)).generation,
  }
}

function hex(id: string): string {
  return id.replaceAll('-', '')
}

t.test('a block of the login in use makes all processes drain its pools, once', async (t) => {
  const { block, generation, id, published } = await withBoth(t)
  const before = await generation()
  await block('blue')
  t.equal(await generation(), before + 1)
  t.strictSame(published, [{ kind: 'status', tenantId: id }])
  await block('blue')
  t.equal(await generation(), before + 1)
  t.equal(published.length, 1)
})

t.test('a block of the login that is not in use disturbs no pool', async (t) => {
  const { block, blocked, generation, id, published } = await withBoth(t)
  const before = await generation()
  await block('green')
  t.strictSame(await blocked(), [loginName(id, 'green')])
  t.equal(await generation(), before)
  t.strictSame(published, [])
})

t.test('an unblock lifts the block of the login in use, and of no other', async (t) => {
  const { block, blocked, id, published, tenants } = await withBoth(t)
  const [blue, green] = [loginName(id, 'blue'), loginName(id, 'green')]
  await block('blue')
  await block('green')
  t.strictSame(await blocked(), [blue, green])
  published.splice(0)
  t.equal((await tenants.unblock(id)).block, null)
  t.strictSame(await blocked(), [green])
  t.strictSame(published, [{ kind: 'status', tenantId: id }])

  const kept: string[] = []
  for (const login of [blue, green]) {
    await tenants.blocks.whileBlocked(login, async () => void kept.push(login))
  }
  t.strictSame(kept, [green])
})
