import t from 'tap'
import type { ConnectionTarget, PoolLimits } from '../../src/pool/contract.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { rejectsLike } from '../support/like.ts'
import { FakeClock, FakeDriver, LIMITS, settle, target } from './fake-driver.ts'

/** Never answers, as a control database or a vault may. */
const silent = () => new Promise<never>(() => {})

function setUp(
  changes: Partial<PoolLimits> = {},
  { hasTimer = false, locate }: { hasTimer?: boolean; locate?: () => Promise<ConnectionTarget> } = {},
) {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const registry = new PoolRegistry({
    limits: { ...LIMITS, ...changes },
    clock,
    hasTimer,
    connect: driver.connect,
    locate: locate ?? (async ({ tenantId }) => target(tenantId)),
  })
  const use = (tenantId: string) =>
    registry.use({ tenantId, generation: 1 }, new AbortController(), (db) => db.query(sql`select 1`))
  const move = async (ms: number) => {
    clock.time += ms
    registry.tick()
    await settle()
  }
  return { clock, driver, registry, use, move }
}

/** whether tells if the work has ended. */
function whether(work: Promise<unknown>): () => boolean {
  let hasEnded = false
  const ended = () => {
    hasEnded = true
  }
  void work.then(ended, ended)
  return () => hasEnded
}

t.test('at the drain deadline a pool whose login is never found ends as well', async (t) => {
  const { move, registry, use } = setUp(
    { acquireTimeoutMs: 60_000, drainTimeoutMs: 1_000 },
    { locate: silent },
  )
  const work = rejectsLike(t, use('a'), { code: 'SHUTTING_DOWN' })
  await settle()
  const closed = registry.close()
  const isClosed = whether(closed)
  await move(999)
  t.equal(isClosed(), false)
  await move(1)
  t.equal(isClosed(), true)
  await Promise.all([work, closed])
})

t.test('a second after destroy a connection that obeys no cancel request loses its socket', async (t) => {
  const { driver, move, registry, use } = setUp()
  const work = rejectsLike(t, use('a'), { code: 'SHUTTING_DOWN' })
  await settle()
  const [connection] = driver.live
  if (connection === undefined) throw new Error('there is one')
  connection.obeys = false
  const destroyed = registry.destroy(new Error('enough'))
  await move(999)
  t.strictSame([connection.cancels, connection.state], [1, 'open'])
  await move(1)
  t.equal(connection.state, 'gone')
  await Promise.all([work, destroyed])
})

t.test('the timer runs as long as anybody waits, though there is no connection', async (t) => {
  const { clock, registry, use } = setUp({ drainTimeoutMs: 0 }, { hasTimer: true, locate: silent })
  const work = rejectsLike(t, use('a'), { code: 'POOL_SATURATED' })
  const hasEnded = whether(work)
  await settle()
  registry.tick()
  clock.time += LIMITS.acquireTimeoutMs
  // The timer alone keeps no process.
  for (let i = 0; i < 100 && !hasEnded(); i++) await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(hasEnded(), true)
  await work
  const closed = registry.close()
  registry.tick()
  await closed
})
