import type { Environment } from '../../src/config.ts'

/** UNWATCHED is for services on the server that all test files share: a watchdog would end the sessions of other files. */
export const UNWATCHED = { WATCHDOG: 'off' } as const satisfies Environment
