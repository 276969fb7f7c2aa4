import type { FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type ErrorCode, LessorError } from '../errors.ts'
import { PROBLEM_TYPE, problemOf } from './problem.ts'
import { toLessorError } from './to-lessor-error.ts'

declare module 'fastify' {
  interface FastifyReply {
    /** Code of the error that was answered, for the request log. */
    errorCode: ErrorCode | null
  }
}

export interface ProblemOptions {
  /** Whether unknown routes are answered as well; an app has one handler for them. */
  readonly unknownRoutes?: boolean
}

const plugin: FastifyPluginCallback<ProblemOptions> = (fastify, { unknownRoutes = false }, done) => {
  if (!fastify.hasReplyDecorator('errorCode')) fastify.decorateReply('errorCode', null)
  fastify.setErrorHandler((error, request, reply) => sendProblem(request, reply, error))
  if (unknownRoutes) fastify.setNotFoundHandler(unknownRoute)
  done()
}

/** sendProblem answers with the problem that an error is; what is no fault of the caller is logged as well. */
export function sendProblem(request: FastifyRequest, reply: FastifyReply, thrown: unknown): FastifyReply {
  const error = toLessorError(thrown, () => request.routeOptions.bodyLimit ?? 0)
  reply.errorCode = error.code
  if (error.status === 500) request.log.error({ err: thrown }, 'request failed')
  else if (error.status > 500) request.log.warn({ err: withoutStack(error) }, 'request refused')
  else if (isConstraint(error.cause)) request.log.info(refusal(error.cause), 'constraint violated')
  if (error.retryAfterSeconds !== undefined) reply.header('retry-after', Math.ceil(error.retryAfterSeconds))
  return reply.code(error.status).header('content-type', PROBLEM_TYPE).send(problemOf(error, request.id))
}

function unknownRoute(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const [path = ''] = request.url.split('?', 1)
  const detail = `There is no route ${request.method} ${path.slice(0, 200)}.`
  return sendProblem(request, reply, new LessorError('ROUTE_NOT_FOUND', detail))
}

/** An overload repeats the same few errors: their stacks would be the bulk of the log and tell nothing. */
function withoutStack(error: LessorError): object {
  const { code, message, cause } = error
  return { code, message, cause: cause instanceof Error ? cause.message : undefined }
}

/** Class 23, integrity_constraint_violation. */
function isConstraint(cause: unknown): cause is object {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  return typeof code === 'string' && code.startsWith('23')
}

/** What broke which constraint, in words of the database alone: its message and detail hold values. */
function refusal(cause: object): object {
  const { code, table_name, constraint_name } = cause as Readonly<Record<string, unknown>>
  return { sqlState: code, table: table_name, constraint: constraint_name }
}

/** problemPlugin answers every error of the routes around it with problem+json. */
export const problemPlugin = fp(plugin, { fastify: '5.x', name: 'lessor-problem' })
