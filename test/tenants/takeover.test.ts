import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { testApp } from '../support/app.ts'
import { testDatabase } from '../support/database.ts'
import { like, sameRows } from '../support/like.ts'
import { type House, openHouse } from './house.ts'

const { url } = await testDatabase(t, { template: 'control' })
const GONE_MS = 1_000

async function addNode({ db }: Pick<House, 'db'>, silentMs = 0): Promise<string> {
  const id = randomUUID()
  await db.query(sql`
    insert into lessor.nodes (id, name, pid, applied, heartbeat_at)
    values (${id}, 'n', 1, 0, clock_timestamp() - ${silentMs} * interval '1 millisecond')`)
  return id
}

/** A process that dies in the midst of an onboarding, and another one that takes over. */
async function dying(t: Test, node: { readonly id: string } | undefined) {
  const survivor = await openHouse(t, { url, node: () => ({ id: randomUUID(), goneMs: GONE_MS }) })
  const name = randomUUID()
  let taken: number | undefined
  const house = await openHouse(t, {
    url,
    ...(node && { node: () => ({ ...node, goneMs: GONE_MS }) }),
    afterStep: async (_, step) => {
      if (step === 'check') taken = await survivor.tenants.recover()
    },
  })
  const outcome = await house.tenants.onboard({ name }).then(
    () => 'made',
    (error) => error.code,
  )
  return { taken, outcome }
}

t.test('the work of a node that has left the nodes is taken over at once', async (t) => {
  t.strictSame(await dying(t, { id: randomUUID() }), { taken: 1, outcome: 'CONTROL_UNAVAILABLE' })
})

t.test('so is that of one that has been silent for long', async (t) => {
  const house = await openHouse(t, { url })
  const id = await addNode(house, GONE_MS + 1)
  t.strictSame(await dying(t, { id }), { taken: 1, outcome: 'CONTROL_UNAVAILABLE' })
})

t.test('that of a node that lives, or of a command, is left to it', async (t) => {
  const house = await openHouse(t, { url })
  t.strictSame(await dying(t, { id: await addNode(house) }), { taken: 0, outcome: 'made' })
  t.strictSame(await dying(t, undefined), { taken: 0, outcome: 'made' })
})

t.test('what has failed waits for its pause, whoever had it', async (t) => {
  const [node, survivor] = [
    randomUUID(),
    await openHouse(t, { url, node: () => ({ id: randomUUID(), goneMs: 1 }) }),
  ]
  let isBroken = false
  const house = await openHouse(t, {
    url,
    node: () => ({ id: node, goneMs: GONE_MS }),
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
