import type { Connect, ConnectionTarget } from '../pool/contract.ts'
import type { ScriptDb } from '../pool/statement.ts'
import type { PlacementName } from '../tenants/tenant.ts'
import type { CatalogObject } from './catalog-objects.ts'
import type { Identity } from './report.ts'

/** StageTenant is a tenant that was onboarded for the proof. */
export interface StageTenant {
  readonly id: string
  /** As the service logs in for it. */
  readonly target: ConnectionTarget
  /** Texts of this tenant that nobody else may see: its name, and the marker in its rows. */
  readonly name: string
  readonly marker: string
}

/** StageRole is one way in which the attacker's statements reach the server. */
export interface StageRole {
  readonly name: 'blue' | 'green' | 'login' | 'owner' | 'runtime'
  /** target finds the login when its turn has come; what it makes of the tenant stays. */
  target(): Promise<ConnectionTarget>
  /** Statements with which each of its transactions begins. */
  readonly before: readonly string[]
}

/** Stage is one placement on one data server, with two tenants to attack each other. */
export interface Stage {
  readonly placement: PlacementName
  readonly server: string
  /** Whether each tenant has tables of its own. */
  readonly hasOwnTables: boolean
  readonly own: StageTenant
  readonly other: StageTenant
  /** A tenant that is no more, with the login that it had; without one where it never had one of its own. */
  readonly gone: { readonly id: string; readonly target: ConnectionTarget | undefined }
  readonly roles: readonly StageRole[]
  /** inTables runs `fn` as the administrator in the database that holds the attacker's tables. */
  inTables<T>(fn: (admin: ScriptDb) => Promise<T>): Promise<T>
}

/** StageLimits bounds what a proof does on a server. */
export interface StageLimits {
  readonly connect: Connect
  /** Longest time for a login. */
  readonly connectTimeoutMs: number
  /**
   * Whether no statement reaches beyond the two tenants, even where a wall is broken: for servers with tenants
   * that are real. Leaves out what locks or empties a table.
   */
  readonly isBounded: boolean
  /** Whom the attacker's sessions name; everybody there is, without it. */
  readonly identities?: readonly Identity[]
  /** Which objects are attacked; all, without it. Tables with the attacker's own rows always are. */
  readonly only?: (object: CatalogObject) => boolean
  /** Whether nobody tries to log in as somebody else, or to become somebody else. */
  readonly withoutLogins?: boolean
  /** Ends the proof before its next trial. */
  readonly signal: AbortSignal
}
