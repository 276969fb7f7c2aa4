import type { ScriptDb } from '../pool/statement.ts'

/** OwnTables says where a tenant's own tables lie, and who owns them. */
export interface OwnTables {
  readonly tenantId: string
  readonly schema: string
  readonly owner: string
  /** Longest wait for a lock, in milliseconds; 0 waits for ever. */
  readonly lockTimeoutMs: number
}

/** AppliedFile is a line of a ledger. */
export interface AppliedFile {
  readonly version: number
  readonly name: string
  readonly checksum: string
}

/** DataFiles are what placements run of sql/walls and sql/app; each resolves with the names of what it ran. */
export interface DataFiles {
  /** walls brings schema lessor of a database to sql/walls. Safe from several starters at once. */
  walls(admin: ScriptDb): Promise<readonly string[]>
  /** sharedTables brings schema app to sql/app. Safe from several starters at once. */
  sharedTables(admin: ScriptDb): Promise<readonly string[]>
  /** ownTables brings a tenant's own tables to sql/app, over a session that may be their owner and nobody else. */
  ownTables(session: ScriptDb, target: OwnTables): Promise<readonly string[]>
  /** missing names what a ledger lacks of sql/app. @throws Error when the two do not belong together */
  missing(applied: readonly AppliedFile[]): Promise<readonly string[]>
}
