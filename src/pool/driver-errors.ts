import { isLessorError, LessorError } from '../errors.ts'

/** Codes of postgres.js and of Node's sockets for a connection that is gone. */
const LOST = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECTION_ENDED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
])

/**
 * SQLSTATEs with which a server ends a session: admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped,
 * idle_in_transaction_session_timeout (PostgreSQL manual, appendix A, classes 57 and 25).
 */
const ENDED = new Set(['57P01', '57P02', '57P03', '57P04', '57P05', '25P03', '25P04'])

/** errorCode returns the SQLSTATE or system code of an error, if it has one. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' ? code : undefined
}

/** statementError says what a failed statement means to its caller; the server's own refusals stay as they are. */
export function statementError(error: unknown): unknown {
  const code = errorCode(error)
  if (code === undefined || isLessorError(error)) return error
  if (LOST.has(code) || ENDED.has(code)) {
    return new LessorError(
      'CONNECTION_LOST',
      'The database connection was lost while the statement ran; it may or may not have taken effect.',
      { cause: error, retryAfterSeconds: 1 },
    )
  }
  // query_canceled without a cancel of ours: the role's statement_timeout.
  if (code === '57014') {
    return new LessorError('STATEMENT_TIMEOUT', 'The statement ran into its time limit.', { cause: error })
  }
  return error
}

/**
 * isReadOnly says whether a server refused a statement because the session takes no writes (25006
 * read_only_sql_transaction): it became a standby, or its configuration says so.
 */
export function isReadOnly(error: unknown): boolean {
  return errorCode(error) === '25006'
}

/** readOnlyError is what the caller of such a statement is told. */
export function readOnlyError(error: unknown): LessorError {
  return new LessorError(
    'DATABASE_READ_ONLY',
    'The database takes no writes at the moment, as during a failover; the statement had no effect.',
    { cause: error, retryAfterSeconds: 1 },
  )
}

/** openError says what a failed login means to the callers who wait for it. */
export function openError(error: unknown): LessorError {
  if (error instanceof LessorError) return error
  const code = errorCode(error)
  return new LessorError(
    'POOL_OPEN_FAILED',
    `The tenant's database could not be reached${code === undefined ? '' : ` (${code})`}.`,
    { cause: error, retryAfterSeconds: 1 },
  )
}

/**
 * isLoginRefused tells a credential that does not work (28P01 invalid_password, 28000
 * invalid_authorization_specification) from a server that does not answer.
 */
export function isLoginRefused(error: LessorError): boolean {
  const code = errorCode(error.cause)
  return code === '28P01' || code === '28000'
}

/** Failure is what a failed opening says, and of whom. */
export interface Failure {
  readonly scope: 'tenant' | 'server'
  /** SQLSTATE, system code or error code. */
  readonly code: string
}

/**
 * SQLSTATEs with which a server that is well refuses one login: invalid_authorization_specification,
 * invalid_password, invalid_catalog_name, insufficient_privilege (PostgreSQL manual, appendix A); and what a role
 * that was given an odd SCRAM verifier makes of its own login.
 */
const REFUSED = new Set(['28000', '28P01', '3D000', '42501', 'SCRAM_REFUSED'])

/** isRefusal says whether a server that is well has refused a login by this code. */
export function isRefusal(code: string | undefined): boolean {
  return code !== undefined && REFUSED.has(code)
}

/**
 * failureOf tells whose failure a failed opening is: the tenant's alone, or one that any tenant of the
 * data server would have met (53300 too_many_connections, 57P03 cannot_connect_now, NO_PRIMARY, a
 * socket's error, a time-out). Undefined when it says nothing of either: the opening was given up, or there was no
 * connection free for it.
 */
export function failureOf(error: LessorError): Failure | undefined {
  if (error.code === 'VAULT_OPEN_FAILED') return { scope: 'tenant', code: error.code }
  if (error.code !== 'POOL_OPEN_FAILED') return undefined
  const code = errorCode(error.cause)
  if (code === undefined) return undefined
  return { scope: isRefusal(code) || isOfRole(code, error.cause) ? 'tenant' : 'server', code }
}

/** Where a login is refused for the limit of its role, or of its database, and not for the server's. */
const OWN_LIMITS = new Set(['InitializeSessionUserId', 'CheckMyDatabase'])

/**
 * isCrowded says whether a login was refused because others have taken all that the server has: connections
 * (53300), or room for locks (53200), of which a login takes some. The next moment may be better.
 */
export function isCrowded(error: unknown): boolean {
  const code = errorCode(error)
  if (code === '53200') return true
  return code === '53300' && !OWN_LIMITS.has(serverErrorOf(error).routine ?? '')
}

/** Files of PostgreSQL that say "out of shared memory": the tables of locks and of predicate locks. */
const LOCK_TABLES = new Set(['lock.c', 'predicate.c'])

/**
 * isOutOfLocks says whether the server refused a statement because the table of locks, which all its sessions share, was
 * full. Out of memory has the same code and is the statement's own matter: it would take as much the next time.
 */
export function isOutOfLocks(error: unknown): boolean {
  const { file, severity } = serverErrorOf(error)
  return errorCode(error) === '53200' && severity === 'ERROR' && LOCK_TABLES.has(file ?? '')
}

interface ServerFields {
  readonly cause?: unknown
  readonly file?: string
  readonly isAuthenticated?: boolean
  readonly routine?: string
  readonly severity?: string
}

/** What the server itself has said, where the error tells of several hosts. */
function serverErrorOf(error: unknown): ServerFields {
  const fields = (error ?? {}) as ServerFields
  return fields.routine === undefined && fields.cause !== undefined ? serverErrorOf(fields.cause) : fields
}

/** admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped. */
const GOING_DOWN = new Set(['57P01', '57P02', '57P03', '57P04'])

/**
 * isOfRole says whether a login failed for what is set for its role: the limit of the role's own sessions, or, once the
 * password was accepted, whatever the server makes of the role's settings, as of `local_preload_libraries`. (PostgreSQL,
 * src/backend/utils/init: InitializeSessionUserId, InitPostgres.) Out of resources, class 53, all others would be as well.
 */
function isOfRole(code: string, cause: unknown): boolean {
  const { isAuthenticated, routine } = serverErrorOf(cause)
  if (code === '53300') return routine === 'InitializeSessionUserId'
  return isAuthenticated === true && !GOING_DOWN.has(code) && !code.startsWith('53')
}
