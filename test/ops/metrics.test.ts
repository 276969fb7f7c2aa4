import Fastify from 'fastify'
import t from 'tap'
import { Metrics, type MetricsSources } from '../../src/ops/metrics.ts'
import { metricsPlugin, RequestTimers } from '../../src/ops/metrics-plugin.ts'
import { EVICTION_REASONS } from '../../src/pool/contract.ts'
import { WatchState } from '../../src/servers/watchdog/watch-state.ts'
import { NONE_FAILING } from '../../src/tenants/job.ts'
import { like } from '../support/like.ts'
import { COUNTERS, GAUGES, makeBudget, makeServer } from './fixtures.ts'

const BUDGET = makeBudget({
  entries: { used: 1, limit: 500, peak: 2 },
  connections: { used: 3, limit: 400, peak: 4 },
  servers: [
    makeServer({ used: 5, limit: 80, peak: 6, claims: 7 }),
    makeServer({ server: 'second', used: 8, limit: 40, peak: 9 }),
  ],
})

function makeWatchdog(): WatchState {
  const state = new WatchState()
  state.pass('default', 7000, 12)
  state.end('default', 'locks')
  state.end('default', 'locks')
  state.block()
  return state
}

function makeMetrics(options: Partial<MetricsSources> & { hits?: () => number } = {}) {
  const { hits = () => COUNTERS.hits, ...sources } = options
  const metrics = new Metrics()
  const errors: unknown[] = []
  metrics.watch({
    pools: {
      counters: () => ({ ...COUNTERS, hits: hits() }),
      gauges: () => GAUGES,
      budget: () => BUDGET,
    },
    isolation: { state: { held: true, lastHeldAt: 5000, attacks: { held: 7, failed: 0 } } },
    watchdog: makeWatchdog(),
    tasks: { list: () => [] },
    failingJobs: () => NONE_FAILING,
    countTenants: async () => ({ active: 3 }),
    countBehind: async () => 2,
    check: async () => ({ controlDatabase: true, migrations: true, vaultKeys: true, draining: false }),
    nodes: () => undefined,
    version: '1.2.3',
    onError: (error) => errors.push(error),
    ...sources,
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
    'lessor_pool_saturated_total 14',
    'lessor_pool_cancelled_total 15',
    'lessor_pool_displaced_total 18',
    'lessor_pool_yielded_total 19',
    'lessor_pool_idle_extended_total 20',
    'lessor_pools_outdated 14',
    'lessor_breakers{scope="tenant",state="open"} 10',
    'lessor_breakers{scope="tenant",state="half_open"} 11',
    'lessor_breakers{scope="server",state="open"} 12',
    'lessor_breaker_opened_total{scope="tenant"} 21',
    'lessor_breaker_opened_total{scope="server"} 22',
    'lessor_breaker_refused_total{scope="tenant"} 23',
    'lessor_breaker_refused_total{scope="server"} 24',
    '# TYPE lessor_breaker_refused_total counter',
    '# TYPE lessor_breakers gauge',
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

t.test('each hard limit says what is used of it, and what was at most', async (t) => {
  const { scrape } = makeMetrics()
  const lines = await scrape()
  for (const line of [
    'lessor_budget_used{kind="entries"} 1',
    'lessor_budget_limit{kind="entries"} 500',
    'lessor_budget_peak{kind="entries"} 2',
    'lessor_budget_used{kind="connections"} 3',
    'lessor_budget_limit{kind="opening"} 8',
    'lessor_budget_limit{kind="waiting"} 1000',
    'lessor_budget_used{kind="server",server="default"} 5',
    'lessor_budget_limit{kind="server",server="default"} 80',
    'lessor_budget_peak{kind="server",server="second"} 9',
    'lessor_server_claims{server="default"} 7',
    'lessor_server_claims{server="second"} 0',
  ]) {
    t.ok(lines.includes(line), line)
  }
})

t.test('a scrape looks at each source once', async (t) => {
  const calls = { counters: 0, gauges: 0, budget: 0 }
  const count = <T>(name: keyof typeof calls, value: T): T => {
    calls[name] += 1
    return value
  }
  const { scrape } = makeMetrics({
    pools: {
      counters: () => count('counters', COUNTERS),
      gauges: () => count('gauges', GAUGES),
      budget: () => count('budget', BUDGET),
    },
  })
  await scrape()
  t.strictSame(calls, { counters: 1, gauges: 1, budget: 1 })
  await scrape()
  t.strictSame(calls, { counters: 2, gauges: 2, budget: 2 })
})

t.test('readiness, version and nodes are there', async (t) => {
  const { scrape } = makeMetrics({
    check: async () => ({ controlDatabase: false, migrations: true, vaultKeys: true, draining: true }),
    nodes: () => ({ live: 3, unreadMs: 1500, unannounced: 2 }),
  })
  const lines = await scrape()
  for (const line of [
    'lessor_ready{check="control_database"} 0',
    'lessor_ready{check="migrations"} 1',
    'lessor_ready{check="serving"} 0',
    'lessor_info{version="1.2.3"} 1',
    'lessor_nodes 3',
    'lessor_changes_unread_seconds 1.5',
    'lessor_changes_unannounced_total 2',
  ]) {
    t.ok(lines.includes(line), line)
  }
  t.ok((await makeMetrics().scrape()).includes('lessor_nodes 1'), 'one that knows of no nodes is alone')
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
  t.ok(lines.includes('lessor_tenants_behind 2'))
})

t.test('a scrape goes on without what cannot be read', async (t) => {
  const failure = new Error('no database')
  const bug = new Error('bug: gauges')
  const { scrape, errors } = makeMetrics({
    countTenants: () => Promise.reject(failure),
    pools: {
      counters: () => COUNTERS,
      gauges: () => {
        throw bug
      },
      budget: () => BUDGET,
    },
  })
  const lines = await scrape()
  t.ok(lines.includes('lessor_pool_hits_total 10'))
  t.notOk(lines.some((line) => /^lessor_(tenants\{|pool_leases)/.test(line)))
  t.ok(errors.includes(failure))
  t.ok(errors.includes(bug))
})

t.test('a scrape does not wait for a control database that hangs', async (t) => {
  const { scrape, errors } = makeMetrics({ countTenants: () => new Promise(() => {}) })
  const lines = await scrape()
  t.ok(lines.includes('lessor_pool_leases 4'))
  t.notOk(lines.some((line) => line.startsWith('lessor_tenants{')))
  like(t, errors, [{ name: 'NoAnswerError' }])
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
  t.strictSame(
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
