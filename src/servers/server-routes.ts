import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { problemResponses } from '../http/problem-schema.ts'
import type { DataServers } from './data-servers.ts'

export interface ServerRoutesOptions {
  readonly servers: Pick<DataServers, 'list'>
}

const Time = Type.String({ format: 'date-time' })

const ServerSchema = Type.Object({
  name: Type.String(),
  host: Type.String(),
  port: Type.Integer(),
  database: Type.String(),
  tls: Type.Enum(['disable', 'require', 'verify-full']),
  created_at: Time,
  updated_at: Time,
})

/** serverRoutes shows operators the data servers. Expects accessPlugin. */
export const serverRoutes: FastifyPluginAsyncTypebox<ServerRoutesOptions> = async (fastify, { servers }) => {
  fastify.addHook('onRequest', fastify.guards.operator)

  fastify.get(
    '/v1/servers',
    {
      schema: {
        tags: ['Servers'],
        summary: 'List data servers by name',
        querystring: Type.Object({}, { additionalProperties: false }),
        response: {
          200: Type.Object({ records: Type.Array(ServerSchema), next_cursor: Type.Null() }),
          ...problemResponses('INVALID_REQUEST', 'UNAUTHENTICATED', 'FORBIDDEN', 'CONTROL_UNAVAILABLE'),
        },
      },
    },
    async () => {
      const records = (await servers.list()).map(({ createdAt, updatedAt, ...server }) => ({
        ...server,
        created_at: createdAt.toISOString(),
        updated_at: updatedAt.toISOString(),
      }))
      return { records, next_cursor: null }
    },
  )
}
