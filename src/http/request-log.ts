import { type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import type { Made } from '../access/request.ts'
import { ERRORS, type ErrorCode } from '../errors.ts'
import type {} from './problem-plugin.ts'

/**
 * RequestLog writes one line a request, when it has ended: who did what with which tenant, how it
 * went and how long it took. Routes are logged by their pattern, and neither headers nor bodies are
 * logged, so that a line holds no secret and nothing of a tenant's data. Of an operator's request the line names what it
 * was about, since that may be gone afterwards: the tenant, `of_key`, `namespace` or `server`.
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
    const subject = principal?.kind === 'operator' ? subjectOf(request) : undefined
    const level = status < 400 && PROBES.has(request.routeOptions.url ?? '') ? 'debug' : 'info'
    reply.log[level](
      {
        tenant: request.tenant?.tenantId ?? subject?.tenant,
        tenants: subject?.tenants,
        of_key: subject?.key,
        namespace: subject?.namespace,
        server: subject?.server,
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

/** What machines ask every few seconds, and no one reads as long as it goes well. */
const PROBES: ReadonlySet<string> = new Set(['/livez', '/readyz', '/health_check', '/metrics'])

/** Parameters of paths that name what an operator's request is about; see the routes. */
interface SubjectParams {
  readonly id?: string
  readonly tenantId?: string
  readonly keyId?: string
  readonly name?: string
}

const MOST_CHARACTERS = 128

/** What the path names, and what the request has made. A text of the caller's own is cut. */
function subjectOf({ made, params, routeOptions }: FastifyRequest): Made {
  // Routes without parameters have an empty object, and unknown routes what they were asked for.
  const { id, keyId, name, tenantId } = (params ?? {}) as SubjectParams
  const cut = (text: string | undefined) => text?.slice(0, MOST_CHARACTERS)
  const isOfServer = routeOptions.url?.startsWith('/v1/servers/') ?? false
  const named = {
    tenant: cut(id ?? tenantId),
    key: cut(keyId),
    ...(isOfServer ? { server: cut(name) } : { namespace: cut(name) }),
  }
  return { ...named, ...made }
}
