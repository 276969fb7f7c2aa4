import { PLACEMENTS, type PlacementName } from '../../src/tenants/tenant.ts'
import { Findings } from './findings.ts'
import { type House, openHouse, type Scope } from './house.ts'
import type { Family } from './kind.ts'
import { planOf, type RoundPlan, runRound } from './round.ts'

/** Connections of a pool: each round has one of these numbers. */
const CONNECTIONS = [1, 2, 3, 4] as const

export interface FuzzOptions {
  /** In all rounds together. */
  readonly statements: number
  readonly rounds: number
  /** Of the first round; each round has the next one. */
  readonly seed: number
  /** All of them in turn, unless given. */
  readonly placement?: PlacementName | undefined
  /** One to four in turn, unless given. */
  readonly connections?: number | undefined
  readonly callers: number
  /** Ends the run after so many rounds with findings; none by default. */
  readonly maxFailures?: number
  /** Families of kinds, besides the good ones; by the seed, unless given. */
  readonly families?: readonly Family[] | undefined
  /** Ends the run early. */
  readonly signal?: AbortSignal
  /** makes an empty database for a placement. */
  readonly database: () => Promise<{ readonly url: string }>
  readonly onRound?: (round: Round) => void
}

/** Round is how one round has gone. */
export interface Round {
  readonly number: number
  readonly seed: number
  readonly placement: PlacementName
  readonly connections: number
  readonly callers: number
  readonly plan: RoundPlan
  /** Where the families were not the seed's choice. */
  readonly families: readonly Family[] | undefined
  readonly statements: number
  readonly ms: number
  readonly findings: Findings
}

/** FuzzResult is what all rounds have come to. */
export interface FuzzResult {
  readonly statements: number
  readonly ms: number
  /** How often each kind had each outcome. */
  readonly outcomes: ReadonlyMap<string, ReadonlyMap<string, number>>
  readonly rounds: readonly Round[]
}

/** fuzz runs rounds until the statements are asked. A round's seed, with its placement and numbers, repeats it. */
export async function fuzz(t: Scope, options: FuzzOptions): Promise<FuzzResult> {
  const houses = new Map<PlacementName, House>()
  const outcomes = new Map<string, Map<string, number>>()
  const rounds: Round[] = []
  const { maxFailures = Number.POSITIVE_INFINITY } = options
  let total = 0
  let nonce = 0
  const startedAt = performance.now()
  for (let number = 0; number < options.rounds; number++) {
    const seed = options.seed + number
    const placement = options.placement ?? at(PLACEMENTS, number)
    const connections = options.connections ?? at(CONNECTIONS, Math.floor(number / PLACEMENTS.length))
    const house = houses.get(placement) ?? (await openHouse(t, (await options.database()).url, placement))
    houses.set(placement, house)
    const findings = new Findings()
    let statements = 0
    const since = performance.now()
    const { callers, families } = options
    const plan = planOf(seed, families)
    using _ = watchProcess(findings)
    await runRound({
      seed,
      connections,
      callers,
      house,
      plan,
      nonce: () => ++nonce,
      signal: options.signal,
      findings,
      statements: Math.ceil((options.statements - total) / (options.rounds - number)),
      counted(kind, outcome) {
        statements += 1
        const counts = outcomes.get(kind) ?? new Map<string, number>()
        outcomes.set(kind, counts.set(outcome, (counts.get(outcome) ?? 0) + 1))
      },
    })
    // What a statement has left behind in the process may come a turn later.
    await new Promise((resolve) => setImmediate(resolve))
    total += statements
    const ms = performance.now() - since
    const round = {
      number,
      seed,
      placement,
      connections,
      callers,
      plan,
      families,
      statements,
      ms,
      findings,
    }
    rounds.push(round)
    options.onRound?.(round)
    if (rounds.filter((each) => each.findings.total > 0).length >= maxFailures || options.signal?.aborted)
      break
  }
  return { statements: total, ms: performance.now() - startedAt, outcomes, rounds }
}

function at<T>(list: readonly T[], i: number): T {
  const item = list[i % list.length]
  if (item === undefined) throw new Error('bug: an empty list')
  return item
}

/** Whatever fails outside of a promise that somebody awaits is a finding, and would have ended the process. */
function watchProcess(findings: Findings): Disposable {
  const found = (kind: string) => (error: unknown) =>
    findings.add({
      sort: 'process',
      kind,
      what: error instanceof Error ? String(error.stack).slice(0, 1_000) : String(error),
      around: [],
    })
  const listeners = {
    unhandledRejection: found('unhandledRejection'),
    uncaughtException: found('uncaughtException'),
  }
  for (const [event, listener] of Object.entries(listeners)) process.on(event, listener)
  return {
    [Symbol.dispose]() {
      for (const [event, listener] of Object.entries(listeners)) process.off(event, listener)
    },
  }
}
