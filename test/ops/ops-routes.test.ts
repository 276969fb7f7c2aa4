import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { type TestApp, testApp } from '../support/app.ts'
import { excludes, like } from '../support/like.ts'

/** Resolves when `is` holds; the test's own timeout is the limit. */
async function until(is: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await is())) await sleep(5)
}

async function records(app: TestApp, url: string): Promise<Record<string, unknown>[]> {
  return (await app.operator({ url })).json().records
}

t.test('operators look into the pools', async (t) => {
  const app = await testApp(t, { POOL_IDLE_SECONDS: '1', SWEEP_CRON: '0 0 0 1 1 *' })
  const [first, second] = [await app.onboard(), await app.onboard()]
  const use = async (tenant: { inject: TestApp['operator'] }) =>
    t.equal((await tenant.inject({ url: '/v1/users' })).statusCode, 200)

  t.test('no pool is there before the first request', async (t) => {
    t.strictSame(await records(app, '/ops/pools'), [])
    const missing = await app.operator({ url: `/ops/pools/${first.id}` })
    t.equal(missing.statusCode, 404)
    t.equal(missing.json().code, 'POOL_NOT_FOUND')
    const evict = await app.operator({ method: 'POST', url: `/ops/pools/${first.id}/evict` })
    t.equal(evict.json().code, 'POOL_NOT_FOUND')
  })

  t.test('pools are listed, last used first', async (t) => {
    await use(first)
    await use(second)
    t.strictSame(
      (await records(app, '/ops/pools')).map((pool) => pool.tenant_id),
      [second.id, first.id],
    )
    await use(first)
    t.equal((await records(app, '/ops/pools?limit=1'))[0]?.tenant_id, first.id)
    t.strictSame(await records(app, '/ops/pools?state=draining'), [])
    const summary = (await app.operator({ url: '/ops/pools' })).json()
    like(t, summary, { pools: { opening: 0, ready: 2, draining: 0 }, leases: 0, waiting: 0 })
    const one = await app.operator({ url: `/ops/pools/${first.id.toUpperCase()}` })
    like(t, one.json(), {
      tenant_id: first.id,
      server: 'default',
      state: 'ready',
      leases: 0,
      connections: { opening: 0, busy: 0 },
      last_access: /^\d{4}-\d\d-\d\dT.*Z$/,
      idle_limit_ms: 1000,
      weight: 1,
      breaker: { state: 'closed', failures: 0, retry_at: null, last_code: null },
    })
  })

  t.test('the list says who goes next when room is needed, and why', async (t) => {
    const { next_evictions } = (await app.operator({ url: '/ops/pools' })).json()
    const places = next_evictions.filter((each: { reason: string }) => each.reason === 'capacity')
    t.strictSame(
      new Set(places.map((each: { tenant_id: string }) => each.tenant_id)),
      new Set([first.id, second.id]),
    )
    like(t, places[0], {
      server: 'default',
      connections: 1,
      cost: Number,
      why: /^Idle for .*opening it again/,
    })
    t.ok(places[0].cost <= places[1].cost, 'in the order in which they go')
  })

  t.test('an evicted pool is gone at once, and the request under way finishes', async (t) => {
    const running = app.lessor.pools.use(
      { tenantId: first.id, generation: 1 },
      new AbortController(),
      async (db) => db.query(sql`select pg_sleep(0.3), 'finished' as outcome`),
    )
    await until(() => app.lessor.pools.snapshot(first.id)?.leases === 1)
    const evicted = await app.operator({ method: 'POST', url: `/ops/pools/${first.id}/evict` })
    t.equal(evicted.statusCode, 202)
    t.strictSame(evicted.json(), { tenant_id: first.id, leases: 1 })
    t.equal((await app.operator({ url: `/ops/pools/${first.id}` })).statusCode, 404)
    like(t, await running, [{ outcome: 'finished' }])
    const [last] = await records(app, '/ops/evictions?limit=1')
    like(t, last, { tenant_id: first.id, reason: 'operator', leases: 1, at: /Z$/ })
  })

  t.test('a dry sweep explains who would go, a sweep takes them', async (t) => {
    await until(() => (app.lessor.pools.snapshot(second.id)?.idleMs ?? 0) >= 1000)
    const dry = (await app.operator({ method: 'POST', url: '/ops/sweep?dryRun=true' })).json()
    like(t, dry, { dry_run: true, evicted: [{ tenant_id: second.id, reason: 'idle', why: String }] })
    t.strictSame(dry.stays, { opening: 0, in_use: 0, recently_used: 0, idle_extended: 0 })
    t.equal(dry.next_in_ms, null)
    t.equal(app.lessor.pools.snapshot(second.id)?.state, 'ready')
    const real = (await app.operator({ method: 'POST', url: '/ops/sweep' })).json()
    like(t, real, { dry_run: false, evicted: [{ tenant_id: second.id }] })
    t.equal(app.lessor.pools.snapshot(second.id), undefined)
    await use(second)
    const stays = (await app.operator({ method: 'POST', url: '/ops/sweep?dryRun=true' })).json()
    like(t, stays, { evicted: [], stays: { opening: 0, in_use: 0 } })
    // Coming back at once was thrash, so it is given longer than the second that all have.
    t.ok(stays.next_in_ms > 0)
    t.equal(stays.stays.recently_used + stays.stays.idle_extended, 1)
    t.strictSame(
      (await records(app, '/ops/evictions?reason=idle')).map((each) => each.tenant_id),
      [second.id],
    )
  })

  t.test('an unknown parameter or value is refused by name', async (t) => {
    for (const [url, path] of [
      ['/ops/pools?state=asleep', 'state'],
      ['/ops/pools?foo=1', 'foo'],
      ['/ops/pools?limit=0', 'limit'],
      ['/ops/budget?holders=-1', 'holders'],
      ['/ops/evictions?reason=boredom', 'reason'],
      ['/ops/pools/not-a-uuid', 'tenantId'],
    ] as const) {
      const response = await app.operator({ url })
      t.equal(response.statusCode, 400, url)
      t.equal(response.json().errors[0].path, path)
    }
  })

  t.test('the configuration is shown without a secret', async (t) => {
    const response = await app.operator({ url: '/ops/config' })
    const { variables } = response.json()
    like(
      t,
      variables.find((variable: { name: string }) => variable.name === 'POOL_IDLE_SECONDS'),
      { value: 1, is_default: false },
    )
    for (const name of ['OPERATOR_KEY', 'VAULT_KEYS', 'DATABASE_URL']) {
      t.equal(variables.find((variable: { name: string }) => variable.name === name).value, '[secret]')
    }
    for (const secret of [app.operatorKey, app.vaultKeys, app.databaseUrl]) {
      t.notOk(response.body.includes(secret))
    }
  })

  t.test('metrics have every name, and no tenant', async (t) => {
    const text = (await app.operator({ url: '/metrics' })).body
    for (const name of [
      'lessor_pools{state=',
      'lessor_pool_opens_total{outcome=',
      'lessor_pool_open_seconds_bucket',
      'lessor_pool_hits_total',
      'lessor_pool_evictions_total{reason=',
      'lessor_pool_leases',
      'lessor_pool_lease_wait_seconds_bucket',
      'lessor_pool_drain_seconds_bucket',
      'lessor_pool_reopened_total',
      'lessor_sweep_seconds_bucket',
      'lessor_vault_operations_total{operation=',
      'lessor_tenants{status="active"} 2',
      'http_request_duration_seconds_bucket{le="0.001",method="GET",route="/v1/users"',
      'process_cpu_seconds_total',
    ]) {
      t.ok(text.includes(name), name)
    }
    excludes(t, text, new RegExp(`${first.id}|${second.id}`))
  })
})

t.test("the operators' routes are for operators", async (t) => {
  const app = await testApp(t, { TRUSTED_NETWORKS: '10.0.0.0/8' })
  const tenant = await app.onboard()
  for (const url of ['/ops/pools', '/ops/budget', '/ops/evictions', '/ops/config', '/metrics']) {
    t.equal((await app.app.inject(url)).statusCode, 401, url)
    t.equal((await tenant.inject({ url })).statusCode, 403, url)
    const trusted = await app.app.inject({ url, remoteAddress: '10.1.2.3' })
    t.equal(trusted.statusCode, url === '/metrics' ? 200 : 401, `${url} from a trusted network`)
    const spoofed = await app.app.inject({ url, headers: { 'x-forwarded-for': '10.1.2.3' } })
    t.equal(spoofed.statusCode, 401, url)
  }
  const wrongKey = { authorization: 'Bearer wrong' }
  const refused = await app.app.inject({ url: '/metrics', remoteAddress: '10.1.2.3', headers: wrongKey })
  t.equal(refused.statusCode, 401, 'a wrong key is refused even there')
})

t.test('a tenant whose login fails shows in the metrics, by scope and not by name', async (t) => {
  const app = await testApp(t, { BREAKER_BASE_MS: '60000', BREAKER_MAX_MS: '60000' })
  const tenant = await app.onboard()
  const admin = await app.lessor.servers.admin('default')
  await admin.script(`alter role tb_${tenant.id.replaceAll('-', '')} nologin`)
  t.equal((await tenant.inject({ url: '/v1/users' })).statusCode, 503)
  const refused = await tenant.inject({ url: '/v1/users' })
  t.equal(refused.json().code, 'TENANT_UNAVAILABLE')
  const lines = (await app.operator({ url: '/metrics' })).body.split('\n')
  for (const line of [
    'lessor_breakers{scope="tenant",state="open"} 1',
    'lessor_breakers{scope="server",state="open"} 0',
    'lessor_breaker_opened_total{scope="tenant"} 1',
    'lessor_breaker_refused_total{scope="tenant"} 1',
    'lessor_pool_opens_total{outcome="failed"} 1',
  ]) {
    t.ok(lines.includes(line), line)
  }
})
