import type { ConnectionTarget } from '../../pool/contract.ts'
import type { PlacementName } from '../../tenants/tenant.ts'
import type { Cells } from './raid-session.ts'

/** PARTS is what the operator does with each attacker in the end: gives it a new login, suspends it, deletes it. */
export const PARTS = ['rotated', 'suspended', 'deleted'] as const
export type Part = (typeof PARTS)[number]

/** Attacker is a tenant whose login has leaked. */
export interface Attacker {
  readonly id: string
  readonly part: Part
  /** The id in the names of its roles. */
  readonly hex: string
  readonly placement: PlacementName
  /** As the login's holder logs in. */
  readonly target: ConnectionTarget
}

/** Victim is the neighbour that attacks aim at, where they aim at one. */
export interface Victim {
  readonly id: string
  readonly hex: string
  /** The role that it logs in as; an attacker finds it in pg_roles. */
  readonly login: string
  /** A text that stands in most of its rows, in lower-case letters. */
  readonly secret: string
}

/** SiegeSizes is how much the attacks make that costs time to make. */
export interface SiegeSizes {
  readonly tables: number
  readonly largeObjects: number
}

/** Raid is one session of an attacker at work. */
export interface Raid {
  readonly attacker: Attacker
  readonly victim: Victim
  /** Which of the attacker's sessions it is, from 0. */
  readonly number: number
  readonly sizes: SiegeSizes
  /** run sends statements. @throws the server's error, or that the session is lost */
  run(text: string): Promise<readonly Cells[]>
  /** attempt runs statements whose refusal is counted and does not end the raid. @throws that the session is lost */
  attempt(text: string): Promise<boolean>
  /** hold keeps the session as it is, until it is ended, the siege is over or `ms` have passed. */
  hold(ms?: number): Promise<void>
  /** leave ends the session. */
  leave(): void
  /** note writes down what the attacker has found out, for SiegeAttack.find. */
  note(text: string): void
  /** deaf sends statements and reads nothing any more, for a few seconds. */
  deaf(text: string): Promise<void>
}

/** Finding is what came of an attack besides what the neighbours and the operator felt. */
export interface Finding {
  readonly text: string
  readonly holds: boolean
}

/** Look is the administrator's way to see what an attack has come to; see SiegeAttack.find. */
export interface Look {
  readonly run: (text: string) => Promise<readonly Cells[]>
  readonly attackers: readonly Attacker[]
  readonly victim: Victim
  /** Texts that attackers have written down, e.g. what they have read. */
  readonly notes: readonly string[]
}

/** SiegeAttack is one thing that the holder of a tenant's login can do with SQL alone. */
export interface SiegeAttack {
  readonly name: string
  /** What it does, in words. */
  readonly about: string
  readonly placements: readonly PlacementName[]
  /** Sessions of each attacker; `all` is as many as the server lets in. */
  readonly sessions: number | 'all'
  /**
   * Pause before a session that was refused or ended is opened again, in milliseconds; 1000 and 200 by default: what logins
   * cost that come without a pause is an attack of its own.
   */
  readonly pauseMs?: number
  /** A database of the server that is not the service's, and to which PostgreSQL lets every login in. */
  readonly database?: 'postgres' | 'template1'
  /** How its sessions log in, where that is the attack: with a wrong password, or without ever sending one. */
  readonly logIn?: 'wrong-password' | 'stalled'
  /** Why no bound can be held, and what an operator can do; what is broken is reported and does not count. */
  readonly unbounded?: string
  /** How long an operator's action may take, in milliseconds, where 10 s cannot be kept: no SQL shares the processors out. */
  readonly operatorBoundMs?: number
  /** Whether the deletion of the attacker may take longer, in the background. */
  readonly isSlowToDelete?: boolean
  /** prepare makes, in calm, what the attack needs; once for each attacker. What the server refuses is counted. */
  prepare?(raid: Raid): Promise<void>
  /** act is what each session does, over and over, until it is ended; a session that is ended is opened again. */
  act(raid: Raid): Promise<void>
  /** find reads what the attack has come to, shortly before its attackers are shut out. */
  find?(look: Look): Promise<Finding>
}

export const EVERYWHERE = ['row', 'role', 'schema', 'database'] as const
/** Placements whose tenants have tables of their own. */
export const OWN = ['schema', 'database'] as const
/** Placements whose tenants share tables. */
export const SHARED = ['row', 'role'] as const

/** asOwner lets a session act as the owner of the tenant's own tables, where there is such a role. */
export function asOwner({ placement, hex }: Attacker): string {
  return placement === 'schema' || placement === 'database' ? `set role to_${hex}` : 'select 1'
}
