import type { Beside } from './hazards.ts'
import type { Asking, Question } from './question.ts'
import type { Scene } from './scene.ts'

/** FAMILIES are what a round takes in or leaves out as a whole; `good` is in every round. */
export const FAMILIES = [
  'good',
  'parameters',
  'bursts',
  'refused',
  'answers',
  'session',
  'transactions',
  'copy',
  'deallocate',
  'cancels',
  'terminations',
  'ddl',
  'huge',
  'pools',
  'settings',
] as const
export type Family = (typeof FAMILIES)[number]

interface KindBase {
  readonly name: string
  /** How often it is chosen, against the others. */
  readonly weight: number
  /** What it may do to others. */
  readonly beside?: Beside
  /** Only where tenants share connections. */
  readonly isForShared?: boolean
  /** Takes so much memory or time that one at a time is enough. */
  readonly isHeavy?: boolean
}

/** Asked is a kind that is one statement, asked in any surroundings: alone, among others, in a transaction. */
export interface Asked extends KindBase {
  readonly make: (asking: Asking) => Question
  /** Only by itself: in a transaction it would mean something else. */
  readonly isPlain?: boolean
}

/** Played is a kind that takes several steps. */
export interface Played extends KindBase {
  readonly play: (scene: Scene) => Promise<void>
}

export type Kind = Asked | Played
