import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { accessPlugin } from './access/access-plugin.ts'
import { keyRoutes } from './access/key-routes.ts'
import { intakePlugin } from './http/intake-plugin.ts'
import { lifetimePlugin } from './http/lifetime-plugin.ts'
import type { RouteAccess } from './http/openapi-plugin.ts'
import { problemPlugin } from './http/problem-plugin.ts'
import { validatorCompiler } from './http/validation.ts'
import { isolationRoutes } from './isolation/isolation-routes.ts'
import type { Lessor } from './lessor.ts'
import { budgetRoutes } from './ops/budget-routes.ts'
import { configRoutes } from './ops/config-routes.ts'
import { healthRoutes } from './ops/health-routes.ts'
import { metricsRoutes } from './ops/metrics-routes.ts'
import { poolRoutes } from './ops/pool-routes.ts'
import { readServerCapacity } from './servers/server-capacity.ts'
import { serverRoutes } from './servers/server-routes.ts'
import { namespaceRoutes } from './tenants/namespace-routes.ts'
import { tenantRoutes } from './tenants/tenant-routes.ts'
import { userRoutes } from './users/user-routes.ts'
import { readVersion } from './version.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The services of Lessor; `lessor.use(request, fn)` in a route behind `guards.tenant`. */
    readonly lessor: Lessor
  }
}

export interface LessorPluginOptions {
  /** Made by createLessor. The plugin starts it, and closes it with the app. */
  readonly lessor: Lessor
  /** False leaves the sample resource `/v1/users` out. */
  readonly users?: boolean
}

const plugin: FastifyPluginAsync<LessorPluginOptions> = async (fastify, { lessor, users = true }) => {
  const { authenticator, clock, directory, trustedNetworks } = lessor
  fastify.addHook('onClose', () => lessor.close())
  await lessor.start()

  fastify.decorate('lessor', lessor)
  await fastify.register(accessPlugin, { authenticator, directory, trustedNetworks })
  if (!fastify.hasRequestDecorator('lifetime')) {
    await fastify.register(lifetimePlugin, { clock, timeoutMs: undefined })
  }
  await fastify.register(async (scope) => {
    scope.setValidatorCompiler(validatorCompiler())
    await scope.register(problemPlugin)
    await scope.register(intakePlugin, { bodyLimitBytes: lessor.config.http.bodyLimitBytes })
    await registerRoutes(scope, lessor, users)
  })
}

async function registerRoutes(scope: FastifyInstance, lessor: Lessor, users: boolean): Promise<void> {
  const { authenticator, config, control, health, keys, metrics, namespaces } = lessor
  const { nodes, pools, servers, shares, tenants, trustedNetworks } = lessor

  await scope.register(async (open) => {
    declareAccess(open, 'open')
    await open.register(healthRoutes, { health, version: readVersion() })
  })

  await scope.register(async (scraper) => {
    declareAccess(scraper, 'scraper')
    await scraper.register(metricsRoutes, { metrics, trustedNetworks })
  })

  // All of these bring the operator's guard.
  await scope.register(async (operator) => {
    declareAccess(operator, 'operator')
    await operator.register(tenantRoutes, { tenants, batchLimitBytes: config.http.bodyLimitBytes })
    await operator.register(keyRoutes, {
      db: control,
      keys,
      authenticator,
      findTenant: (id) => tenants.find(id),
      findNamespace: (name) => namespaces.find(name),
    })
    await operator.register(namespaceRoutes, { namespaces })
    await operator.register(serverRoutes, { servers })
    await operator.register(poolRoutes, {
      pools,
      idleMs: config.pools.idleMs,
      breaker: (tenantId) => pools.breaker(tenantId),
    })
    await operator.register(budgetRoutes, {
      pools,
      servers: () => servers.budgets(),
      serverLimit: (server) => shares.limit(server),
      capacity: async (server) => readServerCapacity(await servers.admin(server)),
      nodes,
      sizes: {
        limits: config.pools,
        roleConnectionLimit: config.roles.connectionLimit,
        controlMaxConnections: config.control.maxConnections,
      },
      uptimeMs: () => health.uptimeMs(),
    })
    await operator.register(isolationRoutes, { check: lessor.isolation })
    await operator.register(configRoutes, { config })
  })

  if (!users) return
  await scope.register(async (tenant) => {
    declareAccess(tenant, 'tenant')
    tenant.addHook('onRequest', tenant.guards.tenant)
    await tenant.register(userRoutes, { prefix: '/v1/users', pools, tag: 'Users' })
  })
  await scope.register(async (network) => {
    declareAccess(network, 'network')
    network.addHook('onRequest', network.guards.network)
    await network.register(userRoutes, { prefix: '/v1/internal/users', pools, tag: 'Internal users' })
  })
}

/** declareAccess notes on each route of a scope who may call it, for the API's description. */
function declareAccess(scope: FastifyInstance, access: RouteAccess): void {
  scope.addHook('onRoute', (route) => {
    route.config = { ...route.config, access }
  })
}

/**
 * lessorPlugin puts Lessor into an app: the guards and `lessor` on the instance, so that the app's
 * own routes can use them, and Lessor's routes beside the app's. It resolves when Lessor has started.
 */
export const lessorPlugin = fp(plugin, { fastify: '5.x', name: 'lessor' })
