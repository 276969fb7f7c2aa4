import type { FastifyError } from 'fastify'
import { type ErrorCode, LessorError } from '../errors.ts'
import { describe, fieldErrors } from './field-errors.ts'

/** Errors of Fastify and of PostgreSQL (SQLSTATE) that have a code of ours, and the detail they get. */
const BY_CODE: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: ['INVALID_JSON', 'The body is not valid JSON.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['INVALID_JSON', 'The body is empty, but its content type is JSON.'],
  FST_ERR_CTP_BODY_TOO_LARGE: ['BODY_TOO_LARGE', 'The body is larger than this service takes.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['UNSUPPORTED_MEDIA_TYPE', 'Send the body as application/json.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['INVALID_REQUEST', 'The body is not as long as Content-Length says.'],
  FST_ERR_HANDLER_TIMEOUT: ['REQUEST_TIMEOUT', 'The request took too long.'],
  FST_ERR_BAD_URL: ['INVALID_REQUEST', 'The path is not a valid URL path.'],
  FST_ERR_MAX_PARAM_LENGTH: ['INVALID_REQUEST', 'A part of the path is too long.'],
  FST_ERR_NOT_FOUND: ['ROUTE_NOT_FOUND', 'There is no such route.'],
  // query_canceled; invalid_text_representation, character_not_in_repertoire, untranslatable_character,
  // numeric_value_out_of_range, datetime_field_overflow (PostgreSQL manual, appendix A).
  57014: ['STATEMENT_TIMEOUT', 'The statement took too long and was cancelled.'],
  '22P02': ['INVALID_REQUEST', 'A value has not the form that its column takes.'],
  22021: ['INVALID_REQUEST', 'A text holds a character that the database does not take, such as U+0000.'],
  '22P05': ['INVALID_REQUEST', 'A text holds a character that the database does not take, such as U+0000.'],
  22003: ['INVALID_REQUEST', 'A number is out of range.'],
  22008: ['INVALID_REQUEST', 'A time is out of range.'],
}

/** toLessorError finds the error to answer with for whatever a route or Fastify threw; what is unknown is INTERNAL. */
export function toLessorError(error: unknown): LessorError {
  if (error instanceof LessorError) return error
  if (!isFastifyError(error)) return new LessorError('INTERNAL', undefined, { cause: error })
  if (error.validation !== undefined) {
    const errors = fieldErrors(error.validation, error.validationContext)
    return new LessorError('INVALID_REQUEST', describe(errors), { errors, cause: error })
  }
  const known = BY_CODE[error.code]
  if (known !== undefined) return new LessorError(known[0], known[1], { cause: error })
  // The client's fault by Fastify's or a plugin's word, such as a body that broke off.
  const status = error.statusCode ?? 500
  if (status >= 400 && status < 500) {
    return new LessorError('INVALID_REQUEST', 'The request could not be read.', { cause: error })
  }
  return new LessorError('INTERNAL', undefined, { cause: error })
}

function isFastifyError(error: unknown): error is FastifyError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
}
