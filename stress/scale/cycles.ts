import { systemClock } from '../../src/clock.ts'
import type { Connect, ConnectionTarget, PoolKey } from '../../src/pool/contract.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { heapUsed } from './heap.ts'
import { LIMITS, UNBOUNDED } from './limits.ts'
import type { Measurement } from './measurement.ts'
import { StandIn } from './stand-in.ts'
import { CALLER, keyOf, targetOf } from './tenants.ts'

/** Places; the rest of the tenants are evicted for them. */
const PLACES = 50
/** Every so manieth is evicted by name, all others for their place. */
const BY_NAME = 4
const AT_ONCE = 8
const STATEMENT = sql`select 1 as one`

/** Cycles is how often is opened and evicted until the heap is looked at first, and at the end. */
export interface Cycles {
  readonly first: number
  readonly last: number
}

/** measureCycles opens and evicts without a server, so that what is left over is the engine's own. */
export async function measureCycles(cycles: Cycles): Promise<readonly Measurement[]> {
  const growth = await grow(cycles, new StandIn().connect, async (key) => targetOf(key))
  return [
    {
      what: `growth of the heap from ${cycles.first} to ${cycles.last} open-evict cycles`,
      value: growth,
      unit: 'bytes',
      below: 1024 * 1024,
      note: `${(growth / (cycles.last - cycles.first)).toFixed(1)} B a cycle, every tenant a new one`,
    },
  ]
}

/** measureRealCycles does so with the real driver at a real server. */
export async function measureRealCycles(
  cycles: Cycles,
  login: ConnectionTarget,
): Promise<readonly Measurement[]> {
  const growth = await grow(cycles, openConnection, async (key) => ({ ...targetOf(key), ...login }))
  return [
    {
      what: `growth of the heap from ${cycles.first} to ${cycles.last} such cycles at a real server`,
      value: growth,
      unit: 'bytes',
      below: 1024 * 1024,
      note: `${(growth / (cycles.last - cycles.first)).toFixed(1)} B a cycle`,
    },
  ]
}

async function grow(
  { first, last }: Cycles,
  connect: Connect,
  locate: (key: PoolKey) => Promise<ConnectionTarget>,
): Promise<number> {
  const limits = { ...LIMITS, ...UNBOUNDED, maxEntries: PLACES }
  const registry = new PoolRegistry({ limits, clock: systemClock, connect, locate })
  try {
    await openAndEvict(registry, 0, first)
    const before = await heapUsed()
    await openAndEvict(registry, first, last)
    return (await heapUsed()) - before
  } finally {
    await registry.close()
  }
}

async function openAndEvict(registry: PoolRegistry, from: number, to: number): Promise<void> {
  let next = from
  const cycle = async () => {
    for (let n = next++; n < to; n = next++) {
      const key = keyOf(n)
      await registry.use(key, CALLER, (db) => db.query(STATEMENT))
      if (n % BY_NAME === 0) await registry.evict(key.tenantId, 'operator')
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, cycle))
}
