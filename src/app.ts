import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyServerOptions,
  fastify,
  type RawServerDefault,
} from 'fastify'
import type { Config, TlsConfig } from './config.ts'
import { ERRORS } from './errors.ts'
import { clientErrorHandler } from './http/client-errors.ts'
import { apiHeaders, hardeningPlugin } from './http/hardening-plugin.ts'
import { MAX_BODY_BYTES } from './http/json-body.ts'
import { lifetimePlugin } from './http/lifetime-plugin.ts'
import { openapiPlugin } from './http/openapi-plugin.ts'
import { boundPipelining } from './http/pipelining.ts'
import { problemPlugin, sendProblem } from './http/problem-plugin.ts'
import { makeRequestIds } from './http/request-id.ts'
import { RequestLog } from './http/request-log.ts'
import type { Lessor } from './lessor.ts'
import { lessorPlugin } from './lessor-plugin.ts'
import { metricsPlugin, RequestTimers } from './ops/metrics-plugin.ts'
import { readVersion } from './version.ts'

/**
 * buildApp makes the service's HTTP app around a Lessor and starts both; the app does not listen yet.
 * Its `close()` lets requests under way finish and then closes the Lessor.
 * @throws what Lessor.start throws
 */
export async function buildApp(lessor: Lessor): Promise<FastifyInstance> {
  const { config, clock, logger, metrics } = lessor
  const requestLog = new RequestLog()
  const timers = new RequestTimers(metrics.requests)
  const app = createApp(config.http, logger, requestLog)
  try {
    await app.register(lifetimePlugin, {
      clock,
      timeoutMs: config.http.requestTimeoutMs,
      onAborted(request, reply) {
        requestLog.requestAborted(request, reply)
        timers.observe(request, ERRORS.CLIENT_CLOSED_REQUEST.status, reply.elapsedTime / 1000)
      },
    })
    await app.register(problemPlugin, { unknownRoutes: true })
    await app.register(hardeningPlugin, {
      corsOrigins: config.http.corsOrigins,
      https: config.http.tls !== undefined,
    })
    await app.register(metricsPlugin, { timers })
    await app.register(openapiPlugin, { version: readVersion() })
    await app.register(lessorPlugin, { lessor })
    await app.ready()
    return app
  } catch (error) {
    await app.close()
    throw error
  }
}

function createApp(
  http: Config['http'],
  logger: FastifyBaseLogger,
  logController: RequestLog,
): FastifyInstance {
  const requestIds = makeRequestIds()
  const headers = apiHeaders(http.tls !== undefined)
  const server = {
    // How often clients that have not sent their header in time are looked for.
    connectionsCheckingInterval: Math.min(5_000, Math.ceil(http.requestTimeoutMs / 4)),
    // Node would answer without a body; hardening-plugin.ts does it.
    requireHostHeader: false,
  }
  const options: FastifyServerOptions<RawServerDefault, FastifyBaseLogger> = {
    loggerInstance: logger,
    logController,
    genReqId: requestIds,
    trustProxy: http.trustProxy.length > 0 ? [...http.trustProxy] : false,
    // What is sent to no route; intake-plugin.ts has the limits of routes.
    bodyLimit: Math.min(http.bodyLimitBytes, MAX_BODY_BYTES),
    // How long a client may take to send its header; lifetime-plugin.ts sees to the rest.
    requestTimeout: http.requestTimeoutMs,
    keepAliveTimeout: http.keepAliveTimeoutMs,
    // A client that reads no answer is cut when nothing has moved for longer than any request may take.
    connectionTimeout: 2 * http.requestTimeoutMs,
    // Migrations and the embedded database take the time they take.
    pluginTimeout: 0,
    // Requests that arrive on open connections while the app closes are still served.
    return503OnClosing: false,
    clientErrorHandler: clientErrorHandler({ logger, headers, requestId: () => requestIds({ headers: {} }) }),
    frameworkErrors: (error, request, reply) => {
      // No hook has seen it.
      for (const [name, value] of headers) reply.header(name, value)
      reply.header('x-request-id', request.id)
      sendProblem(request, reply, error)
    },
  }
  const app =
    http.tls === undefined ? fastify({ ...options, http: server }) : fastifyOverTls(options, server, http.tls)
  // An expectation that is not known is none (RFC 9110, section 10.1.1); Node would answer without a body.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))
  boundPipelining(app.server, logger)
  return app
}

function fastifyOverTls(
  options: object,
  server: object,
  { certificate, key, passphrase }: TlsConfig,
): FastifyInstance {
  const https = { ...server, cert: certificate, key: key.reveal(), passphrase: passphrase?.reveal() }
  // The types of the two servers differ in nothing that is used here.
  return fastify({ ...options, https }) as unknown as FastifyInstance
}
