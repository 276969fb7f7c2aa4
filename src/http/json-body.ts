import { isUtf8 } from 'node:buffer'
import type { FastifyBodyParser, FastifyInstance, FastifyRequest } from 'fastify'
import { LessorError } from '../errors.ts'
import { findUnstorable, maySmuggle } from './storable-text.ts'

/**
 * MAX_BODY_BYTES is the most that a body may have but for routes that say otherwise: many times what the
 * largest takes, and so little that nothing that is done with one holds up other requests.
 */
export const MAX_BODY_BYTES = 16_384

/**
 * jsonBody makes the parser of JSON bodies. A body must be UTF-8 (RFC 8259, section 8.1), since Node would
 * put U+FFFD where it is not, must not be compressed, and must hold no text that PostgreSQL cannot. Where a route
 * needs no body, one that is announced and empty is none: many clients send the content type with every request.
 */
export function jsonBody(fastify: Pick<FastifyInstance, 'getDefaultJsonParser'>): FastifyBodyParser<Buffer> {
  const parse = fastify.getDefaultJsonParser('error', 'error')
  return (request, body, done) => {
    if (body.length === 0 && mayBeEmpty(request)) {
      done(null, null)
      return
    }
    const coding = request.headers['content-encoding']
    if (coding !== undefined && coding.trim().toLowerCase() !== 'identity') {
      done(
        new LessorError(
          'UNSUPPORTED_MEDIA_TYPE',
          'Send the body as it is, without Content-Encoding: this service takes no compressed bodies.',
        ),
      )
      return
    }
    if (!isUtf8(body)) {
      done(new LessorError('INVALID_JSON', 'The body is not UTF-8, the encoding that JSON has.'))
      return
    }
    const text = body.toString('utf8')
    void parse(request, text, (error, value) => {
      const fault = error ?? (maySmuggle(text) ? findUnstorable(value) : undefined)
      if (fault === undefined) done(null, value)
      else done(fault)
    })
  }
}

function mayBeEmpty(request: FastifyRequest): boolean {
  if (request.routeOptions.schema?.body === undefined) return true
  return request.getValidationFunction('body')?.(null) === true
}
