import t from 'tap'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { FakeClock, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

t.test('each data server names those who hold its own connections, and waits for them', async (t) => {
  const driver = new FakeDriver()
  const registry = new PoolRegistry({
    limits: { ...LIMITS, maxConnections: 2, serverMaxConnections: 3 },
    clock: new FakeClock(),
    hasTimer: false,
    connect: driver.connect,
    locate: async ({ tenantId }) => target(tenantId, tenantId.startsWith('n') ? 'north' : 'south'),
  })
  const work = ['n1', 'n1', 'n1', 'n2', 's1', 's1', 's2'].map((tenantId) =>
    registry.use({ tenantId, generation: 1 }, new AbortController(), (db) =>
      db.transaction((tx) => tx.query(sql`select 1`)),
    ),
  )
  await settle()
  const holder = (tenantId: string, connections: number, waiting: number, fairShare: number) => ({
    tenantId,
    connections,
    waiting,
    weight: 1,
    fairShare,
  })
  const servers = registry.budget().servers.map(({ server, used, claims, holders }) => ({
    server,
    used,
    claims,
    holders: [...holders],
  }))
  t.strictSame(servers, [
    { server: 'north', used: 3, claims: 0, holders: [holder('n1', 2, 1, 2), holder('n2', 1, 0, 1)] },
    { server: 'south', used: 3, claims: 0, holders: [holder('s1', 2, 0, 2), holder('s2', 1, 0, 1)] },
  ])
  const late = ['n3', 's3', 's4'].map((tenantId) =>
    registry.use({ tenantId, generation: 1 }, new AbortController(), (db) => db.query(sql`select 1`)),
  )
  await settle()
  t.strictSame(
    registry
      .budget()
      .servers.map(({ server, claims, holders }) => [
        server,
        claims,
        holders.filter(({ connections }) => connections === 0).map(({ tenantId }) => tenantId),
      ]),
    [
      ['north', 1, ['n3']],
      ['south', 2, ['s3', 's4']],
    ],
  )
  for (let i = 0; i < 60; i++) {
    for (const connection of [...driver.live]) connection.answer()
    await settle()
  }
  await Promise.all([...work, ...late])
  const closed = registry.close()
  for (let i = 0; i < 5; i++) {
    for (const connection of [...driver.live]) connection.answer()
    await settle()
  }
  await closed
})
