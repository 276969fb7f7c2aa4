import type { PlacementName } from '../../tenants/tenant.ts'
import type { NeighbourFigures } from './neighbour.ts'
import type { Action } from './operator.ts'
import type { RaidTally } from './raiders.ts'
import type { Finding } from './siege-attack.ts'
import type { WatchdogCounts } from './watchdog-counts.ts'

/** OPERATOR_BOUND_MS is the longest that anything that the operator does may take; see SiegeAttack.operatorBoundMs. */
export const OPERATOR_BOUND_MS = 10_000

/** Battle is one attack in one placement: what it did, and what the others felt. */
export interface Battle {
  readonly attack: string
  readonly about: string
  readonly placement: PlacementName
  /** How long it lasted. */
  readonly durationMs: number
  readonly neighbours: readonly NeighbourFigures[]
  readonly actions: readonly Action[]
  readonly raid: RaidTally
  readonly watchdog: WatchdogCounts
  readonly finding: Finding | undefined
  /** The longest that an action of the operator's may take. */
  readonly operatorBoundMs: number
  /** What the service could not remove by itself. */
  readonly left: readonly string[]
  /** Which bounds it broke, a sentence each. */
  readonly broken: readonly string[]
  /** Why no bound can be held, and what an operator can do; undefined where bounds hold. */
  readonly unbounded: string | undefined
}

/** SiegeReport is the outcome of a siege. */
export interface SiegeReport {
  /** Whether every bound held, but for attacks that are known to have none. */
  readonly held: boolean
  readonly version: string
  readonly server: string
  readonly startedAt: string
  readonly durationMs: number
  readonly battles: readonly Battle[]
  /** What could not be removed in the end, by any hand. */
  readonly left: readonly string[]
}

/** brokenBounds says which bounds a battle broke: no neighbour loses a request, and the operator gets everything done in time. */
export function brokenBounds({
  neighbours,
  actions,
  finding,
  operatorBoundMs,
}: Pick<Battle, 'neighbours' | 'actions' | 'finding' | 'operatorBoundMs'>): readonly string[] {
  return [
    ...neighbours
      .filter(({ lost }) => lost > 0)
      .map(
        ({ placement, lost, requests, reasons }) =>
          `the neighbour of ${placement} lost ${lost} of ${requests} requests (${counts(reasons)})`,
      ),
    ...neighbours
      .filter(({ requests }) => requests === 0)
      .map(({ placement }) => `the neighbour of ${placement} had no request answered`),
    ...actions
      .filter((action) => isLate(action, operatorBoundMs))
      .map(
        (action) =>
          `${action.name}: ${action.isDone ? 'took' : 'not done in'} ${(action.ms / 1000).toFixed(1)} s${hindrances(action)}`,
      ),
    ...(finding === undefined || finding.holds ? [] : [finding.text]),
  ]
}

/** isLate says whether an action was not done within a bound. */
export function isLate({ isDone, ms }: Pick<Action, 'isDone' | 'ms'>, boundMs: number): boolean {
  return !isDone || ms > boundMs
}

/** hindrances writes in brackets what was in the way of an action; of one that was done, that it no longer is. */
export function hindrances({ isDone, reasons }: Pick<Action, 'isDone' | 'reasons'>): string {
  if (reasons.length === 0) return ''
  return ` (${isDone ? 'until then: ' : ''}${reasons.join(', ')})`
}

/** isHeld says whether a battle broke no bound, or has none that could be held. */
export function isHeld({ broken, unbounded }: Pick<Battle, 'broken' | 'unbounded'>): boolean {
  return broken.length === 0 || unbounded !== undefined
}

/** counts writes how often each of some things happened, the most frequent first. */
export function counts(all: Readonly<Record<string, number>>): string {
  return Object.entries(all)
    .toSorted(([, a], [, b]) => b - a)
    .map(([name, count]) => `${count} × ${name}`)
    .join(', ')
}
