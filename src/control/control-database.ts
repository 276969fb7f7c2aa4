import { parseDatabaseUrl } from './database-url.ts'
import { PostgresDatabase } from './postgres-database.ts'

export interface ControlDatabaseOptions {
  /** `postgres://user:password@host:port/database`; see parseDatabaseUrl. */
  readonly url: string
  readonly maxConnections?: number
  readonly connectTimeoutMs?: number
  readonly statementTimeoutMs?: number
}

/**
 * ControlDatabase is the handle to the database that holds Lessor's own tables (schema `lessor`).
 * @throws LessorError CONTROL_UNAVAILABLE, from every method, when the database cannot be used
 */
export class ControlDatabase extends PostgresDatabase {
  constructor(options: ControlDatabaseOptions) {
    super({
      address: parseDatabaseUrl(options.url),
      applicationName: 'lessor control',
      maxConnections: options.maxConnections ?? 10,
      connectTimeoutMs: options.connectTimeoutMs ?? 5_000,
      statementTimeoutMs: options.statementTimeoutMs ?? 15_000,
      idleMs: 300_000,
      closeTimeoutMs: 5_000,
      unavailable: 'CONTROL_UNAVAILABLE',
    })
  }
}
