import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { BODY_ERRORS, problemResponses } from '../http/problem-schema.ts'
import { Secret } from '../secret.ts'
import { answersWithin } from './answers-within.ts'
import type { DataServers, ServerView } from './data-servers.ts'
import {
  NewServerSchema,
  type ServerBody,
  ServerListSchema,
  ServerParams,
  ServerPatchSchema,
  ServerSchema,
  toServerBody,
} from './server-schemas.ts'

export interface ServerRoutesOptions {
  readonly servers: Pick<DataServers, 'list' | 'get' | 'register' | 'update' | 'probe' | 'ping'>
}

const tags = ['Servers']
const COMMON = ['INVALID_REQUEST', 'UNAUTHENTICATED', 'FORBIDDEN', 'CONTROL_UNAVAILABLE'] as const
const ONE = [...COMMON, 'SERVER_NOT_FOUND'] as const
/** Whoever looks into a fault wants to see the servers that answer soon. */
const PING_MS = 2_000

/** serverRoutes is where operators register data servers and look after them. Expects accessPlugin. */
export const serverRoutes: FastifyPluginAsyncTypebox<ServerRoutesOptions> = async (fastify, { servers }) => {
  fastify.addHook('onRequest', fastify.guards.operator)

  async function present(server: ServerView): Promise<ServerBody> {
    return toServerBody(server, await answersWithin(servers.ping(server.name), PING_MS))
  }

  fastify.get(
    '/v1/servers',
    {
      schema: {
        tags,
        summary: 'List data servers by name',
        querystring: Type.Object({}, { additionalProperties: false }),
        response: { 200: ServerListSchema, ...problemResponses(...COMMON) },
      },
    },
    async () => ({
      records: await Promise.all((await servers.list()).map(present)),
      next_cursor: null,
    }),
  )

  fastify.post(
    '/v1/servers',
    {
      schema: {
        tags,
        summary: 'Register a data server',
        description:
          'Tries out what the server can do, makes it ready for the placements that it carries, and takes it ' +
          'into use on every node. A request that was cut can be repeated. A connection pooler is refused, and so is ' +
          'a database of another data server or installation.',
        body: NewServerSchema,
        response: {
          201: ServerSchema,
          ...problemResponses(
            ...COMMON,
            ...BODY_ERRORS,
            'SERVER_NAME_TAKEN',
            'SERVER_UNSUITABLE',
            'SERVER_UNAVAILABLE',
          ),
        },
      },
    },
    async (request, reply) => {
      const { body } = request
      const {
        name,
        url,
        tls,
        root_certificates: rootCertificates,
        labels,
        max_connections: maxConnections,
      } = body
      request.made = { server: name }
      const server = await servers.register({
        name,
        url: new Secret(url),
        ...(tls && { tls }),
        ...(rootCertificates !== undefined && { rootCertificates }),
        ...(labels && { labels }),
        ...(maxConnections !== undefined && { maxConnections }),
      })
      return reply
        .code(201)
        .header('location', `/v1/servers/${name}`)
        .send(await present(server))
    },
  )

  fastify.get(
    '/v1/servers/:name',
    {
      schema: {
        tags,
        summary: 'Read a data server',
        params: ServerParams,
        response: { 200: ServerSchema, ...problemResponses(...ONE) },
      },
    },
    async ({ params }) => present(await servers.get(params.name)),
  )

  fastify.patch(
    '/v1/servers/:name',
    {
      schema: {
        tags,
        summary: "Change a data server's labels, connections, or the way to it",
        description:
          'A new URL, such as one with a new password of the administrator, is tried out before it counts, and ' +
          'must lead to the same database, known by the mark in it, and to PostgreSQL itself; root_certificates stay ' +
          'unless others, or null, are given with it. The labels given take the place of all there were.',
        params: ServerParams,
        body: ServerPatchSchema,
        response: {
          200: ServerSchema,
          ...problemResponses(...ONE, ...BODY_ERRORS, 'SERVER_UNSUITABLE', 'SERVER_UNAVAILABLE'),
        },
      },
    },
    async ({ params, body }) => {
      const { url, tls, root_certificates: rootCertificates, labels, max_connections: maxConnections } = body
      const server = await servers.update(params.name, {
        ...(url !== undefined && { url: new Secret(url) }),
        ...(tls && { tls }),
        ...(rootCertificates !== undefined && { rootCertificates }),
        ...(labels && { labels }),
        ...(maxConnections !== undefined && { maxConnections }),
      })
      return present(server)
    },
  )

  fastify.post(
    '/v1/servers/:name/probe',
    {
      schema: {
        tags,
        summary: 'Find out again what a data server can do',
        description: 'After an upgrade, or when its administrator may do more or less than before.',
        params: ServerParams,
        response: {
          200: ServerSchema,
          ...problemResponses(...ONE, 'SERVER_UNSUITABLE', 'SERVER_UNAVAILABLE'),
        },
      },
    },
    async ({ params }) => present(await servers.probe(params.name)),
  )
}
