import type { PoolKey } from '../../src/pool/contract.ts'
import type { PoolRegistry } from '../../src/pool/registry.ts'
import { type Measurement, quantile } from './measurement.ts'
import { CALLER, keyOf } from './tenants.ts'

const ROUNDS = 400
const LOOK_UPS_PER_ROUND = 500
const WARM_UP = 40

/** Side is one registry that is looked up in. */
export interface Side {
  readonly registry: PoolRegistry
  readonly residents: number
}

interface Contestant {
  readonly keys: readonly PoolKey[]
  readonly lookUp: (key: PoolKey) => Promise<void>
  at: number
  readonly times: number[]
}

/**
 * measureLookUp takes and releases leases of random residents, in turn in a registry with many and in
 * one with few. Both get their keys from equally many strings, so that these cost both the same. What
 * remains is the processor's memory: so a bare Map of as many objects is measured beside them, by which
 * to tell what any look-up would pay.
 */
export async function measureLookUp(many: Side, few: Side): Promise<readonly Measurement[]> {
  const count = many.residents
  const contestants = [leases(many, count), leases(few, count), bare(many, count), bare(few, count)]
  for (let round = 0; round < WARM_UP + ROUNDS; round++) {
    for (const contestant of round % 2 === 0 ? contestants : contestants.toReversed()) {
      const microseconds = await run(contestant)
      if (round >= WARM_UP) contestant.times.push(microseconds)
    }
  }
  const [manyUs = 0, fewUs = 0, bareManyUs = 0, bareFewUs = 0] = contestants.map(({ times }) =>
    quantile(times, 0.5),
  )
  return [
    {
      what: `look-up with ${many.residents} resident against ${few.residents}, by a bare Map's`,
      value: manyUs / fewUs / (bareManyUs / bareFewUs),
      unit: 'times',
      below: 1.5,
      note: `${manyUs.toFixed(2)} µs against ${fewUs.toFixed(2)} µs; a bare Map ${bareManyUs.toFixed(2)} against ${bareFewUs.toFixed(2)}`,
    },
  ]
}

function leases({ registry, residents }: Side, count: number): Contestant {
  return contestant(residents, count, (key) => registry.use(key, CALLER, nothing))
}

function bare({ residents }: Side, count: number): Contestant {
  const objects = new Map(
    Array.from(
      { length: residents },
      (_, n) => [keyOf(n).tenantId, { leases: 0 }] as [string, { leases: number }],
    ),
  )
  return contestant(residents, count, async ({ tenantId }) => {
    const found = objects.get(tenantId)
    if (found === undefined) throw new Error('bug: a tenant that is in the map is not found')
    found.leases += 1
    await nothing()
    found.leases -= 1
  })
}

function contestant(residents: number, count: number, lookUp: Contestant['lookUp']): Contestant {
  const keys = shuffled(Array.from({ length: count }, (_, n) => keyOf(n % residents)))
  return { keys, lookUp, at: 0, times: [] }
}

/** run returns what one look-up took, in microseconds. */
async function run(contestant: Contestant): Promise<number> {
  const { keys, lookUp } = contestant
  const start = performance.now()
  for (let i = 0; i < LOOK_UPS_PER_ROUND; i++) {
    const key = keys[contestant.at++ % keys.length]
    if (key !== undefined) await lookUp(key)
  }
  return (1000 * (performance.now() - start)) / LOOK_UPS_PER_ROUND
}

async function nothing(): Promise<void> {}

/** Fisher-Yates; the order of the heap is not the order of the look-ups. */
function shuffled<T>(items: T[]): readonly T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    const [a, b] = [items[i], items[j]]
    if (a !== undefined && b !== undefined) {
      items[i] = b
      items[j] = a
    }
  }
  return items
}
