import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t from 'tap'
import { type TestTenant, testApp } from './support/app.ts'
import { atOnce } from './support/at-once.ts'

const TENANTS = 200
const RESIDENT = 50
const CONNECTIONS = 40
const REQUESTS = 2_000
const CALLERS = 32

interface UserList {
  readonly records: readonly { readonly first_name: string }[]
  readonly total: number
}

/** A small generator with a fixed seed, so that a failure can be looked at again (Numerical Recipes' LCG). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** inParallel works `tasks` off with so many workers at once. */
async function inParallel(workers: number, tasks: readonly (() => Promise<void>)[]): Promise<void> {
  const left = tasks.values()
  await Promise.all(
    Array.from({ length: workers }, async () => {
      for (const task of left) await task()
    }),
  )
}

t.test('200 tenants share 50 places: every answer is right, and no limit is passed', async (t) => {
  const { lessor, onboard, databaseUrl, operator } = await testApp(t, {
    POOL_MAX_ENTRIES: String(RESIDENT),
    SERVER_MAX_CONNECTIONS: String(CONNECTIONS),
    POOL_MAX_CONNECTIONS: '2',
  })
  const tenants: TestTenant[] = []
  await inParallel(
    4,
    Array.from({ length: TENANTS }, (_, i) => async () => {
      const tenant = await onboard(`tenant ${i}`)
      tenants.push(tenant)
      const added = await tenant.inject({
        method: 'POST',
        url: '/v1/users',
        payload: { first_name: tenant.id, last_name: 'Only' },
      })
      if (added.statusCode !== 201) t.fail(`adding a user: ${added.statusCode} ${added.body}`)
    }),
  )
  t.equal(tenants.length, TENANTS)

  let isDone = false
  let peakConnections = 0
  let peakResident = 0
  const watcher = postgres(databaseUrl, { max: 1 })
  t.teardown(() => watcher.end())
  const pids = async () => {
    const rows = await watcher<{ pid: number }[]>`
      select pid from pg_stat_activity
      where datname = current_database() and usename ~ '^t[bg]_[0-9a-f]{32}$'`
    return rows.map(({ pid }) => pid)
  }
  const watching = (async () => {
    while (!isDone) {
      peakConnections = Math.max(peakConnections, await atOnce(pids))
      // So that what watches leaves the machine to what it watches.
      await sleep(10)
      const { entries } = lessor.pools.gauges()
      peakResident = Math.max(peakResident, entries.opening + entries.ready)
    }
  })()

  const random = randomFrom(42)
  const wrong: string[] = []
  const requests = Array.from({ length: REQUESTS }, () => async () => {
    const tenant = tenants[random(TENANTS)]
    if (tenant === undefined) throw new Error('bug in the test: no such tenant')
    const answer = await tenant.inject({ url: '/v1/users?page_size=100' })
    const { records, total } = answer.json<UserList>()
    const isRight = answer.statusCode === 200 && total === 1 && records.length === 1
    if (!isRight || records[0]?.first_name !== tenant.id) wrong.push(`${tenant.id}: ${answer.body}`)
  })
  await inParallel(CALLERS, requests)
  isDone = true
  await watching

  t.strictSame(wrong, [], 'each tenant reads its own row and no other')
  t.ok(peakResident <= RESIDENT, `at most ${RESIDENT} resident, seen ${peakResident}`)
  t.ok(peakResident === RESIDENT, 'and all places were taken')
  t.ok(
    peakConnections > 0 && peakConnections <= CONNECTIONS,
    `at most ${CONNECTIONS} connections, seen ${peakConnections}`,
  )
  const { evictions, opens } = lessor.pools.counters()
  const evicted = Object.values(evictions).reduce((sum, count) => sum + count, 0)
  t.ok(evictions.capacity + evictions.budget > TENANTS, 'evictions are counted by reason')
  const { entries } = lessor.pools.gauges()
  t.equal(opens.ok, evicted + entries.ready, 'every pool that was opened is resident or was evicted')
  t.equal(opens.failed, 0)
  const metrics = (await operator({ url: '/metrics' })).body
  t.match(metrics, new RegExp(`lessor_pool_evictions_total\\{reason="capacity"\\} ${evictions.capacity}\n`))
})
