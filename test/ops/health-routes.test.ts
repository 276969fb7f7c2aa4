import Fastify from 'fastify'
import t from 'tap'
import { Health, type HealthOptions } from '../../src/ops/health.ts'
import { healthRoutes } from '../../src/ops/health-routes.ts'
import { NONE_FAILING } from '../../src/tenants/job.ts'
import { excludes, like } from '../support/like.ts'

const NOTHING_FAILS = { background_tasks: 'ok', tenant_jobs: 'ok' }

interface Scope {
  teardown(fn: () => Promise<void>): void
}

async function makeApp(
  t: Scope,
  ping: () => Promise<unknown>,
  hasVaultKeys = () => true,
  failing?: HealthOptions['failing'],
) {
  let time = 1_000_000
  const health = new Health({ clock: { now: () => time }, ping, hasVaultKeys, ...(failing && { failing }) })
  const app = Fastify()
  await app.register(healthRoutes, { health, version: '1.2.3' })
  t.teardown(() => app.close())
  return {
    app,
    health,
    pass: (ms: number) => {
      time += ms
    },
  }
}

t.test('a process lives before it is ready', async (t) => {
  const { app, health } = await makeApp(t, async () => {})
  t.equal((await app.inject('/livez')).statusCode, 200)
  const before = await app.inject('/readyz')
  t.equal(before.statusCode, 503)
  t.strictSame(before.json(), {
    status: 'not_ready',
    reasons: ["The control database's migrations have not run yet"],
    checks: {
      control_database: 'failed',
      migrations: 'failed',
      vault_keys: 'ok',
      draining: false,
      ...NOTHING_FAILS,
    },
  })
  health.migrated()
  const after = await app.inject('/readyz')
  t.equal(after.statusCode, 200)
  t.strictSame(after.json(), {
    status: 'ready',
    reasons: [],
    checks: { control_database: 'ok', migrations: 'ok', vault_keys: 'ok', draining: false, ...NOTHING_FAILS },
  })
})

t.test('a process whose control database does not answer lives, but is not ready', async (t) => {
  let isUp = false
  const { app, health, pass } = await makeApp(t, async () => {
    if (!isUp) throw new Error('password of the database is hidden')
  })
  health.migrated()
  const down = await app.inject('/readyz')
  t.equal(down.statusCode, 503)
  t.strictSame(down.json().reasons, ['The control database does not answer'])
  excludes(t, down.body, /hidden/)
  t.equal((await app.inject('/livez')).statusCode, 200)
  isUp = true
  pass(500)
  t.equal((await app.inject('/readyz')).statusCode, 200)
})

t.test('a burst of probes asks the control database once', async (t) => {
  let pings = 0
  const { app, health, pass } = await makeApp(t, async () => {
    pings += 1
  })
  health.migrated()
  await Promise.all(Array.from({ length: 20 }, () => app.inject('/readyz')))
  t.equal(pings, 1)
  pass(500)
  await app.inject('/readyz')
  t.equal(pings, 2)
})

t.test('a draining process is not ready, for good', async (t) => {
  const { app, health } = await makeApp(t, async () => {})
  health.migrated()
  health.drain()
  const response = await app.inject('/readyz')
  t.equal(response.statusCode, 503)
  like(t, response.json(), { reasons: ['The service is shutting down'], checks: { draining: true } })
})

t.test('/health_check shows version, uptime and state at a glance', async (t) => {
  const { app, health, pass } = await makeApp(t, async () => {})
  health.migrated()
  pass(90_500)
  t.strictSame((await app.inject('/health_check')).json(), {
    status: 'ok',
    version: '1.2.3',
    uptime_seconds: 90,
    checks: { control_database: 'ok', migrations: 'ok', vault_keys: 'ok', draining: false, ...NOTHING_FAILS },
  })
  health.drain()
  t.equal((await app.inject('/health_check')).json().status, 'degraded')
})

t.test('a process that lacks a vault key lives, but is not ready until it has all again', async (t) => {
  let hasVaultKeys = false
  const { app, health } = await makeApp(
    t,
    async () => {},
    () => hasVaultKeys,
  )
  health.migrated()
  const lacking = await app.inject('/readyz')
  t.equal(lacking.statusCode, 503)
  t.strictSame(lacking.json(), {
    status: 'not_ready',
    reasons: ['VAULT_KEYS lacks a key that is in use; the log names it'],
    checks: {
      control_database: 'ok',
      migrations: 'ok',
      vault_keys: 'failed',
      draining: false,
      ...NOTHING_FAILS,
    },
  })
  t.equal((await app.inject('/livez')).statusCode, 200)
  t.equal((await app.inject('/health_check')).json().status, 'degraded')
  hasVaultKeys = true
  t.equal((await app.inject('/readyz')).statusCode, 200)
})

t.test('what fails again and again is a reason beside those that make a process not ready', async (t) => {
  let isUp = true
  const { app, health, pass } = await makeApp(
    t,
    async () => {
      if (!isUp) throw new Error('away')
    },
    undefined,
    () => ({ tasks: ['counts', 'visits'], jobs: { ...NONE_FAILING, rotate: 2, end_visit: 1 } }),
  )
  health.migrated()
  const reported = [
    'Tasks of this process fail again and again (counts, visits); the log says why',
    'Work on tenants fails again and again (rotate, end_visit); the log says of which and why',
  ]
  const checks = {
    control_database: 'ok',
    migrations: 'ok',
    vault_keys: 'ok',
    draining: false,
    background_tasks: 'failed',
    tenant_jobs: 'failed',
  }
  const ready = await app.inject('/readyz')
  t.equal(ready.statusCode, 200)
  t.strictSame(ready.json(), { status: 'ready', reasons: reported, checks })
  t.equal((await app.inject('/health_check')).json().status, 'ok')
  isUp = false
  pass(500)
  const away = await app.inject('/readyz')
  t.equal(away.statusCode, 503)
  t.strictSame(away.json(), {
    status: 'not_ready',
    reasons: ['The control database does not answer', ...reported],
    checks: { ...checks, control_database: 'failed' },
  })
})
