import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { LessorError } from '../errors.ts'
import { problemResponses } from '../http/problem-schema.ts'
import type { BreakerSnapshot, PoolSnapshot, Pools } from '../pool/contract.ts'
import {
  AbsentPoolSchema,
  CandidateSchema,
  Count,
  EvictionSchema,
  PoolSchema,
  presentBreaker,
  presentCandidate,
  presentEviction,
  presentPool,
  presentSweep,
  Reason,
  State,
  SweepSchema,
} from './pool-schemas.ts'
import { whoStays } from './who-stays.ts'

export interface PoolRoutesOptions {
  readonly pools: Pools
  /** Idle time after which a pool is evicted that thrash has not given a longer one. */
  readonly idleMs: number
  /** A tenant's breaker, which outlives its pool; without it, a tenant without a pool is not found. */
  readonly breaker?: (tenantId: string) => BreakerSnapshot
}

/** Candidates that a list of pools shows; as many as may go before the next look. */
const CANDIDATES = 10
const Limit = Type.Integer({ minimum: 1, maximum: 1000, default: 100 })
const TenantParams = Type.Object({ tenantId: Type.String({ format: 'uuid' }) })
const tags = ['Operations']

/** poolRoutes let operators look into the pool engine and take pools out of it. Expects accessPlugin. */
export const poolRoutes: FastifyPluginAsyncTypebox<PoolRoutesOptions> = async (
  fastify,
  { pools, idleMs, breaker },
) => {
  fastify.addHook('onRequest', fastify.guards.operator)

  function find(tenantId: string): PoolSnapshot {
    const pool = pools.snapshot(tenantId.toLowerCase())
    if (pool === undefined) throw new LessorError('POOL_NOT_FOUND')
    return pool
  }

  fastify.get(
    '/ops/pools',
    {
      schema: {
        tags,
        summary: 'The pools of this process, last used first',
        querystring: Type.Object(
          { limit: Limit, state: Type.Optional(State) },
          { additionalProperties: false },
        ),
        response: {
          200: Type.Object({
            records: Type.Array(PoolSchema),
            pools: Type.Object({ opening: Count, ready: Count, draining: Count }),
            leases: Count,
            waiting: Count,
            connections: Type.Object({ opening: Count, idle: Count, busy: Count, closing: Count }),
            next_evictions: Type.Array(CandidateSchema, {
              description: 'Who goes when a pool or a connection needs room, in order',
            }),
          }),
          ...problemResponses('INVALID_REQUEST', 'UNAUTHENTICATED', 'FORBIDDEN'),
        },
      },
    },
    async ({ query: { limit, state } }) => {
      const { entries, leases, waiting, connections } = pools.gauges()
      const records = pools
        .snapshots()
        .filter((pool) => state === undefined || pool.state === state)
        .sort((a, b) => b.lastAccess - a.lastAccess)
        .slice(0, limit)
        .map(presentPool)
      const next_evictions = pools.candidates(CANDIDATES).map(presentCandidate)
      return { records, pools: entries, leases, waiting, connections, next_evictions }
    },
  )

  fastify.get(
    '/ops/pools/:tenantId',
    {
      schema: {
        tags,
        summary: "One tenant's pool, or why it has none",
        params: TenantParams,
        response: {
          200: Type.Union([PoolSchema, AbsentPoolSchema]),
          ...problemResponses('INVALID_REQUEST', 'UNAUTHENTICATED', 'FORBIDDEN', 'POOL_NOT_FOUND'),
        },
      },
    },
    async ({ params }) => {
      const tenantId = params.tenantId.toLowerCase()
      const failed = pools.snapshot(tenantId) === undefined ? breaker?.(tenantId) : undefined
      if (failed === undefined || failed.state === 'closed') return presentPool(find(tenantId))
      return { tenant_id: tenantId, state: 'closed' as const, breaker: presentBreaker(failed) }
    },
  )

  fastify.post(
    '/ops/pools/:tenantId/evict',
    {
      schema: {
        tags,
        summary: "Evict a tenant's pool: it is gone at once and drains, requests under way finish",
        params: TenantParams,
        response: {
          202: Type.Object({ tenant_id: Type.String(), leases: Count }),
          ...problemResponses('INVALID_REQUEST', 'UNAUTHENTICATED', 'FORBIDDEN', 'POOL_NOT_FOUND'),
        },
      },
    },
    async ({ params, log }, reply) => {
      const { tenantId, leases } = find(params.tenantId)
      pools
        .evict(tenantId, 'operator')
        .catch((error: unknown) => log.error({ err: error }, 'eviction failed'))
      reply.code(202)
      return { tenant_id: tenantId, leases }
    },
  )

  fastify.post(
    '/ops/sweep',
    {
      schema: {
        tags,
        summary:
          'Sweep now; with dryRun, only explain which pools would go, and how many stay for what reason',
        querystring: Type.Object(
          { dryRun: Type.Boolean({ default: false }) },
          { additionalProperties: false },
        ),
        response: {
          200: SweepSchema,
          ...problemResponses('INVALID_REQUEST', 'UNAUTHENTICATED', 'FORBIDDEN'),
        },
      },
    },
    async ({ query: { dryRun } }) => {
      const report = pools.sweep({ dryRun })
      return presentSweep(report, whoStays(pools.snapshots(), report, idleMs))
    },
  )

  fastify.get(
    '/ops/evictions',
    {
      schema: {
        tags,
        summary: 'The last few hundred evictions, newest first',
        querystring: Type.Object(
          { limit: Limit, reason: Type.Optional(Reason) },
          { additionalProperties: false },
        ),
        response: {
          200: Type.Object({ records: Type.Array(EvictionSchema) }),
          ...problemResponses('INVALID_REQUEST', 'UNAUTHENTICATED', 'FORBIDDEN'),
        },
      },
    },
    async ({ query: { limit, reason } }) => ({
      records: pools
        .evictions()
        .filter((eviction) => reason === undefined || eviction.reason === reason)
        .slice(0, limit)
        .map(presentEviction),
    }),
  )
}
