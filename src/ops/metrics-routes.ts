import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { problemResponses } from '../http/problem-schema.ts'
import type { Metrics } from './metrics.ts'

export interface MetricsRoutesOptions {
  readonly metrics: Metrics
  /** From there, callers without a key may scrape. */
  readonly trustedNetworks: { includes(address: string): boolean }
}

/**
 * metricsRoutes are what Prometheus scrapes, with the operator key or from a trusted network.
 * Expects accessPlugin.
 */
export const metricsRoutes: FastifyPluginAsyncTypebox<MetricsRoutesOptions> = async (fastify, options) => {
  const { metrics, trustedNetworks } = options

  fastify.addHook('onRequest', function scraperGuard(request, reply, done) {
    const isKeyless = request.headers.authorization === undefined
    if (isKeyless && trustedNetworks.includes(request.ip)) done()
    else fastify.guards.operator.call(this, request, reply, done)
  })

  fastify.get(
    '/metrics',
    {
      schema: {
        tags: ['Operations'],
        summary: 'Metrics in the Prometheus text format',
        response: {
          200: { description: 'Metrics', content: { 'text/plain': { schema: Type.String() } } },
          ...problemResponses('UNAUTHENTICATED', 'FORBIDDEN'),
        },
      },
    },
    async (_request, reply) => {
      const text = await metrics.registry.metrics()
      reply.header('content-type', metrics.registry.contentType)
      return reply.send(text)
    },
  )
}
