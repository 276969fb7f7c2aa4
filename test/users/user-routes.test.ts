import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/clock.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { lifetimePlugin } from '../../src/http/lifetime-plugin.ts'
import { problemPlugin } from '../../src/http/problem-plugin.ts'
import { validatorCompiler } from '../../src/http/validation.ts'
import type { ConnectionTarget } from '../../src/pool/contract.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import type { TenantRef } from '../../src/tenants/tenant.ts'
import { userRoutes } from '../../src/users/user-routes.ts'
import { openAdmin, provisionTenant, rolePlacement } from '../placement/support.ts'
import { testDatabase } from '../support/database.ts'
import type { Answer, Call } from './answers.ts'
import { usersSuite } from './users-suite.ts'

const { url } = await testDatabase(t)
const admin = openAdmin(t, url)
const placement = rolePlacement()
await placement.prepare(admin)
const targets = new Map<string, ConnectionTarget>()
const pools = new PoolRegistry({
  limits: {
    maxEntries: 100,
    maxConnections: 2,
    serverMaxConnections: 40,
    maxOpening: 4,
    maxWaiting: 1000,
    idleMs: 600_000,
    connectionIdleMs: 30_000,
    acquireTimeoutMs: 10_000,
    connectTimeoutMs: 10_000,
    statementTimeoutMs: 10_000,
    drainTimeoutMs: 5_000,
    thrashMs: 1_000,
    processMaxConnections: 100,
    maxIdleMs: 600_000,
    breakerBaseMs: 500,
    breakerMaxMs: 30_000,
  },
  clock: systemClock,
  connect: openConnection,
  locate: async ({ tenantId }) => {
    const target = targets.get(tenantId)
    if (target === undefined) throw new Error(`no tenant ${tenantId}`)
    return target
  },
})
t.teardown(() => pools.destroy(new Error('the tests are over')))

const app = await build()
t.teardown(() => app.close())

/** An app of the routes alone, with a guard that believes the header. */
async function build(): Promise<FastifyInstance> {
  const app = Fastify().setValidatorCompiler(validatorCompiler())
  await app.register(problemPlugin)
  await app.register(lifetimePlugin, { clock: systemClock, timeoutMs: undefined })
  app.decorateRequest('tenant', null)
  app.addHook('onRequest', async (request) => {
    const tenantId = String(request.headers['x-tenant-id'])
    request.tenant = { tenantId, generation: 1, namespaceId: tenantId, status: 'active' } satisfies TenantRef
  })
  await app.register(userRoutes, { pools, prefix: '/v1/users' })
  await app.register(userRoutes, { pools, prefix: '/v1/internal/users', tag: 'Internal users' })
  await app.ready()
  return app
}

async function newTenant(t: Test): Promise<{ id: string; call: Call }> {
  const tenant = await provisionTenant(t, placement, admin)
  const { host, port, database, tls } = parseDatabaseUrl(url)
  targets.set(tenant.id, {
    server: 'default',
    host,
    port,
    database,
    tls,
    password: tenant.password,
    ...placement.login(tenant.id, tenant.colour),
  })
  return { id: tenant.id, call: (method, path, body) => send(tenant.id, method, `/v1/users${path}`, body) }
}

async function send(
  tenantId: string,
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<Answer> {
  const answer = await app.inject({
    method,
    url: path,
    headers: { 'x-tenant-id': tenantId, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { payload: JSON.stringify(body) }),
  })
  return { status: answer.statusCode, headers: answer.headers, text: answer.payload }
}

usersSuite(t, async (t) => (await newTenant(t)).call)

t.test('the same handlers answer under another prefix, with its own location', async (t) => {
  const { id } = await newTenant(t)
  const created = await send(id, 'POST', '/v1/internal/users/', { first_name: 'Ada', last_name: 'Lovelace' })
  const location = String(created.headers.location)
  t.match(location, /^\/v1\/internal\/users\/[0-9a-f-]{36}$/)
  t.equal((await send(id, 'GET', location)).text, created.text)
})

t.test('broken JSON, another content type and no body are refused', async (t) => {
  const { id } = await newTenant(t)
  for (const [type, payload, status, code] of [
    ['application/json', '{"first_name":', 400, 'INVALID_JSON'],
    ['application/json', '', 400, 'INVALID_JSON'],
    ['application/xml', '<user/>', 415, 'UNSUPPORTED_MEDIA_TYPE'],
    ['application/json', JSON.stringify({ first_name: 'x'.repeat(2 ** 21) }), 413, 'BODY_TOO_LARGE'],
  ] as const) {
    const answer = await app.inject({
      method: 'POST',
      url: '/v1/users',
      headers: { 'x-tenant-id': id, 'content-type': type },
      payload,
    })
    t.equal(answer.statusCode, status)
    t.match(answer.json(), { code })
  }
})

t.test('routes without a guard fail and serve nobody', async (t) => {
  const bare = Fastify()
  t.teardown(() => bare.close())
  bare.decorateRequest('tenant', null)
  await bare.register(userRoutes, { pools, prefix: '/v1/users' })
  t.equal((await bare.inject('/v1/users')).statusCode, 500)
})
