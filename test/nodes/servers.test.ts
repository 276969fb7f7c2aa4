import t from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { until } from '../control/helpers.ts'
import { like } from '../support/like.ts'
import { startTestServer } from '../support/server.ts'
import { openCluster } from './cluster.ts'

const other = await startTestServer()
t.teardown(other.stop)

t.test('a server registered on one node is in use on all, heard or unheard', async (t) => {
  const cluster = await openCluster(t)
  const a = await cluster.start({ CHANGE_POLL_MS: '200' })
  const b = await cluster.start({ CHANGE_POLL_MS: '600000' })

  /** What the live nodes have been granted of the new server. */
  async function shares(): Promise<readonly number[]> {
    const rows = await cluster.control.query<{ granted: number }>(sql`
      select s.granted from lessor.server_shares s join lessor.nodes n on n.id = s.node_id
      where s.server = 'second' order by n.started_at`)
    return rows.map(({ granted }) => granted)
  }

  const registered = await a.call('POST', '/v1/servers', {
    body: { name: 'second', url: other.url, max_connections: 6 },
  })
  t.equal(registered.status, 201, JSON.stringify(registered.body))
  for (const placement of ['role', 'row']) {
    // At once, on the node that was not asked.
    const onboarded = await b.call('POST', '/v1/tenants', {
      body: { name: `of-${placement}`, placement, server: 'second' },
    })
    like(t, onboarded, { status: 201, body: { tenant: { server: 'second' } } })
    const { key } = onboarded.body.api_key as { key: string }
    for (const node of [b, a]) {
      like(
        t,
        await node.call('POST', '/v1/users', { key, body: { first_name: 'Ada', last_name: 'Lovelace' } }),
        { status: 201 },
      )
    }
    like(t, await a.call('GET', '/v1/users', { key }), { status: 200, body: { total: 2 } })
  }
  await until(async () => (await shares()).join() === '3,3', 'both nodes have half of its connections')
  like(t, await a.call('GET', '/readyz'), { status: 200 })

  let isDeaf = true
  const deafening = (async () => {
    while (isDeaf) await cluster.deafen()
  })()
  try {
    const patched = await a.call('PATCH', '/v1/servers/second', { body: { labels: { disk: 'fast' } } })
    t.equal(patched.status, 200, JSON.stringify(patched.body))
    // At once, on the node that does not poll while the test runs.
    like(
      t,
      await b.call('POST', '/v1/tenants', { body: { name: 'labelled', server_labels: { disk: 'fast' } } }),
      { status: 201, body: { tenant: { server: 'second' } } },
    )
    const halved = await b.call('PATCH', '/v1/servers/second', { body: { max_connections: 4 } })
    t.equal(halved.status, 200, JSON.stringify(halved.body))
    await until(
      async () => (await shares()).join() === '2,2',
      'both nodes have heard of fewer connections, one by polling',
    )
  } finally {
    isDeaf = false
    await deafening
  }
})
