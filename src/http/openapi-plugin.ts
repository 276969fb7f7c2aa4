import helmet from '@fastify/helmet'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyPluginAsync, FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import { Type } from 'typebox'
import { ERRORS } from '../errors.ts'
import { errorsPage } from './errors-page.ts'
import { type OpenapiDocument, shareProblem } from './openapi-problem.ts'
import { markRequired, type RequiredDocument } from './openapi-required.ts'

/** RouteAccess is who may call a route; app.ts gives every route one, together with its guard. */
export type RouteAccess = 'open' | 'operator' | 'scraper' | 'tenant' | 'network'

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: RouteAccess
  }
}

export interface OpenapiOptions {
  readonly version: string
}

/** TAGS group the routes on the page, in this order. */
const TAGS = [
  { name: 'Tenants', description: 'Onboard tenants and look after them (operator)' },
  { name: 'Keys', description: 'API keys of tenants and namespaces (operator)' },
  { name: 'Namespaces', description: 'Accounts that own tenants (operator)' },
  { name: 'Servers', description: 'Data servers that hold tenants (operator)' },
  { name: 'Users', description: "A tenant's users, the sample resource (API key)" },
  { name: 'Internal users', description: 'The same for callers on a trusted network' },
  { name: 'Operations', description: 'Pools, evictions, configuration, metrics (operator)' },
  { name: 'Health', description: 'For load balancers and schedulers; open to all' },
] as const

/** The page loads its own scripts and styles and nothing from elsewhere; Swagger UI sets inline styles. */
const PAGE_POLICY = {
  useDefaults: false,
  directives: {
    defaultSrc: ["'self'"],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
    imgSrc: ["'self'", 'data:'],
    objectSrc: ["'none'"],
    styleSrc: ["'self'", "'unsafe-inline'"],
  },
}

const plugin: FastifyPluginAsync<OpenapiOptions> = async (fastify, { version }) => {
  await fastify.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Lessor',
        version,
        description: 'Gives every tenant of a SaaS its own PostgreSQL pool and its own walls.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      tags: [...TAGS],
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', description: 'Operator key or API key' },
        },
      },
    },
    transform: ({ schema, url, route }) => ({
      schema: withBodyLimit(withAccess(schema ?? {}, route.config?.access), route.bodyLimit),
      // A route at a prefix's root answers with and without the slash.
      url: url.replace(/(?<=.)\/$/, ''),
    }),
    transformObject: (document) => {
      if (!('openapiObject' in document)) return document.swaggerObject
      shareProblem(document.openapiObject as OpenapiDocument)
      markRequired(document.openapiObject as RequiredDocument)
      return document.openapiObject
    },
  })

  // Anyone may ask for it as often as they like: it is written once.
  let text: string | undefined
  fastify.get('/openapi.json', { schema: { hide: true } }, (_request, reply) => {
    text ??= JSON.stringify(fastify.swagger())
    return reply.type('application/json; charset=utf-8').send(text)
  })

  fastify.get('/', { schema: { hide: true } }, () => ({
    service: 'Lessor',
    version,
    docs: '/docs',
    openapi: '/openapi.json',
    errors: '/docs/errors',
    health: '/readyz',
  }))

  await fastify.register(async (pages) => {
    pages.addHook('onRequest', (_request, reply, next) => {
      reply.removeHeader('content-security-policy')
      reply.removeHeader('cache-control')
      next()
    })
    // HTTPS may end at a proxy, so a page must not upgrade what it loads; HSTS is hardening-plugin's.
    await pages.register(helmet, { contentSecurityPolicy: PAGE_POLICY, strictTransportSecurity: false })
    await pages.register(swaggerUi, { routePrefix: '/docs', theme: { title: 'Lessor API' } })
    pages.get('/docs/errors', { schema: { hide: true } }, (_request, reply) =>
      reply.type('text/html; charset=utf-8').send(errorsPage()),
    )
  })
}

function withAccess(schema: FastifySchema, access: RouteAccess | undefined): FastifySchema {
  switch (access) {
    case 'tenant':
      return { security: [{ bearer: [] }], headers: tenantHeader(false), ...schema }
    case 'network':
      return { security: [], headers: tenantHeader(true), ...schema }
    case 'open':
      return { security: [], ...schema }
    case 'scraper':
    case 'operator':
    case undefined:
      return { security: [{ bearer: [] }], ...schema }
  }
}

/** Says in the description of 413 how much is too much. */
function withBodyLimit(schema: FastifySchema, bodyLimit: number | undefined): FastifySchema {
  const response = schema.response as Readonly<Record<number, { readonly description: string }>> | undefined
  const tooLarge = response?.[ERRORS.BODY_TOO_LARGE.status]
  if (tooLarge === undefined || bodyLimit === undefined) return schema
  const description = `${tooLarge.description}; ${bodyLimit} bytes are the most`
  return {
    ...schema,
    response: { ...response, [ERRORS.BODY_TOO_LARGE.status]: { ...tooLarge, description } },
  }
}

function tenantHeader(isRequired: boolean): object {
  const header = Type.String({
    format: 'uuid',
    description: isRequired ? 'The tenant' : 'The tenant; may be left out where the key has only one',
  })
  return Type.Object({ 'x-tenant-id': isRequired ? header : Type.Optional(header) })
}

/**
 * openapiPlugin describes the routes that are registered after it: JSON at /openapi.json, a page at
 * /docs, the errors at /docs/errors. / says where these are.
 */
export const openapiPlugin = fp(plugin, { fastify: '5.x', name: 'lessor-openapi' })
