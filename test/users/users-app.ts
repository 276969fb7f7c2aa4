import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { systemClock } from '../../src/clock.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { lifetimePlugin } from '../../src/http/lifetime-plugin.ts'
import { problemPlugin } from '../../src/http/problem-plugin.ts'
import { validatorCompiler } from '../../src/http/validation.ts'
import type { Placement } from '../../src/placement/placement.ts'
import type { ConnectionTarget } from '../../src/pool/contract.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import type { Secret } from '../../src/secret.ts'
import type { TenantRef } from '../../src/tenants/tenant.ts'
import { userRoutes } from '../../src/users/user-routes.ts'
import { openAdmin, provisionTenant } from '../placement/support.ts'
import type { Answer, Call } from './answers.ts'

interface Scope {
  teardown(fn: () => unknown): void
}

/** Runtime is the login that all tenants of placement `row` have in common. */
export interface Runtime {
  readonly user: string
  readonly password: Secret
}

/** openUsersApp is an app of the user routes alone, with a guard that believes the header, on a placement. */
export async function openUsersApp(t: Scope, url: string, placement: Placement, runtime?: Runtime) {
  const admin = openAdmin(t, url)
  const targets = new Map<string, ConnectionTarget>()
  const pools = new PoolRegistry({
    limits: {
      maxEntries: 100,
      maxConnections: 2,
      sharedMaxConnections: 4,
      serverMaxConnections: 40,
      maxOpening: 4,
      maxWaiting: 1000,
      idleMs: 600_000,
      connectionIdleMs: 30_000,
      acquireTimeoutMs: 60_000,
      connectTimeoutMs: 30_000,
      statementTimeoutMs: 60_000,
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
  const app = await buildApp(pools)
  t.teardown(() => app.close())

  async function newTenant(t: Test): Promise<{ id: string; call: Call }> {
    const { id, target } = await newTarget(t)
    targets.set(id, target)
    return { id, call: (method, path, body) => send(id, method, `/v1/users${path}`, body) }
  }

  async function newTarget(t: Test): Promise<{ id: string; target: ConnectionTarget }> {
    const { host, port, database, tls } = parseDatabaseUrl(url)
    const address = { server: 'default', host, port, database, tls }
    if (runtime !== undefined) {
      const id = crypto.randomUUID()
      const login = placement.login(id, 'blue')
      return { id, target: { ...address, ...login, ...runtime, isShared: true } }
    }
    const { id, colour, password } = await provisionTenant(t, placement, admin)
    return { id, target: { ...address, ...placement.login(id, colour), password } }
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

  return { app, pools, newTenant, send }
}

async function buildApp(pools: PoolRegistry): Promise<FastifyInstance> {
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
