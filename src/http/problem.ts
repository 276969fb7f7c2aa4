import type { LessorError } from '../errors.ts'
import type { Problem } from './problem-schema.ts'

/** PROBLEM_TYPE is the media type of every error answer (RFC 9457, section 3). */
export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8'

/** problemOf is the body of an error answer. `type` leads to the error's line on the page /docs/errors. */
export function problemOf(error: LessorError, requestId: string): Problem {
  return {
    type: `/docs/errors#${error.code}`,
    title: error.title,
    status: error.status,
    detail: error.message,
    code: error.code,
    requestId,
    ...(error.errors !== undefined && { errors: [...error.errors] }),
  }
}
