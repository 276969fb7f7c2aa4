import Fastify from 'fastify'
import t from 'tap'
import { LessorError } from '../../src/errors.ts'
import { type BudgetRoutesOptions, budgetRoutes } from '../../src/ops/budget-routes.ts'
import type { NodeView } from '../../src/ops/budget-schemas.ts'
import type { ServerCapacity } from '../../src/servers/server-capacity.ts'
import { testApp } from '../support/app.ts'
import { like } from '../support/like.ts'
import { COUNTERS, makeBudget, makeHolder, makeServer } from './fixtures.ts'

interface Scope {
  teardown(fn: () => Promise<void>): void
}

const CAPACITY: ServerCapacity = {
  maxConnections: 100,
  superuserReserved: 3,
  reserved: 2,
  sessions: { tenants: 30, service: 5, others: 20 },
}

function node(id: string): NodeView {
  const shares = [{ server: 'default', granted: 40, used: 5 }]
  return {
    id,
    name: `host:${id}`,
    startedAt: new Date(0),
    heartbeatAt: new Date(15_000),
    applied: 7n,
    shares,
  }
}

function nodes(...ids: readonly string[]): BudgetRoutesOptions['nodes'] {
  return { id: 'a', list: async () => ids.map(node) }
}

/** makeApp serves the route alone, open to all; each source can be replaced. */
async function makeApp(t: Scope, options: Partial<BudgetRoutesOptions> = {}) {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => lines.push(line) } } })
  app.decorate('guards', {
    operator: (_request: unknown, _reply: unknown, done: () => void) => done(),
  } as never)
  await app.register(budgetRoutes, {
    pools: { budget: () => makeBudget(), counters: () => COUNTERS },
    servers: () => [{ name: 'default', budget: 80 }],
    serverLimit: () => 40,
    capacity: async () => CAPACITY,
    nodes: nodes('a'),
    sizes: {
      limits: {
        maxEntries: 500,
        maxConnections: 4,
        sharedMaxConnections: 16,
        serverMaxConnections: 80,
        processMaxConnections: 400,
        maxOpening: 8,
        maxWaiting: 1000,
        idleMs: 600_000,
        thrashMs: 60_000,
      },
      roleConnectionLimit: 32,
      controlMaxConnections: 10,
    },
    uptimeMs: () => 0,
    ...options,
  })
  t.teardown(() => app.close())
  return { lines, get: async (query = '') => (await app.inject(`/ops/budget${query}`)).json() }
}

t.test('everything about the budgets is in one answer', async (t) => {
  const holders = [
    makeHolder({ tenantId: 'x', connections: 4, waiting: 2, weight: 3, fairShare: 1 / 3 }),
    makeHolder(),
  ]
  const server = makeServer({
    used: 5,
    limit: 40,
    peak: 6,
    opening: 1,
    closing: 2,
    claims: 3,
    holders,
    breaker: { state: 'open', failures: 4, retryAt: 1000, lastCode: '57P03' },
  })
  const budget = makeBudget({ servers: [server], entries: { used: 7, limit: 500, peak: 8 } })
  const { get } = await makeApp(t, {
    pools: { budget: () => budget, counters: () => COUNTERS },
    nodes: nodes('a', 'b'),
  })
  const answer = await get()
  like(t, answer, { entries: { used: 7, limit: 500, peak: 8 }, waiting: { used: 0, limit: 1000, peak: 0 } })
  t.strictSame(answer.servers, [
    {
      server: 'default',
      used: 5,
      limit: 40,
      peak: 6,
      opening: 1,
      closing: 2,
      claims: 3,
      breaker: { state: 'open', failures: 4, retry_at: '1970-01-01T00:00:01.000Z', last_code: '57P03' },
      holders: [
        { tenant_id: 'x', connections: 4, waiting: 2, weight: 3, fair_share: 0.33 },
        { tenant_id: 't', connections: 1, waiting: 0, weight: 1, fair_share: 1 },
      ],
      holders_total: 2,
      capacity: {
        max_connections: 100,
        superuser_reserved_connections: 3,
        reserved_connections: 2,
        sessions: { tenants: 30, service: 5, others: 20 },
      },
      capacity_unavailable: null,
    },
  ])
  t.equal(answer.nodes_unavailable, null)
  t.strictSame(answer.nodes[1], {
    id: 'b',
    name: 'host:b',
    is_this: false,
    started_at: '1970-01-01T00:00:00.000Z',
    heartbeat_at: '1970-01-01T00:00:15.000Z',
    changes_applied: '7',
    shares: [{ server: 'default', granted: 40, used: 5 }],
  })
  like(t, answer.nodes[0], { id: 'a', is_this: true })
  const [first] = answer.advice
  like(t, first, {
    about: 'SERVER_MAX_CONNECTIONS',
    severity: 'warning',
    text: /own work of each of 2 nodes/,
  })
})

t.test('holders may be many: the list is cut, and says how many there are', async (t) => {
  const holders = Array.from({ length: 5 }, (_, index) => makeHolder({ tenantId: `t${index}` }))
  const budget = makeBudget({ servers: [makeServer({ holders })] })
  const { get } = await makeApp(t, { pools: { budget: () => budget, counters: () => COUNTERS } })
  const [server] = (await get('?holders=2')).servers
  t.strictSame([server.holders.length, server.holders_total], [2, 5])
})

t.test('a data server without a connection yet is there, with its share', async (t) => {
  const budget = makeBudget({ servers: [makeServer({ server: 'second' })] })
  const { get } = await makeApp(t, { pools: { budget: () => budget, counters: () => COUNTERS } })
  const { servers } = await get()
  like(t, servers, [{ server: 'second' }, { server: 'default', used: 0, limit: 40, holders: [] }])
})

t.test('what cannot be asked is null with a reason, and the rest is there', async (t) => {
  const { get, lines } = await makeApp(t, {
    capacity: () => Promise.reject(new LessorError('SERVER_UNAVAILABLE')),
    nodes: {
      id: 'a',
      list: () => Promise.reject(Object.assign(new Error('password "hidden" is wrong'), { code: '42501' })),
    },
  })
  const answer = await get()
  like(t, answer.servers, [
    { limit: 80, capacity: null, capacity_unavailable: 'The data server could not be reached.' },
  ])
  like(t, answer, { nodes: null, nodes_unavailable: 'The question was refused (42501).' })
  t.strictSame(
    lines.map((line) => JSON.parse(line).msg),
    ['the nodes could not be asked', 'data server default could not be asked'],
  )
})

t.test('a data server that hangs holds the answer up for two seconds at most', async (t) => {
  const { get } = await makeApp(t, { capacity: () => new Promise(() => {}) })
  const [server] = (await get()).servers
  like(t, server, { capacity: null, capacity_unavailable: 'There was no answer within 2000 ms.' })
})

t.test('the service tells who holds its connections', async (t) => {
  const app = await testApp(t)
  const tenant = await app.onboard()
  const before = (await app.operator({ url: '/ops/budget' })).json()
  like(t, before.servers, [{ server: 'default', used: 0, limit: 80, capacity: { max_connections: Number } }])
  like(t, before.nodes, [{ is_this: true, shares: [{ server: 'default', granted: 80 }] }])
  const [held, begun] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const running = app.lessor.pools.use(
    { tenantId: tenant.id, generation: 1 },
    new AbortController(),
    async (db) =>
      db.transaction(async () => {
        begun.resolve()
        await held.promise
      }),
  )
  await begun.promise
  const response = await app.operator({ url: '/ops/budget' })
  t.equal(response.statusCode, 200)
  const [server] = response.json().servers
  like(t, server, { used: 1, peak: 1, breaker: { state: 'closed' }, capacity: { sessions: { tenants: 1 } } })
  like(t, server.holders, [{ tenant_id: tenant.id, connections: 1, waiting: 0 }])
  held.resolve()
  await running
})
