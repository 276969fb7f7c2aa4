import { systemClock } from '../../src/clock.ts'
import type { ConnectionTarget } from '../../src/pool/contract.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { LIMITS } from './limits.ts'
import { type Measurement, quantile } from './measurement.ts'
import { type Stall, StallWatch } from './stall-watch.ts'
import { CALLER, keyOf, targetOf } from './tenants.ts'

const STATEMENT = sql`select 1 as one`
const STORMS = 5
/** Other processes of the machine may slow the opening down, which is not what is measured. */
const ACQUIRE_TIMEOUT_MS = 60_000

/**
 * measureColdOpen opens many tenants at the same moment, with the service's default limits, several times,
 * and returns the event loop's longest stall.
 */
export async function measureColdOpen(
  tenants: number,
  login: ConnectionTarget,
): Promise<readonly Measurement[]> {
  const storms = []
  for (let i = 0; i < STORMS; i++) storms.push(await storm(tenants, login))
  const wall = storms.map(({ wallMs }) => wallMs.toFixed(1)).join(', ')
  const openMs = quantile(
    storms.map(({ ms }) => ms),
    0.5,
  )
  return [
    {
      what: `longest stall of the event loop, ${tenants} tenants opened cold at once`,
      value: Math.max(...storms.map(({ workMs }) => workMs)),
      unit: 'ms',
      below: 25,
      note: `work in one go, of ${STORMS} storms; by the wall clock ${wall} ms; all open in ${openMs.toFixed(0)} ms`,
    },
  ]
}

async function storm(tenants: number, login: ConnectionTarget): Promise<Stall & { readonly ms: number }> {
  const registry = new PoolRegistry({
    limits: { ...LIMITS, maxEntries: tenants, acquireTimeoutMs: ACQUIRE_TIMEOUT_MS },
    clock: systemClock,
    connect: openConnection,
    locate: async (key) => ({ ...targetOf(key), ...login }),
  })
  try {
    const watch = new StallWatch()
    const start = performance.now()
    const all = Array.from({ length: tenants }, (_, n) =>
      registry.use(keyOf(n), CALLER, (db) => db.query(STATEMENT)),
    )
    await Promise.all(all)
    return { ms: performance.now() - start, ...watch.stop() }
  } finally {
    await registry.close()
  }
}
