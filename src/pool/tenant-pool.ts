import type { LessorError } from '../errors.ts'
import type { Claimant } from './claims.ts'
import type { Caller, Rows, TransactionCommand } from './contract.ts'
import type { Slot, SlotOwner } from './slot.ts'
import type { Statement } from './statement.ts'

/** Work is what a connection is given to do. */
export type Work = Statement | TransactionCommand

/** TenantPool is what an entry has to work with: connections of its own, or its part of shared ones. */
export interface TenantPool {
  readonly server: string
  readonly weight: number
  /** Connections that it uses or keeps by what they do, and callers that wait for one. */
  readonly counts: { opening: number; idle: number; busy: number; closing: number; waiting: number }
  /** Connections that it uses or keeps, and stay. */
  readonly open: number
  /** The pool whose connections these are: what the budgets know it by. */
  readonly claimant: Claimant & SlotOwner
  /** Resolves when a drained pool's last connection is closed, or given back where it is shared. */
  readonly drained: Promise<void>
  /** ready resolves when a connection is open, so that the login is proven. @throws LessorError */
  ready(): Promise<void>
  run(statement: Statement, caller: Caller | undefined): Promise<Rows>
  /** hold resolves with a connection that nobody else uses until `release`. @throws LessorError */
  hold(caller: Caller | undefined): Promise<Slot>
  /** runHeld runs a statement, or begins or ends a transaction, on a connection that is held. */
  runHeld(slot: Slot, work: Work, caller: Caller | undefined): Promise<Rows>
  /** release ends `hold`. A connection in an unknown state is not given to anybody else. */
  release(slot: Slot, state: 'clean' | 'unknown'): void
  /** drain gives up connections that the remaining leases do not need; at 0 leases all of them. */
  drain(leases: number): void
  /** cut cancels at the server what still runs, refuses what waits, and tells how many of both there were. */
  cut(error: LessorError): { readonly statements: number; readonly waiters: number }
  /** destroy drops every socket that it alone uses, now. */
  destroy(error: LessorError): void
}
