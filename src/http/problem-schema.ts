import { type Static, Type } from 'typebox'
import { ERRORS, type ErrorCode } from '../errors.ts'

/** ProblemSchema is the body of every error answer: RFC 9457 problem details with Lessor's `code`. */
export const ProblemSchema = Type.Object(
  {
    type: Type.String({ description: 'URI reference that names the kind of problem' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String({ description: 'Stable name of the error; see docs/errors.md' }),
    requestId: Type.String(),
    errors: Type.Optional(
      Type.Array(Type.Object({ in: Type.String(), path: Type.String(), message: Type.String() })),
    ),
  },
  { description: 'Problem details (RFC 9457)' },
)
export type Problem = Static<typeof ProblemSchema>

/** BODY_ERRORS is what every route with a body may answer, besides the errors of its schema. */
export const BODY_ERRORS = [
  'INVALID_JSON',
  'REQUEST_INCOMPLETE',
  'BODY_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
] as const satisfies readonly ErrorCode[]

/** problemResponses is the part of a route's `schema.response` that documents the errors it answers with. */
export function problemResponses(...codes: readonly ErrorCode[]): Record<number, unknown> {
  const responses: Record<number, unknown> = {}
  for (const code of codes) {
    responses[ERRORS[code].status] = {
      description: codes
        .filter((other) => ERRORS[other].status === ERRORS[code].status)
        .map((other) => `\`${other}\`: ${ERRORS[other].title}`)
        .join('; '),
      content: { 'application/problem+json': { schema: ProblemSchema } },
    }
  }
  return responses
}
