import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { until } from '../control/helpers.ts'
import { BUDGET, type NodeProcess, type Onboarded, openCluster } from './cluster.ts'

/** Polls so seldom that only a notification can have told of a change. */
const TOLD = { CHANGE_POLL_MS: '600000' }

const cluster = await openCluster(t)
const { onboard, shares, tenantConnections } = cluster
const [one, two] = await Promise.all([cluster.start(TOLD), cluster.start(TOLD)])

async function users(node: NodeProcess, tenant: Onboarded): Promise<number> {
  return (await node.call('GET', '/v1/users', { key: tenant.key })).status
}

/** Resolves when the node answers the tenant's requests so, whatever it remembers. */
function answers(node: NodeProcess, tenant: Onboarded, status: number): Promise<void> {
  return until(async () => (await users(node, tenant)) === status, `the node answers ${status}`)
}

async function hasPool(node: NodeProcess, { id }: Onboarded): Promise<boolean> {
  return (await node.call('GET', `/ops/pools/${id}`)).status === 200
}

t.test('two nodes: what one does to a tenant or a key counts in the other', async (t) => {
  const tenant = await onboard(one, 'two')
  const path = `/v1/tenants/${tenant.id}`
  t.equal(await users(two, tenant), 200)

  t.equal((await one.call('POST', `${path}/suspend`)).status, 200)
  await answers(two, tenant, 403)
  t.notOk(await hasPool(two, tenant), 'its pool is gone')
  t.equal((await one.call('POST', `${path}/resume`)).status, 200)
  await answers(two, tenant, 200)

  t.ok(await hasPool(two, tenant))
  t.equal((await one.call('PATCH', path, { body: { quota: { connections: 1 } } })).status, 200)
  await until(async () => !(await hasPool(two, tenant)), 'the pool with the older quota is evicted')
  t.equal(await users(two, tenant), 200)

  const { body } = await one.call('POST', `${path}/keys`, { body: {} })
  const extra: Onboarded = { id: tenant.id, key: String(body.key), keyId: String(body.id) }
  t.equal(await users(two, extra), 200)
  t.equal((await one.call('DELETE', `${path}/keys/${extra.keyId}`)).status, 204)
  await answers(two, extra, 401)
  t.equal(await users(two, tenant), 200, 'and only for this key')

  t.equal((await one.call('DELETE', path)).status, 202)
  await until(async () => (await users(two, tenant)) >= 400, 'the deleted tenant is refused')
  t.notOk(await hasPool(two, tenant))
  await answers(two, tenant, 401)
})

t.test('three nodes: without notifications the changes are found by polling', async (t) => {
  const three = await cluster.start({ CHANGE_POLL_MS: '200' })
  const tenant = await onboard(one, 'three')
  for (const node of [one, two, three]) t.equal(await users(node, tenant), 200)
  let isDeaf = true
  const deafening = (async () => {
    while (isDeaf) await cluster.deafen()
  })()
  await one.call('POST', `/v1/tenants/${tenant.id}/suspend`)
  await answers(three, tenant, 403)
  await one.call('POST', `/v1/tenants/${tenant.id}/resume`)
  await answers(three, tenant, 200)
  await one.call('DELETE', `/v1/tenants/${tenant.id}/keys/${tenant.keyId}`)
  await answers(three, tenant, 401)
  isDeaf = false
  await deafening
  t.equal(await users(one, tenant), 401, 'the one that did it knows')
  await answers(two, tenant, 401)
  t.pass('and the one that does not poll has listened again, and read what it had not heard')
  three.service.kill('SIGTERM')
  t.equal(await three.service.exited, 0)
  await until(async () => (await shares()).join() === '5,5', 'a node that ends in order gives its share back')
})

t.test(
  'five nodes: tenant connections stay within the budget, whoever comes, goes or is killed',
  async (t) => {
    const tenants: Onboarded[] = []
    for (let i = 0; i < 8; i++) tenants.push(await onboard(one, `five-${i}`))
    const nodes = [one, two]
    const statuses = new Map<number, number>()
    let isOver = false
    let most = 0

    const watching = (async () => {
      while (!isOver) {
        most = Math.max(most, await tenantConnections())
        await sleep(10)
      }
    })()
    const calling: Promise<void>[] = []
    const call = (node: NodeProcess) => {
      for (let caller = 0; caller < 5; caller++) {
        calling.push(
          (async () => {
            for (let i = caller; !isOver && nodes.includes(node); i += 3) {
              const tenant = tenants[i % tenants.length]
              if (tenant === undefined) continue
              // A node that was killed answers nobody.
              const status = await users(node, tenant).catch(() => 0)
              statuses.set(status, (statuses.get(status) ?? 0) + 1)
            }
          })(),
        )
      }
    }
    for (const node of nodes) call(node)
    const join = async () => {
      const node = await cluster.start()
      nodes.push(node)
      call(node)
      return node
    }
    await Promise.all([join(), join()])
    const fifth = await join()
    await until(async () => String(await shares()) === '2,2,2,2,2', 'each of the five has its share')

    nodes.splice(nodes.indexOf(fifth), 1)
    fifth.service.kill('SIGKILL')
    t.equal(await fifth.service.exited, 'SIGKILL')
    await until(async () => String(await shares()) === '3,3,2,2', "the dead node's share is shared out")
    const { length } = calling
    isOver = true
    await Promise.all([watching, ...calling])

    t.ok(length === 25 && (statuses.get(200) ?? 0) > 100, `${statuses.get(200)} requests were served`)
    t.strictSame(
      [...statuses.keys()].filter((status) => ![0, 200, 503].includes(status)),
      [],
    )
    t.ok(most > 1 && most <= BUDGET, `at most ${most} connections of ${BUDGET} at once`)
  },
)
