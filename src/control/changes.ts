import type { TenantStatus } from '../tenants/tenant.ts'
import type { ControlDb } from './control-database.ts'

/** CHANGE_KINDS is what nodes tell each other of. */
export const CHANGE_KINDS = ['status', 'deletion', 'rotation', 'quota', 'key', 'server'] as const
export type ChangeKind = (typeof CHANGE_KINDS)[number]

/** NewChange is a change that is about to be told of. */
export interface NewChange {
  readonly kind: ChangeKind
  /** Null when the change concerns no tenant alone, as a key of a whole namespace does. */
  readonly tenantId: string | null
  /** The key that was revoked; without it a change of kind `key` means all keys of the tenant. */
  readonly keyId?: string | null
}

/** Change is one line of the log. Versions have no gaps and are in the order of the commits. */
export interface Change extends NewChange {
  readonly version: bigint
}

/** ReadChange is a change with what its tenant is at the time of reading; nulls when it has no row. */
export interface ReadChange extends Change {
  readonly status: TenantStatus | null
  readonly generation: number | null
}

/** ChangeHandler does in this process what a change asks for. */
export interface ChangeHandler {
  /** apply acts on a change at once, and returns what has to end before it counts as applied. Must not throw. */
  apply(change: ReadChange): Promise<unknown> | undefined
  /** resync acts as if anything may have changed; resolves with what has to end, as apply does. */
  resync(): Promise<readonly Promise<unknown>[]>
}

/** ChangeLog is how a change in one node reaches all others. */
export interface ChangeLog {
  /**
   * publish writes a change in the caller's transaction, so that it is seen with what it tells of,
   * returns its version, and announces it once that has committed. Make it the transaction's last statement: publishers wait for each
   * other until they commit.
   * @throws what `tx.query` throws
   */
  publish(tx: ControlDb, change: NewChange): Promise<bigint>
  /**
   * settled resolves when every live node has applied the version, which for a rotation or a
   * deletion means that the older pools have drained; nodes whose lease has run out do not count.
   * Rejects when the signal aborts.
   */
  settled(version: bigint, signal: AbortSignal): Promise<void>
}
