import { type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import type {} from '../access/request.ts'
import { ERRORS, type ErrorCode } from '../errors.ts'
import type {} from './problem-plugin.ts'

/**
 * RequestLog writes one line a request, when it has ended: who did what with which tenant, how it
 * went and how long it took. Routes are logged by their pattern, and neither headers nor bodies are
 * logged, so that a line holds no secret and nothing of a tenant's data.
 */
export class RequestLog extends LogController {
  constructor() {
    super({ requestIdLogLabel: 'requestId' })
  }

  override incomingRequest(): void {}

  override requestCompleted(
    _error: Error | null | undefined,
    request: FastifyRequest,
    reply: FastifyReply,
  ): void {
    this.#log(request, reply, reply.statusCode, reply.errorCode)
  }

  /** requestAborted logs a request whose client went away before the answer. */
  requestAborted(request: FastifyRequest, reply: FastifyReply): void {
    const code = 'CLIENT_CLOSED_REQUEST'
    this.#log(request, reply, ERRORS[code].status, code)
  }

  #log(request: FastifyRequest, reply: FastifyReply, status: number, code: ErrorCode | null): void {
    const { principal } = request
    reply.log.info(
      {
        tenant: request.tenant?.tenantId,
        principal: principal?.kind,
        key: principal?.kind === 'api_key' ? principal.keyId : undefined,
        method: request.method,
        route: request.routeOptions.url ?? null,
        status,
        code: code ?? undefined,
        ms: Math.round(reply.elapsedTime * 100) / 100,
      },
      'request',
    )
  }

  // The problem handler logs what it answers, and the line above tells of unknown routes.
  override defaultErrorLog(): void {}
  override routeNotFound(): void {}
}
