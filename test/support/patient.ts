import type { Environment } from '../../src/config.ts'

/** PATIENT are times for tests in which nothing hangs: a machine that is merely slow must not run into any of them. */
export const PATIENT = {
  POOL_ACQUIRE_TIMEOUT_MS: '60000',
  POOL_CONNECT_TIMEOUT_MS: '30000',
  STATEMENT_TIMEOUT_MS: '60000',
  REQUEST_TIMEOUT_MS: '120000',
} as const satisfies Environment
