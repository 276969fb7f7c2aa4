import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { testApp } from '../support/app.ts'
import { testDatabase } from '../support/database.ts'
import { like, sameRows } from '../support/like.ts'
import { type House, openHouse } from './house.ts'

const { url } = await testDatabase(t, { template: 'control' })

async function addNode({ db }: Pick<House, 'db'>, silentMs = 0): Promise<string> {
  const id = randomUUID()
  await db.query(sql`
    insert into lessor.nodes (id, name, pid, applied, heartbeat_at)
    values (${id}, 'n', 1, 0, clock_timestamp() - ${silentMs} * interval '1 millisecond')`)
  return id
}

/** In the midst of an onboarding by `node` another process looks for work that was left behind. */
async function meanwhile(
  t: Test,
  node: string | undefined,
  { other = randomUUID(), before = async (_: House) => {} } = {},
) {
  const survivor = await openHouse(t, { url, node: () => other })
  let taken: number | undefined
  const house = await openHouse(t, {
    url,
    ...(node !== undefined && { node: () => node }),
    afterStep: async (_, step) => {
      if (step !== 'check') return
      await before(survivor)
      taken = await survivor.tenants.recover()
    },
  })
  const outcome = await house.tenants.onboard({ name: randomUUID() }).then(
    () => 'made',
    (error) => error.code,
  )
  return { taken, outcome }
}

const TAKEN = { taken: 1, outcome: 'CONTROL_UNAVAILABLE' }
const LEFT = { taken: 0, outcome: 'made' }

t.test('the work of a node that has left the nodes is taken over at once', async (t) => {
  t.strictSame(await meanwhile(t, randomUUID()), TAKEN)
})

t.test('that of a node that lives, or of a command, is left to it', async (t) => {
  const house = await openHouse(t, { url })
  t.strictSame(await meanwhile(t, await addNode(house)), LEFT)
  t.strictSame(await meanwhile(t, undefined), LEFT)
})

t.test('a node that is only silent may be back soon, as all are after an outage', async (t) => {
  const house = await openHouse(t, { url })
  t.strictSame(await meanwhile(t, await addNode(house, 300_000)), LEFT)
})

t.test('no node takes its own work from itself, whatever has become of its row', async (t) => {
  const id = randomUUID()
  t.strictSame(await meanwhile(t, id, { other: id }), LEFT)
})

t.test('work that a node of an older version has taken over is left to that', async (t) => {
  const takesOver = async ({ db }: House) => {
    await db.query(sql`update lessor.jobs set claimed_by = gen_random_uuid()`)
  }
  const { taken } = await meanwhile(t, randomUUID(), { before: takesOver })
  t.equal(taken, 0)
  const { db } = await openHouse(t, { url })
  await db.query(sql`delete from lessor.jobs`)
})

t.test('who takes work over has it as its own', async (t) => {
  const second = await openHouse(t, { url })
  const owner = await addNode(second)
  let seen: unknown
  const first = await openHouse(t, {
    url,
    node: () => owner,
    afterStep: async (kind) => {
      if (kind !== 'delete') return
      const [row] = await second.db.query(sql`
        select claimed_node as node, node_claim = claimed_by as "isHis" from lessor.jobs`)
      seen ??= row
    },
  })
  const dead = await openHouse(t, { url, node: () => randomUUID() })
  const { tenant } = await dead.tenants.onboard({ name: randomUUID() })
  await dead.db.query(sql`
    insert into lessor.jobs (id, kind, tenant_id, step, claimed_by, claimed_until)
    values (gen_random_uuid(), 'delete', ${tenant.id}::uuid, 'begin', gen_random_uuid(), now() - interval '1 second')`)
  await dead.db.query(sql`update lessor.tenants set status = 'deleting' where id = ${tenant.id}::uuid`)
  t.equal(await first.tenants.recover(), 1)
  t.strictSame(seen, { node: owner, isHis: true })
})

t.test('what has failed waits for its pause, and not for its node', async (t) => {
  const [node, survivor] = [randomUUID(), await openHouse(t, { url, node: () => randomUUID() })]
  let isBroken = false
  const house = await openHouse(t, {
    url,
    node: () => node,
    wrap: (placement) =>
      new Proxy(placement, {
        get: (target, name: keyof typeof placement) => {
          if (name === 'unprovision' && isBroken) return () => Promise.reject(new Error('of the test'))
          return target[name]
        },
      }),
  })
  const { tenant } = await house.tenants.onboard({ name: randomUUID() })
  isBroken = true
  await house.tenants.delete(tenant.id)
  while (house.failures.length === 0) await new Promise(setImmediate)
  const row = () =>
    house.db.query(sql`
      select error, claimed_node as node from lessor.jobs where tenant_id = ${tenant.id}::uuid`)
  while ((await row()).some((each) => (each as { error: unknown }).error === null));
  sameRows(t, await row(), [{ error: 'INTERNAL', node: null }])
  t.equal(await survivor.tenants.recover(), 0)
  like(t, await survivor.tenants.get(tenant.id), { status: 'deleting' })
})

t.test('a job says which node of the service has it', async (t) => {
  const { lessor } = await testApp(t)
  const { control, nodes, tenants } = lessor
  const { tenant } = await tenants.onboard({ name: 'Held' })
  // It waits for the lock, its claim in hand.
  let claimed: unknown
  await control.transaction(async (tx) => {
    await tx.query(sql`select from lessor.credentials where tenant_id = ${tenant.id}::uuid for update`)
    const rotated = tenants.rotateCredential(tenant.id)
    rotated.catch(() => {})
    while (claimed === undefined) {
      const [row] = await control.query<{ node: string }>(sql`
        select claimed_node as node from lessor.jobs where tenant_id = ${tenant.id}::uuid`)
      claimed = row?.node
    }
  })
  t.equal(claimed, nodes.id)
})
