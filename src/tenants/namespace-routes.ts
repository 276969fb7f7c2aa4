import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Static } from 'typebox'
import { BODY_ERRORS, problemResponses } from '../http/problem-schema.ts'
import type { Namespace } from './namespace.ts'
import type { NamespaceService } from './namespace-service.ts'
import {
  NamespaceListQuery,
  NamespaceListSchema,
  NamespaceSchema,
  NewNamespaceSchema,
} from './tenant-schemas.ts'

export interface NamespaceRoutesOptions {
  readonly namespaces: NamespaceService
}

const tags = ['Namespaces']

/** namespaceRoutes is where operators make namespaces. Expects accessPlugin. */
export const namespaceRoutes: FastifyPluginAsyncTypebox<NamespaceRoutesOptions> = async (
  fastify,
  { namespaces },
) => {
  fastify.addHook('onRequest', fastify.guards.operator)

  fastify.get(
    '/v1/namespaces',
    {
      schema: {
        tags,
        summary: 'List namespaces by name',
        querystring: NamespaceListQuery,
        response: {
          200: NamespaceListSchema,
          ...problemResponses('INVALID_REQUEST', 'UNAUTHENTICATED', 'FORBIDDEN', 'CONTROL_UNAVAILABLE'),
        },
      },
    },
    async ({ query }) => {
      const { records, nextCursor } = await namespaces.list(query)
      return { records: records.map(toBody), next_cursor: nextCursor }
    },
  )

  fastify.post(
    '/v1/namespaces',
    {
      schema: {
        tags,
        summary: 'Make a namespace',
        body: NewNamespaceSchema,
        response: {
          201: NamespaceSchema,
          ...problemResponses(
            'INVALID_REQUEST',
            'UNAUTHENTICATED',
            'FORBIDDEN',
            ...BODY_ERRORS,
            'NAMESPACE_NAME_TAKEN',
            'CONTROL_UNAVAILABLE',
          ),
        },
      },
    },
    async (request, reply) => {
      const namespace = await namespaces.create(request.body.name)
      request.made = { namespace: namespace.name }
      return reply.code(201).send(toBody(namespace))
    },
  )
}

function toBody(namespace: Namespace): Static<typeof NamespaceSchema> {
  return { id: namespace.id, name: namespace.name, created_at: namespace.createdAt.toISOString() }
}
