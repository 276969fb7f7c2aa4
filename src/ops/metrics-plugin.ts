import type { FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Metrics } from './metrics.ts'

export interface MetricsPluginOptions {
  readonly timers: RequestTimers
}

type Timer = (seconds: number) => void

/** RequestTimers finds the timer of a request without making labels anew: a route has few outcomes. */
export class RequestTimers {
  readonly #metrics: Metrics
  /** By route, then by method and status. */
  readonly #timers = new WeakMap<object, Map<string, Timer>>()

  constructor(metrics: Metrics) {
    this.#metrics = metrics
  }

  observe(request: FastifyRequest, status: number, seconds: number): void {
    const { config } = request.routeOptions
    // A request that matches no route may have any method.
    const method = config.url === undefined ? '' : request.method
    let timers = this.#timers.get(config)
    if (timers === undefined) {
      timers = new Map()
      this.#timers.set(config, timers)
    }
    const outcome = `${method} ${status}`
    let timer = timers.get(outcome)
    if (timer === undefined) {
      timer = this.#metrics.requestTimer(method, config.url ?? '', status)
      timers.set(outcome, timer)
    }
    timer(seconds)
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
