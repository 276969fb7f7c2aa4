import type { Db, ScriptDb } from '../pool/statement.ts'
import type { Secret } from '../secret.ts'
import type { Colour, PlacementName } from '../tenants/tenant.ts'

export type { Colour } from '../tenants/tenant.ts'

/** RoleLimits bound what one login role can take from its server. */
export interface RoleLimits {
  readonly connectionLimit: number
  readonly statementTimeoutMs: number
  readonly idleInTransactionTimeoutMs: number
  readonly tempFileLimitKb: number
}

export interface ProvisionRequest {
  readonly tenantId: string
  readonly colour: Colour
  /** SCRAM-SHA-256 verifier (RFC 5803 form that PostgreSQL stores), never a plain password. */
  readonly verifier: string
  readonly limits: RoleLimits
}

/** Login is as whom a tenant logs in, and the settings its start-up packet carries. */
export interface Login {
  readonly user: string
  readonly parameters: Readonly<Record<string, string>>
  /** Absent when it is the server's own. */
  readonly database?: string
}

/** OtherLogin is a login that an administrator has made for one piece of work. */
export interface OtherLogin {
  readonly user: string
  readonly password: Secret
  /** Absent when it is the server's own. */
  readonly database?: string
}

/** AdminDb is an administrator's door to a data server. */
export interface AdminDb extends ScriptDb {
  /** inDatabase runs `fn` as the administrator in another database of the same server, on a connection of its own that is closed afterwards. */
  inDatabase<T>(database: string, fn: (db: ScriptDb) => Promise<T>): Promise<T>
  /**
   * asLogin runs `fn` logged in as somebody else, on a connection of its own that is closed afterwards: for work
   * in which a tenant's own code may run, since such code can leave every role that an administrator's session
   * has taken on by SET ROLE.
   */
  asLogin<T>(login: OtherLogin, fn: (db: ScriptDb) => Promise<T>): Promise<T>
}

export interface MigrateTenantOptions {
  /** Longest wait for a lock, in milliseconds; 0 waits for ever. */
  readonly lockTimeoutMs: number
  /** Longest run of all files together, in milliseconds; an hour by default. The tenant's own code may run in them, and may hang. */
  readonly timeoutMs?: number
  /** Only tells what it would run. */
  readonly dryRun?: boolean
}

/**
 * Placement is one way to keep tenants apart. Every method is idempotent, so that a step that was
 * cut half-way can be run again or undone. `admin` is an administrator's connection to the data
 * server, `db` the tenant's own.
 */
export interface Placement {
  readonly name: PlacementName
  /** Whether tenants have logins of their own; where not, onboarding makes and opens nothing. */
  readonly hasOwnLogin: boolean
  /** Whether tenants have tables of their own, which are migrated one by one. */
  readonly hasOwnTables: boolean
  /** prepare makes a data server ready: group roles, application tables, policies, grants. Safe from several starters at once. */
  prepare(admin: AdminDb): Promise<void>
  /** provision makes the login of one colour, or brings it to this password and these limits. */
  provision(admin: AdminDb, request: ProvisionRequest): Promise<void>
  login(tenantId: string, colour: Colour): Login
  /** check proves over a real login that it is this tenant's and that the walls stand; throws when not. */
  check(db: Db, tenantId: string): Promise<void>
  /** removeRows deletes the tenant's rows from shared tables in batches and resolves with their number. */
  removeRows(admin: AdminDb, tenantId: string): Promise<number>
  /** withdraw ends the sessions of one colour's login and drops it; what it owns goes to the other colour's. */
  withdraw(admin: AdminDb, tenantId: string, colour: Colour): Promise<void>
  /** unprovision ends sessions that are left and drops the logins, and all that is the tenant's own with them. */
  unprovision(admin: AdminDb, tenantId: string): Promise<void>
  /**
   * migrate brings a tenant's own tables to sql/app and resolves with the names of what it ran. Each file is one
   * transaction with its line in the ledger.
   */
  migrate(admin: AdminDb, tenantId: string, options: MigrateTenantOptions): Promise<readonly string[]>
}
