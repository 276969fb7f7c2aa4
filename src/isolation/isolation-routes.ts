import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { problemResponses } from '../http/problem-schema.ts'
import type { IsolationCheck } from './isolation-check.ts'

export interface IsolationRoutesOptions {
  readonly check: Pick<IsolationCheck, 'run'>
}

const Attack = Type.Object({
  server: Type.String(),
  placement: Type.String(),
  role: Type.String(),
  identity: Type.String({ description: 'whom rls.tenant_id names in the attacker’s session' }),
  object: Type.String(),
  attack: Type.String(),
  expected: Type.String(),
  outcome: Type.String(),
})

const Report = Type.Object({
  held: Type.Boolean({ description: 'whether every rule held and no attack got through' }),
  started_at: Type.String({ format: 'date-time' }),
  duration_ms: Type.Integer(),
  stages: Type.Array(
    Type.Object({
      server: Type.String(),
      placement: Type.String(),
      database: Type.String(),
      attacks: Type.Integer(),
      failed: Type.Integer(),
      gaps: Type.Array(Type.String(), { description: 'what could not be tried' }),
    }),
  ),
  rules: Type.Integer({ description: 'rules that were looked at, over all catalogs' }),
  broken_rules: Type.Array(
    Type.Object({
      server: Type.String(),
      database: Type.String(),
      rule: Type.String(),
      object: Type.String(),
      problem: Type.String(),
    }),
  ),
  failed_attacks: Type.Array(Attack),
  notices: Type.Array(Type.String(), { description: 'what PostgreSQL or the administrator leaves open' }),
})

/** isolationRoutes show operators whether the walls between tenants hold. Expects accessPlugin. */
export const isolationRoutes: FastifyPluginAsyncTypebox<IsolationRoutesOptions> = async (
  fastify,
  { check },
) => {
  fastify.addHook('onRequest', fastify.guards.operator)

  fastify.get(
    '/ops/isolation',
    {
      schema: {
        tags: ['Operations'],
        summary: 'Try the walls between tenants, with two canary tenants in each placement in use',
        querystring: Type.Object({}, { additionalProperties: false }),
        response: {
          200: Report,
          ...problemResponses(
            'INVALID_REQUEST',
            'UNAUTHENTICATED',
            'FORBIDDEN',
            'PLACEMENT_UNAVAILABLE',
            'POOL_SATURATED',
            'POOL_OPEN_FAILED',
            'SERVER_UNAVAILABLE',
            'CONTROL_UNAVAILABLE',
            'SHUTTING_DOWN',
          ),
        },
      },
    },
    async () => {
      const { held, startedAt, durationMs, stages, catalogs, trials } = await check.run()
      return {
        held,
        started_at: startedAt,
        duration_ms: durationMs,
        stages: stages.map(({ trials: attacks, objects: _, ...stage }) => ({
          ...stage,
          attacks,
          gaps: [...stage.gaps],
        })),
        rules: catalogs.reduce((sum, { rules }) => sum + rules, 0),
        broken_rules: catalogs.flatMap(({ broken }) => broken),
        failed_attacks: trials.filter(({ holds }) => !holds).map(({ holds: _, ...attack }) => attack),
        notices: [...new Set(catalogs.flatMap(({ notices }) => notices))],
      }
    },
  )
}
