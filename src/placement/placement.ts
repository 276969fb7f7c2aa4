import type { Db, ScriptDb } from '../pool/statement.ts'
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
}

/**
 * Placement is one way to keep tenants apart. Every method is idempotent, so that a step that was
 * cut half-way can be run again or undone. `admin` is an administrator's connection to the data
 * server, `db` the tenant's own.
 */
export interface Placement {
  readonly name: PlacementName
  /** prepare makes a data server ready: group roles, application tables, policies, grants. Safe from several starters at once. */
  prepare(admin: ScriptDb): Promise<void>
  /** provision makes the login of one colour, or brings it to this password and these limits. */
  provision(admin: ScriptDb, request: ProvisionRequest): Promise<void>
  login(tenantId: string, colour: Colour): Login
  /** check proves over a real login that it is this tenant's and that the walls stand; throws when not. */
  check(db: Db, tenantId: string): Promise<void>
  /** removeRows deletes the tenant's rows in batches and resolves with their number. */
  removeRows(admin: ScriptDb, tenantId: string): Promise<number>
  /** withdraw ends the sessions of one colour's login and drops it; what it owns goes to the other colour's. */
  withdraw(admin: ScriptDb, tenantId: string, colour: Colour): Promise<void>
  /** unprovision ends sessions that are left and drops the logins. */
  unprovision(admin: ScriptDb, tenantId: string): Promise<void>
}
