/** FieldError says which part of a request was wrong; `path` is a JSON pointer or a parameter name. */
export interface FieldError {
  readonly in: 'body' | 'query' | 'params' | 'headers'
  readonly path: string
  readonly message: string
}

interface ErrorSpec {
  /** HTTP status of the answer. */
  readonly status: number
  /** Short sentence, the same for every occurrence (RFC 9457, section 3.1.3). */
  readonly title: string
}

/**
 * ERRORS is every error that Lessor answers with: code, status, title. Codes are part of the API:
 * they are never reused for something else. docs/errors.md holds the same list for people.
 */
export const ERRORS = {
  INVALID_REQUEST: { status: 400, title: 'The request does not fit the schema of this route' },
  INVALID_JSON: { status: 400, title: 'The body is not valid JSON' },
  INVALID_HTTP: { status: 400, title: 'The request is not valid HTTP' },
  TENANT_REQUIRED: { status: 400, title: 'The x-tenant-id header must name a tenant' },
  UNAUTHENTICATED: { status: 401, title: 'The request carries no valid credentials' },
  FORBIDDEN: { status: 403, title: 'The caller may not do this' },
  TENANT_FORBIDDEN: { status: 403, title: 'The caller may not use this tenant' },
  TENANT_SUSPENDED: { status: 403, title: 'The tenant is suspended' },
  LOGIN_BLOCKED: { status: 403, title: "The tenant's database login is blocked" },
  ROUTE_NOT_FOUND: { status: 404, title: 'There is no such route' },
  TENANT_NOT_FOUND: { status: 404, title: 'There is no such tenant' },
  NAMESPACE_NOT_FOUND: { status: 404, title: 'There is no such namespace' },
  SERVER_NOT_FOUND: { status: 404, title: 'There is no such data server' },
  KEY_NOT_FOUND: { status: 404, title: 'There is no such key' },
  USER_NOT_FOUND: { status: 404, title: 'There is no such user' },
  POOL_NOT_FOUND: { status: 404, title: 'The tenant has no pool in this process' },
  REQUEST_INCOMPLETE: { status: 408, title: 'The request did not arrive in time' },
  TENANT_NAME_TAKEN: { status: 409, title: 'The namespace has a tenant of this name' },
  TENANT_NOT_ACTIVE: { status: 409, title: 'The tenant is not active' },
  TENANT_STATUS_CONFLICT: { status: 409, title: "The tenant's status does not allow this" },
  TENANT_BUSY: { status: 409, title: 'Another job works on the tenant' },
  SERVER_NAME_TAKEN: { status: 409, title: 'There is a data server of this name' },
  NAMESPACE_NAME_TAKEN: { status: 409, title: 'There is a namespace of this name' },
  IDEMPOTENCY_IN_PROGRESS: { status: 409, title: 'A request with this Idempotency-Key is under way' },
  CONSTRAINT_VIOLATED: { status: 409, title: 'A constraint of the database forbids this' },
  TRANSACTION_CONFLICT: { status: 409, title: 'Another transaction was in the way' },
  BODY_TOO_LARGE: { status: 413, title: 'The body is too large' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, title: 'The content type is not supported' },
  IDEMPOTENCY_KEY_REUSED: { status: 422, title: 'The Idempotency-Key was used for another request' },
  SERVER_UNSUITABLE: { status: 422, title: 'The data server carries no placement' },
  PROMOTION_UNAVAILABLE: { status: 422, title: 'The tenant cannot have partitions of its own, or lose them' },
  PLACEMENT_UNAVAILABLE: { status: 422, title: 'The placement is not available' },
  HEADERS_TOO_LARGE: { status: 431, title: 'The header of the request is too large' },
  CLIENT_CLOSED_REQUEST: { status: 499, title: 'The client went away' },
  INTERNAL: { status: 500, title: 'Something went wrong inside the service' },
  VAULT_OPEN_FAILED: { status: 500, title: 'A sealed credential could not be opened' },
  POOL_SATURATED: { status: 503, title: 'No database connection came free in time' },
  POOL_OPEN_FAILED: { status: 503, title: "The tenant's database could not be reached" },
  TENANT_UNAVAILABLE: { status: 503, title: "The tenant's database failed of late and is given a pause" },
  CONNECTION_LOST: { status: 503, title: 'The database connection was lost while a statement ran' },
  DATABASE_READ_ONLY: { status: 503, title: 'The database takes no writes at the moment' },
  CONTROL_UNAVAILABLE: { status: 503, title: 'The control database could not be reached' },
  SERVER_UNAVAILABLE: { status: 503, title: 'The data server could not be reached' },
  SERVER_BUSY: { status: 503, title: 'Sessions of the data server hold what an administrator needs' },
  DATABASE_OVERLOADED: { status: 503, title: 'The database server is short of memory or another resource' },
  AUTHENTICATION_BUSY: { status: 503, title: 'Too many keys are being verified at once' },
  SCHEMA_CHANGED: { status: 503, title: 'A table changed while a transaction used it' },
  SHUTTING_DOWN: { status: 503, title: 'The service is shutting down' },
  RESULT_TOO_LARGE: { status: 507, title: 'The answer of a statement is too large' },
  STATEMENT_TIMEOUT: { status: 504, title: 'The statement took too long and was cancelled' },
  REQUEST_TIMEOUT: { status: 504, title: 'The request took too long' },
  TEMP_SPACE_EXCEEDED: { status: 507, title: 'The statement took more temporary space than it may' },
  DATABASE_FULL: { status: 507, title: 'The database server has no room left' },
} as const satisfies Record<string, ErrorSpec>

export type ErrorCode = keyof typeof ERRORS

export interface LessorErrorOptions {
  readonly cause?: unknown
  /** Seconds that the caller should wait, sent as Retry-After. */
  readonly retryAfterSeconds?: number
  readonly errors?: readonly FieldError[]
}

/**
 * LessorError is the one error that leaves a room on purpose. `message` is the `detail` of the
 * answer: it says what was wrong and what would be right, and never holds a secret.
 */
export class LessorError extends Error {
  override readonly name = 'LessorError'
  readonly code: ErrorCode
  readonly status: number
  readonly title: string
  readonly retryAfterSeconds: number | undefined
  readonly errors: readonly FieldError[] | undefined

  constructor(code: ErrorCode, detail?: string, options: LessorErrorOptions = {}) {
    super(
      detail ?? `${ERRORS[code].title}.`,
      options.cause === undefined ? undefined : { cause: options.cause },
    )
    this.code = code
    this.status = ERRORS[code].status
    this.title = ERRORS[code].title
    this.retryAfterSeconds = options.retryAfterSeconds
    this.errors = options.errors
  }
}

/** isLessorError narrows an unknown error to one with a code, optionally one of the given codes. */
export function isLessorError(error: unknown, ...codes: readonly ErrorCode[]): error is LessorError {
  return error instanceof LessorError && (codes.length === 0 || codes.includes(error.code))
}
