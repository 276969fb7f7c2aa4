import type { Db } from '../../src/pool/statement.ts'
import { openEngine } from './engine.ts'
import type { Findings } from './findings.ts'
import { Hazards } from './hazards.ts'
import type { House } from './house.ts'
import { type Asked, FAMILIES, type Family, type Kind } from './kind.ts'
import { IGNORED } from './kinds/session.ts'
import { KINDS, SHARE } from './kinds.ts'
import { Random } from './random.ts'
import { type Outcome, Scene, type Stage } from './scene.ts'
import { TENANTS } from './tenant.ts'
import { Watch } from './watch.ts'

export interface RoundOptions {
  readonly seed: number
  readonly statements: number
  readonly connections: number
  readonly callers: number
  readonly house: House
  readonly plan: RoundPlan
  readonly findings: Findings
  /** The next number that no other question has, in all rounds of a house. */
  readonly nonce: () => number
  /** Ends the round early. */
  readonly signal?: AbortSignal | undefined
  /** Hears of each statement that is over. */
  readonly counted: (kind: string, outcome: string) => void
}

/** RoundPlan is what the seed makes of a round. */
export interface RoundPlan {
  readonly families: readonly Family[]
  /** All kinds of each family; else a part of them. */
  readonly isFull: boolean
  readonly isScarce: boolean
}

/** Findings after which a round is not worth its time: callers of an engine in this state wait for their deadlines. */
const ENOUGH = 200

/** Families with fewer kinds are in with all of them, or not at all. */
const FEW = 4

/** Tenants that ask only what has a right answer. With pools of their own nothing may befall them. */
const INNOCENT = 2

/**
 * planOf leaves families out, and kinds of those that are in, so that what one of them allows its neighbours does not hide what another one does to
 * them; every fourth seed has them all.
 */
export function planOf(seed: number, only?: readonly Family[]): RoundPlan {
  const random = new Random(seed).fork()
  const isFull = seed % 4 === 0
  return {
    families: FAMILIES.filter(
      (family) => family === 'good' || (only?.includes(family) ?? (random.chance(0.5) || isFull)),
    ),
    isFull,
    isScarce: random.chance(0.1),
  }
}

/** runRound opens an engine, has its callers ask until there are enough statements, and closes it. */
export async function runRound(options: RoundOptions): Promise<void> {
  const { seed, house, plan, findings, connections } = options
  const { isScarce } = plan
  const { pools, log } = openEngine(house, { connections, isScarce })
  using watch = new Watch()
  const random = new Random(seed)
  let left = options.statements
  const stage: Stage = {
    house,
    pools,
    log,
    findings,
    watch,
    hazards: new Hazards(house.isShared),
    nonce: options.nonce,
    counted(kind, outcome) {
      left -= 1
      options.counted(kind, outcome)
    },
    generations: new Map(),
    good(asking, name) {
      const kind = GOOD.find((each) => each.name === name) ?? asking.random.weighted(GOOD)
      return { kind: kind.name, question: kind.make(asking) }
    },
  }
  const chooser = new Chooser(plan, house.isShared, random.fork())
  const callers = Array.from({ length: options.callers }, async (_, i) => {
    const own = random.fork()
    const tenant = house.tenants[i % TENANTS]
    if (tenant === undefined) throw new Error('bug: a caller without a tenant')
    const isInnocent = i % TENANTS < INNOCENT
    while (left > 0 && !watch.hasHung && findings.total < ENOUGH && !options.signal?.aborted) {
      const kind = isInnocent ? own.weighted(GOOD) : chooser.choose(own)
      const scene = new Scene(stage, tenant, own, kind.name)
      try {
        await chooser.alone(kind, () => playUnit(scene, kind))
      } catch (error) {
        scene.judgeEnd('unit of work', error, [])
      }
    }
  })
  await Promise.all(callers)
  await end(stage)
}

/** Chooser picks kinds, and sees to it that heavy ones run one at a time. */
class Chooser {
  readonly #families: readonly { readonly weight: number; readonly kinds: readonly Kind[] }[]
  #isBusy = false

  constructor({ families, isFull }: RoundPlan, isShared: boolean, random: Random) {
    this.#families = families
      .map((family) => ({
        weight: SHARE[family],
        kinds: KINDS[family].filter(
          ({ isForShared = false }) =>
            (isShared || !isForShared) && (isFull || KINDS[family].length < FEW || random.chance(0.6)),
        ),
      }))
      .filter(({ kinds }) => kinds.length > 0)
  }

  choose(random: Random): Kind {
    const kind = random.weighted(random.weighted(this.#families).kinds)
    return kind.isHeavy === true && this.#isBusy ? random.weighted(GOOD) : kind
  }

  async alone({ isHeavy = false }: Kind, work: () => Promise<void>): Promise<void> {
    if (isHeavy) this.#isBusy = true
    try {
      await work()
    } finally {
      if (isHeavy) this.#isBusy = false
    }
  }
}

const GOOD = KINDS.good.filter((kind): kind is Asked => 'make' in kind)

/** A unit of work: a kind's own steps, or its statement alone, among others, or in a transaction. */
async function playUnit(scene: Scene, kind: Kind): Promise<void> {
  const { hazards } = scene.stage
  if (kind.beside !== undefined) hazards.add(scene.tenant, kind.beside)
  if ('play' in kind) {
    await kind.play(scene)
    return
  }
  const { random } = scene
  const shape = random.next()
  if (shape < 0.5 || kind.isHeavy === true) await scene.use((db) => ask(scene, kind, db))
  else if (shape < 0.75) await scene.use((db) => several(scene, kind, db))
  else if (shape < 0.85 || kind.isPlain === true) await scene.lease((db) => several(scene, kind, db))
  else await inTransaction(scene, kind)
}

async function ask(scene: Scene, kind: Asked, db: Db): Promise<void> {
  await scene.ask(db, kind.make(scene.asking()))
}

/** Among good ones, none of which waits for the one before it. */
async function several(scene: Scene, kind: Asked, db: Db): Promise<void> {
  const { random } = scene
  const [before, after] = [random.below(3), random.below(4)]
  await Promise.all([
    ...Array.from({ length: before }, () => scene.good(db)),
    ask(scene, kind, db),
    ...Array.from({ length: after }, () => scene.good(db)),
  ])
}

/** What a statement of a transaction may get once one before it has failed at the server. */
const FAILED = ['25P02']

async function inTransaction(scene: Scene, kind: Asked): Promise<void> {
  const question = kind.make(scene.asking())
  const how = scene.random.pick(['thrown', 'ignored', 'in a savepoint'] as const)
  await scene.use((db) =>
    scene.transaction(
      db,
      async (tx) => {
        orThrow(await scene.good(tx, { isInTransaction: true }))
        if (how === 'in a savepoint') {
          await scene.transaction(tx, async (inner) => {
            orThrow(await scene.ask(inner, question, { isInTransaction: true }))
          })
          orThrow(await scene.good(tx, { isInTransaction: true }))
          return
        }
        const outcome = await scene.ask(tx, question, { isInTransaction: true })
        if (how === 'thrown') orThrow(outcome)
        const allows = 'error' in outcome ? FAILED : []
        await Promise.all([1, 2].map(() => scene.good(tx, { isInTransaction: true, allows })))
      },
      { words: IGNORED },
    ),
  )
}

function orThrow(outcome: Outcome): void {
  if ('error' in outcome) throw outcome.error
}

/** Nothing is left when all callers have gone, and the engine closes in time. */
async function end({ pools, watch, findings }: Stage): Promise<void> {
  const leftOver = (what: string) => findings.add({ sort: 'left over', kind: 'engine', what, around: [] })
  if (!watch.hasHung) {
    const { leases, waiting } = pools.gauges()
    if (leases > 0 || waiting > 0) leftOver(`${leases} leases, ${waiting} waiting`)
  }
  try {
    if (!watch.hasHung) await watch.bound(() => pools.close())
    await watch.bound(() => pools.destroy(new Error('the round is over')))
  } catch (error) {
    leftOver(`the engine does not close: ${String(error)}`)
  }
  const { opening, idle, busy, closing } = pools.gauges().connections
  const open = opening + idle + busy + closing
  if (open > 0) leftOver(`${open} connections after the engine was closed`)
}
