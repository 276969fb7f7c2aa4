import type { FastifyError } from 'fastify'
import { type ErrorCode, LessorError } from '../errors.ts'
import { describe, fieldErrors } from './field-errors.ts'

type Known = readonly [code: ErrorCode, detail: string, retryAfterSeconds?: number]

/** Errors of Fastify that have a code of ours, and the detail they get. */
const FASTIFY: Readonly<Record<string, Known>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: ['INVALID_JSON', 'The body is not valid JSON.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['INVALID_JSON', 'The body is empty, but its content type is JSON.'],
  FST_ERR_CTP_BODY_TOO_LARGE: ['BODY_TOO_LARGE', 'The body is larger than this service takes.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['UNSUPPORTED_MEDIA_TYPE', 'Send the body as application/json.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['INVALID_REQUEST', 'The body is not as long as Content-Length says.'],
  FST_ERR_HANDLER_TIMEOUT: ['REQUEST_TIMEOUT', 'The request took too long.'],
  FST_ERR_BAD_URL: ['INVALID_REQUEST', 'The path is not a valid URL path.'],
  FST_ERR_MAX_PARAM_LENGTH: ['INVALID_REQUEST', 'A part of the path is too long.'],
  FST_ERR_NOT_FOUND: ['ROUTE_NOT_FOUND', 'There is no such route.'],
}

const BAD_CHARACTER = 'A text holds a character that the database does not take, such as U+0000.'
const BAD_FORM = 'A value has not the form that its column takes.'
const TOO_MUCH = 'The request asks for more than the database can do, or keep in an index.'
const TAKEN = 'A value is taken that must be unique.'
const REFERENCED = 'Rows that this refers to are missing, or rows refer to this.'

/**
 * Refusals of PostgreSQL (manual, appendix A) that are the caller's or the operator's matter. All others
 * are a fault of the program that wrote the statement: INTERNAL.
 */
const SQLSTATES: Readonly<Record<string, Known>> = {
  // Class 22, data exceptions, as far as they can come from a value alone.
  22001: ['INVALID_REQUEST', 'A text is longer than its column takes.'],
  22003: ['INVALID_REQUEST', 'A number is out of range.'],
  22007: ['INVALID_REQUEST', BAD_FORM],
  22008: ['INVALID_REQUEST', 'A time is out of range.'],
  22009: ['INVALID_REQUEST', 'A time zone is out of range.'],
  22015: ['INVALID_REQUEST', 'An interval is out of range.'],
  22021: ['INVALID_REQUEST', BAD_CHARACTER],
  22023: ['INVALID_REQUEST', 'A value is not one that the database takes here.'],
  22025: ['INVALID_REQUEST', 'A pattern ends in the middle of an escape sequence.'],
  22030: ['INVALID_REQUEST', 'A JSON object has a key twice.'],
  22032: ['INVALID_REQUEST', 'A text is not valid JSON.'],
  '2201B': ['INVALID_REQUEST', 'A text is not a valid regular expression.'],
  '2201W': ['INVALID_REQUEST', 'A limit is out of range.'],
  '2201X': ['INVALID_REQUEST', 'An offset is out of range.'],
  '22P02': ['INVALID_REQUEST', BAD_FORM],
  '22P03': ['INVALID_REQUEST', BAD_FORM],
  '22P05': ['INVALID_REQUEST', BAD_CHARACTER],
  // Class 23, integrity constraints: against a value by itself, or against other rows.
  23000: ['CONSTRAINT_VIOLATED', REFERENCED],
  23001: ['CONSTRAINT_VIOLATED', REFERENCED],
  23502: ['INVALID_REQUEST', 'A value is missing that must be there.'],
  23503: ['CONSTRAINT_VIOLATED', REFERENCED],
  23505: ['CONSTRAINT_VIOLATED', TAKEN],
  23514: ['INVALID_REQUEST', 'A value breaks a rule of its table.'],
  '23P01': ['CONSTRAINT_VIOLATED', TAKEN],
  // Class 40 and lock_not_available: rolled back, and worth another try.
  40000: ['TRANSACTION_CONFLICT', 'The database rolled the transaction back. Try again.', 1],
  40001: ['TRANSACTION_CONFLICT', 'Another transaction changed the same rows. Try again.', 1],
  40002: ['CONSTRAINT_VIOLATED', REFERENCED],
  '40P01': [
    'TRANSACTION_CONFLICT',
    'Transactions waited for each other, and this one gave way. Try again.',
    1,
  ],
  '55P03': [
    'TRANSACTION_CONFLICT',
    'Another transaction holds a lock that was not free in time. Try again.',
    1,
  ],
  // Class 53, insufficient resources.
  53000: ['DATABASE_OVERLOADED', 'The database server is short of a resource.', 1],
  53100: ['DATABASE_FULL', 'The database server has no room left on its disk.'],
  53200: ['DATABASE_OVERLOADED', 'The database server is short of memory, or of room for locks.', 1],
  53300: ['DATABASE_OVERLOADED', 'The database server has too many connections.', 1],
  53400: ['TEMP_SPACE_EXCEEDED', 'The statement took more temporary space than it may.'],
  // Class 54, program limits: an index entry of a text that is too long, above all.
  54000: ['INVALID_REQUEST', TOO_MUCH],
  54001: ['INVALID_REQUEST', TOO_MUCH],
  54011: ['INVALID_REQUEST', TOO_MUCH],
  54023: ['INVALID_REQUEST', TOO_MUCH],
  // query_canceled.
  57014: ['STATEMENT_TIMEOUT', 'The statement took too long and was cancelled.'],
}

/**
 * toLessorError finds the error to answer with for whatever a route or Fastify threw; what is unknown is
 * INTERNAL. `bodyLimit` is asked for the most bytes that the route takes.
 */
export function toLessorError(error: unknown, bodyLimit?: () => number): LessorError {
  if (error instanceof LessorError) return error
  if (!isFastifyError(error)) return new LessorError('INTERNAL', undefined, { cause: error })
  if (error.validation !== undefined) {
    const errors = fieldErrors(error.validation, error.validationContext)
    return new LessorError('INVALID_REQUEST', describe(errors), { errors, cause: error })
  }
  const [code, detail, retryAfterSeconds] = FASTIFY[error.code] ?? SQLSTATES[error.code] ?? []
  if (code !== undefined) {
    const limited = code === 'BODY_TOO_LARGE' && bodyLimit !== undefined
    return new LessorError(code, limited ? `The body is larger than ${bodyLimit()} bytes.` : detail, {
      cause: error,
      ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    })
  }
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
