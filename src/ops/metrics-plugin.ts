import type { FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { RequestHistogram, RequestSeries } from './request-histogram.ts'

export interface MetricsPluginOptions {
  readonly timers: RequestTimers
}

/** RequestTimers finds the series that a request counts in. */
export class RequestTimers {
  readonly #histogram: RequestHistogram
  /** By route, which Fastify knows by its config, then by method and status. */
  readonly #routes = new WeakMap<object, Map<string, RequestSeries>>()

  constructor(histogram: RequestHistogram) {
    this.#histogram = histogram
  }

  observe(request: FastifyRequest, status: number, seconds: number): void {
    const { config } = request.routeOptions
    // A request that matches no route may have any method.
    const method = config.url === undefined ? '' : request.method
    let outcomes = this.#routes.get(config)
    if (outcomes === undefined) {
      outcomes = new Map()
      this.#routes.set(config, outcomes)
    }
    const outcome = `${method} ${status}`
    let series = outcomes.get(outcome)
    if (series === undefined) {
      series = this.#histogram.series({ method, route: config.url ?? '', status })
      outcomes.set(outcome, series)
    }
    series.observe(seconds)
  }
}

const plugin: FastifyPluginCallback<MetricsPluginOptions> = (fastify, { timers }, done) => {
  fastify.addHook('onResponse', (request: FastifyRequest, reply: FastifyReply, next) => {
    timers.observe(request, reply.statusCode, reply.elapsedTime / 1000)
    next()
  })
  done()
}

/** metricsPlugin times every request of the routes around it. */
export const metricsPlugin = fp(plugin, { fastify: '5.x', name: 'lessor-metrics' })
