import compress from '@fastify/compress'
import cors from '@fastify/cors'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { LessorError } from '../errors.ts'

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

const HSTS = ['strict-transport-security', 'max-age=31536000; includeSubDomains'] as const

/** apiHeaders is what goes with every answer, with HTTPS or without. */
export function apiHeaders(https: boolean): readonly (readonly [name: string, value: string])[] {
  return https ? [...API_HEADERS, HSTS] : API_HEADERS
}

const plugin: FastifyPluginAsync<HardeningOptions> = async (fastify, { corsOrigins, https }) => {
  const headers = apiHeaders(https)
  fastify.addHook('onRequest', (request, reply, next) => {
    for (const [name, value] of headers) reply.header(name, value)
    reply.header('x-request-id', request.id)
    // Node would answer this without a body (RFC 9112, section 3.2).
    if (request.headers.host === undefined && request.raw.httpVersion === '1.1') {
      next(new LessorError('INVALID_HTTP', 'A request of HTTP/1.1 must have a Host header.'))
    } else {
      next()
    }
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
