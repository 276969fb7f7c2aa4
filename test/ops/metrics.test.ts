import Fastify from 'fastify'
import t from 'tap'
import { Metrics } from '../../src/ops/metrics.ts'
import { metricsPlugin, RequestTimers } from '../../src/ops/metrics-plugin.ts'
import { EVICTION_REASONS, type PoolCounters, type PoolGauges } from '../../src/pool/contract.ts'

const GAUGES: PoolGauges = {
  entries: { opening: 1, ready: 2, draining: 3 },
  leases: 4,
  waiting: 5,
  connections: { opening: 6, idle: 7, busy: 8, closing: 9 },
}

function counters(hits: number): PoolCounters {
  return {
    hits,
    opens: { ok: 11, failed: 12 },
    evictions: {
      idle: 1,
      capacity: 2,
      budget: 3,
      rotation: 4,
      suspension: 5,
      deletion: 6,
      failure: 7,
      operator: 8,
      shutdown: 9,
    },
    reopened: 13,
    saturated: 14,
    cancelled: 15,
    connectionsOpened: 16,
    connectionsClosed: 17,
  }
}

function makeMetrics(
  options: { hits?: () => number; countTenants?: () => Promise<{ active?: number }> } = {},
) {
  const { hits = () => 10, countTenants = async () => ({ active: 3 }) } = options
  const metrics = new Metrics()
  const errors: unknown[] = []
  metrics.watch({
    pools: { counters: () => counters(hits()), gauges: () => GAUGES },
    countTenants,
    onError: (error) => errors.push(error),
  })
  return { metrics, errors, scrape: async () => (await metrics.registry.metrics()).split('\n') }
}

t.test('the engine is read at each scrape', async (t) => {
  let hits = 10
  const { scrape } = makeMetrics({ hits: () => hits })
  const lines = await scrape()
  for (const line of [
    'lessor_pools{state="opening"} 1',
    'lessor_pools{state="ready"} 2',
    'lessor_pools{state="draining"} 3',
    'lessor_pool_leases 4',
    'lessor_pool_waiting 5',
    'lessor_pool_connections{state="busy"} 8',
    'lessor_pool_hits_total 10',
    'lessor_pool_opens_total{outcome="ok"} 11',
    'lessor_pool_opens_total{outcome="failed"} 12',
    'lessor_pool_reopened_total 13',
    'lessor_pool_evictions_total{reason="idle"} 1',
    'lessor_pool_evictions_total{reason="shutdown"} 9',
  ]) {
    t.ok(lines.includes(line), line)
  }
  t.equal(
    lines.filter((line) => line.startsWith('lessor_pool_evictions_total{')).length,
    EVICTION_REASONS.length,
  )
  hits = 25
  t.ok((await scrape()).includes('lessor_pool_hits_total 25'), 'a total, not a sum of totals')
})

t.test('what the observers report is observed in seconds', async (t) => {
  const { metrics, scrape } = makeMetrics()
  metrics.opened('ok', 20)
  metrics.waited(2)
  metrics.drained(500)
  metrics.swept(1)
  metrics.operation('seal', 'ok')
  metrics.operation('open', 'failed')
  metrics.operation('open', 'failed')
  const lines = await scrape()
  for (const line of [
    'lessor_pool_open_seconds_sum 0.02',
    'lessor_pool_lease_wait_seconds_sum 0.002',
    'lessor_pool_drain_seconds_sum 0.5',
    'lessor_sweep_seconds_sum 0.001',
    'lessor_vault_operations_total{operation="seal",outcome="ok"} 1',
    'lessor_vault_operations_total{operation="open",outcome="failed"} 2',
    'lessor_vault_operations_total{operation="reseal",outcome="ok"} 0',
  ]) {
    t.ok(lines.includes(line), line)
  }
})

t.test('tenants are counted by status, a status without tenants is zero', async (t) => {
  const { scrape } = makeMetrics()
  const lines = await scrape()
  t.ok(lines.includes('lessor_tenants{status="active"} 3'))
  t.ok(lines.includes('lessor_tenants{status="suspended"} 0'))
})

t.test('a scrape goes on when the tenants cannot be counted', async (t) => {
  const failure = new Error('no database')
  const { scrape, errors } = makeMetrics({ countTenants: () => Promise.reject(failure) })
  const lines = await scrape()
  t.ok(lines.includes('lessor_pool_leases 4'))
  t.notOk(lines.some((line) => line.startsWith('lessor_tenants{')))
  t.same(errors, [failure])
})

t.test("Node's own metrics are there, and two services do not share a registry", async (t) => {
  const { scrape } = makeMetrics()
  t.ok((await scrape()).some((line) => line.startsWith('nodejs_eventloop_lag_seconds ')))
  t.doesNotThrow(() => makeMetrics())
})

t.test('requests are timed by method, route pattern and status', async (t) => {
  const { metrics, scrape } = makeMetrics()
  const app = Fastify()
  await app.register(metricsPlugin, { timers: new RequestTimers(metrics.requests) })
  app.get('/things/:id', async (request, reply) => {
    reply.code(request.headers['x-fail'] === undefined ? 200 : 409)
    return {}
  })
  app.route({ method: ['POST', 'PUT'], url: '/both', handler: async () => ({}) })
  t.teardown(() => app.close())
  for (const url of ['/things/1', '/things/2', '/nowhere/1', '/nowhere/2']) await app.inject(url)
  await app.inject({ url: '/things/3', headers: { 'x-fail': '1' } })
  await app.inject({ method: 'DELETE', url: '/nowhere/3' })
  await app.inject({ method: 'POST', url: '/both' })
  await app.inject({ method: 'PUT', url: '/both' })
  const lines = await scrape()
  const counts = lines.filter((line) => line.startsWith('http_request_duration_seconds_count'))
  t.same(
    new Set(counts),
    new Set([
      'http_request_duration_seconds_count{method="GET",route="/things/:id",status="200"} 2',
      'http_request_duration_seconds_count{method="GET",route="/things/:id",status="409"} 1',
      'http_request_duration_seconds_count{method="",route="",status="404"} 3',
      'http_request_duration_seconds_count{method="POST",route="/both",status="200"} 1',
      'http_request_duration_seconds_count{method="PUT",route="/both",status="200"} 1',
    ]),
  )
})

t.test('the buckets of a duration are cumulative and end with the count', async (t) => {
  const { metrics, scrape } = makeMetrics()
  const series = metrics.requests.series({ method: 'GET', route: '/', status: 200 })
  for (const seconds of [0.0005, 0.001, 0.003, 31]) series.observe(seconds)
  const lines = (await scrape()).filter((line) => line.startsWith('http_request_duration_seconds'))
  for (const [name, value] of [
    ['bucket{le="0.001",', 2],
    ['bucket{le="0.0025",', 2],
    ['bucket{le="0.005",', 3],
    ['bucket{le="30",', 3],
    ['bucket{le="+Inf",', 4],
    ['count{', 4],
    ['sum{', 31.0045],
  ] as const) {
    const line = `http_request_duration_seconds_${name}method="GET",route="/",status="200"} ${value}`
    t.ok(lines.includes(line), line)
  }
})
