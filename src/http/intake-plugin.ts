import type { FastifyPluginCallback } from 'fastify'
import fp from 'fastify-plugin'
import { jsonBody, MAX_BODY_BYTES } from './json-body.ts'
import { assertUrlText } from './url-text.ts'

export interface IntakeOptions {
  /** The most that a body may have where the route does not say; MAX_BODY_BYTES at most. */
  readonly bodyLimitBytes: number
}

const plugin: FastifyPluginCallback<IntakeOptions> = (fastify, { bodyLimitBytes }, done) => {
  const limit = Math.min(bodyLimitBytes, MAX_BODY_BYTES)
  fastify.addHook('onRoute', (route) => {
    route.bodyLimit ??= limit
  })
  fastify.addHook('onRequest', (request, _reply, next) => {
    // The router has decoded them: text by text.
    assertUrlText(request.url, request.params as Readonly<Record<string, string>>)
    next()
  })
  // JSON alone: no text, and nothing that the app around has a parser for.
  fastify.removeAllContentTypeParsers()
  fastify.addContentTypeParser('application/json', { parseAs: 'buffer' }, jsonBody(fastify))
  done()
}

/**
 * intakePlugin bounds and checks what the routes around it are sent, before a route sees it: the size of
 * bodies, their encoding, and text that PostgreSQL cannot hold. Routes are registered after it.
 */
export const intakePlugin = fp(plugin, { fastify: '5.x', name: 'lessor-intake' })
