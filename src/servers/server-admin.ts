import type { DatabaseAddress } from '../control/database-url.ts'
import { PostgresDatabase } from '../control/postgres-database.ts'

export interface ServerAdminOptions {
  readonly address: DatabaseAddress
  readonly maxConnections?: number
  readonly connectTimeoutMs?: number
  readonly statementTimeoutMs?: number
}

/**
 * ServerAdmin is an administrator's door to a data server: it makes and drops logins and removes
 * rows. Its few connections are made when they are needed and closed soon after.
 * @throws LessorError SERVER_UNAVAILABLE, from every method, when the server cannot be used
 */
export class ServerAdmin extends PostgresDatabase {
  constructor(options: ServerAdminOptions) {
    super({
      address: options.address,
      applicationName: 'lessor admin',
      maxConnections: options.maxConnections ?? 3,
      connectTimeoutMs: options.connectTimeoutMs ?? 5_000,
      statementTimeoutMs: options.statementTimeoutMs ?? 60_000,
      idleMs: 10_000,
      closeTimeoutMs: 5_000,
      unavailable: 'SERVER_UNAVAILABLE',
    })
  }
}
