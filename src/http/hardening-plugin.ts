import compress from '@fastify/compress'
import cors from '@fastify/cors'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'

export interface HardeningOptions {
  /** Origins of browser apps that may call; `*` for all. */
  readonly corsOrigins: readonly string[]
  /** Whether this process itself speaks HTTPS. */
  readonly https: boolean
}

/** Smaller answers take longer to compress than to send. */
const COMPRESS_FROM_BYTES = 2048

/**
 * API_HEADERS go with every answer: what OWASP's REST security cheat sheet asks of an API, whose
 * answers are data and never a page. The pages under /docs carry helmet's headers instead. helmet
 * builds its middleware anew for each request, which more than halves what Fastify can do in a second.
 */
const API_HEADERS = [
  ['cache-control', 'no-store'],
  ['content-security-policy', "default-src 'none'; frame-ancestors 'none'"],
  ['x-content-type-options', 'nosniff'],
] as const

const HSTS = 'max-age=31536000; includeSubDomains'

const plugin: FastifyPluginAsync<HardeningOptions> = async (fastify, { corsOrigins, https }) => {
  fastify.addHook('onRequest', (request, reply, next) => {
    for (const [name, value] of API_HEADERS) reply.header(name, value)
    if (https) reply.header('strict-transport-security', HSTS)
    reply.header('x-request-id', request.id)
    next()
  })
  if (corsOrigins.length > 0) {
    await fastify.register(cors, {
      origin: [...corsOrigins],
      methods: ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE'],
      exposedHeaders: ['retry-after', 'x-request-id'],
      maxAge: 600,
    })
  }
  await fastify.register(compress, { threshold: COMPRESS_FROM_BYTES, globalDecompression: false })
}

/** hardeningPlugin sets the headers of every answer, opens CORS to whom it is configured for, and compresses. */
export const hardeningPlugin = fp(plugin, { fastify: '5.x', name: 'lessor-hardening' })
