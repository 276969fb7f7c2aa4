import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { Config } from '../config.ts'
import { problemResponses } from '../http/problem-schema.ts'

export interface ConfigRoutesOptions {
  readonly config: Pick<Config, 'variables' | 'warnings'>
}

/** configRoutes show the configuration in force; a secret's value is never part of it. Expects accessPlugin. */
export const configRoutes: FastifyPluginAsyncTypebox<ConfigRoutesOptions> = async (fastify, { config }) => {
  fastify.addHook('onRequest', fastify.guards.operator)

  fastify.get(
    '/ops/config',
    {
      schema: {
        tags: ['Operations'],
        summary: 'The configuration in force; secrets are hidden',
        response: {
          200: Type.Object({
            variables: Type.Array(
              Type.Object({
                name: Type.String(),
                value: Type.Union([Type.String(), Type.Number(), Type.Null()]),
                is_default: Type.Boolean(),
              }),
            ),
            warnings: Type.Array(Type.String()),
          }),
          ...problemResponses('UNAUTHENTICATED', 'FORBIDDEN'),
        },
      },
    },
    async () => ({
      variables: config.variables.map(({ name, value, isDefault }) => ({
        name,
        value,
        is_default: isDefault,
      })),
      warnings: [...config.warnings],
    }),
  )
}
