import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { type Checks, type Failing, type Health, isReady } from './health.ts'

export interface HealthRoutesOptions {
  readonly health: Health
  readonly version: string
}

const Check = Type.Unsafe<'ok' | 'failed'>(Type.String({ enum: ['ok', 'failed'] }))
const ChecksSchema = Type.Object({
  control_database: Check,
  migrations: Check,
  vault_keys: Check,
  draining: Type.Boolean({ description: 'Shutting down: requests under way finish, new ones go elsewhere' }),
  background_tasks: Type.Unsafe<'ok' | 'failed'>(
    Type.String({
      enum: ['ok', 'failed'],
      description: 'Whether work that the process repeats fails again and again; it is ready all the same',
    }),
  ),
  tenant_jobs: Type.Unsafe<'ok' | 'failed'>(
    Type.String({
      enum: ['ok', 'failed'],
      description: 'Whether work on a tenant fails again and again, in any process; it is ready all the same',
    }),
  ),
})
const Readiness = Type.Object({
  status: Type.Unsafe<'ready' | 'not_ready'>(Type.String({ enum: ['ready', 'not_ready'] })),
  reasons: Type.Array(Type.String(), { description: 'Why it is not ready, or not well though it is ready' }),
  checks: ChecksSchema,
})
const HealthCheck = Type.Object({
  status: Type.Unsafe<'ok' | 'degraded'>(Type.String({ enum: ['ok', 'degraded'] })),
  version: Type.String(),
  uptime_seconds: Type.Integer(),
  checks: ChecksSchema,
})

/** healthRoutes are for load balancers and schedulers; they need no key. */
export const healthRoutes: FastifyPluginAsyncTypebox<HealthRoutesOptions> = async (
  fastify,
  { health, version },
) => {
  fastify.get(
    '/livez',
    {
      schema: {
        tags: ['Health'],
        summary: 'Whether the process runs; restart it when this fails',
        response: { 200: Type.Object({ status: Type.Literal('ok') }) },
      },
    },
    async () => ({ status: 'ok' as const }),
  )

  fastify.get(
    '/readyz',
    {
      schema: {
        tags: ['Health'],
        summary: 'Whether the process can take requests',
        response: { 200: Readiness, 503: Readiness },
      },
    },
    async (_request, reply) => {
      const checks = await health.check()
      const failing = health.failing()
      const ready = isReady(checks)
      reply.code(ready ? 200 : 503)
      return {
        status: ready ? ('ready' as const) : ('not_ready' as const),
        reasons: [...reasons(checks), ...reported(failing)],
        checks: present(checks, failing),
      }
    },
  )

  fastify.get(
    '/health_check',
    {
      schema: {
        tags: ['Health'],
        summary: 'Version, uptime and state at a glance',
        response: { 200: HealthCheck },
      },
    },
    async () => {
      const checks = await health.check()
      return {
        status: isReady(checks) ? ('ok' as const) : ('degraded' as const),
        version,
        uptime_seconds: Math.floor(health.uptimeMs() / 1000),
        checks: present(checks, health.failing()),
      }
    },
  )
}

function present(checks: Checks, { jobs, tasks }: Failing) {
  return {
    control_database: outcome(checks.controlDatabase),
    migrations: outcome(checks.migrations),
    vault_keys: outcome(checks.vaultKeys),
    draining: checks.draining,
    background_tasks: outcome(tasks.length === 0),
    tenant_jobs: outcome(jobs.length === 0),
  }
}

function outcome(isWell: boolean): 'ok' | 'failed' {
  return isWell ? 'ok' : 'failed'
}

/** Why it is not ready. */
function reasons(checks: Checks): string[] {
  return [
    ...(checks.migrations ? [] : ["The control database's migrations have not run yet"]),
    ...(checks.migrations && !checks.controlDatabase ? ['The control database does not answer'] : []),
    ...(checks.vaultKeys ? [] : ['VAULT_KEYS lacks a key that is in use; the log names it']),
    ...(checks.draining ? ['The service is shutting down'] : []),
  ]
}

/** What does not make it less ready. */
function reported({ jobs, tasks }: Failing): string[] {
  return [
    ...(tasks.length === 0
      ? []
      : [`Tasks of this process fail again and again (${tasks.join(', ')}); the log says why`]),
    ...(jobs.length === 0
      ? []
      : [`Work on tenants fails again and again (${jobs.join(', ')}); the log says of which and why`]),
  ]
}
