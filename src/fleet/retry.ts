import { errorCode } from '../pool/driver-errors.ts'

/**
 * RETRIED is the failures after which a migration is tried again, since it may well go through a moment
 * later. Each file is one transaction with its row of the ledger, so nothing was done by half, and what
 * was done is found done (PostgreSQL manual, appendix A).
 */
const RETRIED = new Set([
  '55P03', // lock_not_available: lock_timeout
  '40P01', // deadlock_detected
  '40001', // serialization_failure
  '25006', // read_only_sql_transaction: the server's primary is another one now
  '57014', // query_canceled, by an administrator
  '53300', // too_many_connections
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  'SERVER_BUSY', // another session held what it needed
  'SERVER_UNAVAILABLE', // not reached, or the connection was lost
])

/** The first pause is up to half a second, each next one up to twice as long. */
const PAUSE_BASE_MS = 500
const PAUSE_MAX_MS = 15_000

/** Class 08, connection exceptions. */
const CONNECTION = /^08...$/

const SQLSTATE = /^\d[\dA-Z]{4}$/

/** isRetried says whether a migration that failed with this code is tried again. */
export function isRetried(code: string): boolean {
  return RETRIED.has(code) || CONNECTION.test(code)
}

/** retryPauseMs is how long to wait after so many failed attempts: at random, so that many tenants do not come back at once. */
export function retryPauseMs(attempts: number, random: number = Math.random()): number {
  const longest = Math.min(PAUSE_BASE_MS * 2 ** (attempts - 1), PAUSE_MAX_MS)
  return Math.round(longest / 2 + (random * longest) / 2)
}

/**
 * failureCode is what is kept of an error: an SQLSTATE or a code of ours, never its message, which may
 * hold a tenant's data.
 */
export function failureCode(error: unknown): string {
  if (error instanceof Error && error.name === 'MigrationError') return 'MIGRATION_MISMATCH'
  const code = errorCode(error) ?? 'INTERNAL'
  if (code !== 'SERVER_UNAVAILABLE' || !(error instanceof Error)) return code
  // The server may have said why, as 3D000: there is no such database.
  const said = errorCode(error.cause)
  return said !== undefined && SQLSTATE.test(said) ? said : code
}
