import type { FastifyPluginCallback } from 'fastify'
import fp from 'fastify-plugin'
import { type GuardOptions, type Guards, makeGuards } from './guards.ts'
import type {} from './request.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Hooks that let a request into a route; see Guards. */
    readonly guards: Guards
  }
}

export type AccessOptions = GuardOptions

const plugin: FastifyPluginCallback<AccessOptions> = (fastify, options, done) => {
  fastify.decorateRequest('principal', null)
  fastify.decorateRequest('tenant', null)
  fastify.decorateRequest('made', null)
  fastify.decorate('guards', makeGuards(options))
  done()
}

/**
 * accessPlugin puts the guards on the instance and `principal` and `tenant` on its requests. It
 * guards nothing by itself: each scope of routes names its guard.
 */
export const accessPlugin = fp(plugin, { fastify: '5.x', name: 'lessor-access' })
