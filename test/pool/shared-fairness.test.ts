import t from 'tap'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { FakeClock, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

/** How often each of so many tenants of one shared pool is served within so many turns, all by so many callers. */
async function serve(
  tenants: number,
  { callers, connections, turns }: { callers: number; connections: number; turns: number },
): Promise<readonly number[]> {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const registry = new PoolRegistry({
    limits: {
      ...LIMITS,
      maxEntries: tenants,
      maxConnections: 1,
      sharedMaxConnections: connections,
      acquireTimeoutMs: 100_000_000,
    },
    clock,
    hasTimer: false,
    connect: driver.connect,
    locate: async () => ({ ...target('row'), isShared: true }),
  })
  const ids = Array.from(
    { length: tenants },
    (_, i) => `0a000000-0000-4000-8000-${String(i).padStart(12, '0')}`,
  )
  const served = new Map(ids.map((id) => [id, 0]))
  let isOver = false
  const call = async (tenantId: string) => {
    while (!isOver) {
      await registry.use({ tenantId, generation: 1 }, new AbortController(), (db) =>
        db.transaction((tx) => tx.query(sql`select 1`)),
      )
      if (!isOver) served.set(tenantId, (served.get(tenantId) ?? 0) + 1)
    }
  }
  const answer = async () => {
    for (const connection of driver.live) connection.answer()
    await settle()
  }
  const calls = ids.flatMap((id) => Array.from({ length: callers }, () => call(id)))
  await settle()
  for (let turn = 0; turn < turns; turn++) {
    clock.time += 10
    // Its statements: begin, select, commit.
    for (let i = 0; i < 3; i++) await answer()
  }
  isOver = true
  for (let i = 0; i < 3 * calls.length; i++) await answer()
  await Promise.all(calls)
  await registry.close()
  return [...served.values()]
}

for (const [tenants, connections] of [
  [3, 1],
  [8, 1],
  [8, 3],
] as const)
  t.test(`${tenants} tenants that share ${connections} connections have equally many turns`, async (t) => {
    const turns = 25 * tenants
    const served = await serve(tenants, { callers: 3, connections, turns })
    const fair = (turns * connections) / tenants
    t.strictSame(
      served.map((each) => Math.abs(each - fair) <= 2),
      served.map(() => true),
      `${served} turns; ${fair} are fair`,
    )
  })
