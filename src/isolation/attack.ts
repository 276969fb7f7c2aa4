import type { Column, Right } from './catalog-objects.ts'
import type { Expectation } from './expectation.ts'
import type { Identity } from './report.ts'

/** Attack is one thing to try. */
export interface Attack {
  readonly object: string
  readonly name: string
  readonly text: string
  /** Statements before it in its transaction, which must succeed. */
  readonly before?: readonly string[]
  readonly expect: Expectation
}

/** TableFacts is what a proof knows of a table with tenants' rows. */
export interface TableFacts {
  readonly name: string
  readonly columns: readonly Column[]
  readonly isReferenced: boolean
  readonly isPartitioned: boolean
  /** What the attacker's login was granted. */
  readonly rights: ReadonlySet<Right>
  /** Rows by tenant. */
  readonly counts: ReadonlyMap<string, number>
  /** A row of each tenant: its keys but tenant_id, as SQL. */
  readonly keys: ReadonlyMap<string, ReadonlyMap<string, string>>
}

/**
 * State is who an attacker is at that moment. `me` is the tenant whose rows he may have: the login's own, or in
 * placement `row` the one that `rls.tenant_id` names, since there the setting is the login.
 */
export interface State {
  readonly identity: Identity
  /** Undefined where the policy fails. */
  readonly me: string | undefined
  /** What `rls.tenant_id` says, if that is a tenant's id. */
  readonly named: string | undefined
  /** SQLSTATEs with which a setting that names no tenant fails. */
  readonly unnamed: readonly string[]
  /** Whose rows he is after. */
  readonly victim: string
  /** Text in the attacker's own new rows. */
  readonly marker: string
  /** The two tenants of the proof. Where `isBounded`, no statement reaches for a row of anybody else. */
  readonly canaries: readonly [string, string]
  readonly isBounded: boolean
}
