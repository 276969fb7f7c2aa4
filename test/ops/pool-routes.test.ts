import { randomUUID } from 'node:crypto'
import Fastify from 'fastify'
import t from 'tap'
import { validatorCompiler } from '../../src/http/validation.ts'
import { type PoolRoutesOptions, poolRoutes } from '../../src/ops/pool-routes.ts'
import type { BreakerSnapshot } from '../../src/pool/contract.ts'
import { like } from '../support/like.ts'
import { CLOSED, makePool } from './fixtures.ts'

const TENANT = randomUUID()
const OPEN: BreakerSnapshot = { state: 'open', failures: 3, retryAt: 5000, lastCode: '28P01' }

/** getPool asks for the tenant's pool, with what the engine has of it. */
async function getPool(engine: { pool?: ReturnType<typeof makePool>; breaker?: BreakerSnapshot }) {
  const app = Fastify()
  app.setValidatorCompiler(validatorCompiler())
  app.decorate('guards', {
    operator: (_request: unknown, _reply: unknown, done: () => void) => done(),
  } as never)
  const pools = { snapshot: () => engine.pool } as unknown as PoolRoutesOptions['pools']
  await app.register(poolRoutes, { pools, idleMs: 1000, breaker: () => engine.breaker ?? CLOSED })
  try {
    const response = await app.inject(`/ops/pools/${TENANT.toUpperCase()}`)
    return { status: response.statusCode, body: response.json() }
  } finally {
    await app.close()
  }
}

t.test('a tenant whose pool could not be opened is explained by its breaker', async (t) => {
  t.strictSame(await getPool({ breaker: OPEN }), {
    status: 200,
    body: {
      tenant_id: TENANT,
      state: 'closed',
      breaker: { state: 'open', failures: 3, retry_at: '1970-01-01T00:00:05.000Z', last_code: '28P01' },
    },
  })
})

t.test('a tenant that has neither a pool nor failed is not found', async (t) => {
  t.equal((await getPool({})).status, 404)
})

t.test('a pool is shown whole, with its breaker', async (t) => {
  const pool = makePool({
    tenantId: TENANT,
    breaker: { ...OPEN, state: 'half_open' },
    weight: 3,
    server: null,
  })
  const { status, body } = await getPool({ pool, breaker: OPEN })
  t.equal(status, 200)
  like(t, body, { state: 'ready', server: null, weight: 3, idle_limit_ms: 600_000 })
  t.strictSame(body.breaker, {
    state: 'half_open',
    failures: 3,
    retry_at: '1970-01-01T00:00:05.000Z',
    last_code: '28P01',
  })
})
