import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { Lane } from '../../src/control/lane.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike } from '../support/like.ts'

const { url } = await testDatabase(t)

async function openLane(t: Test, patienceMs: number): Promise<Lane> {
  const target = { ...parseDatabaseUrl(url), server: 'test', parameters: {} }
  const lane = await Lane.open(target, { connectTimeoutMs: 10_000, patienceMs })
  t.teardown(() => lane.close())
  return lane
}

t.test('a script takes as long as it takes', async (t) => {
  const lane = await openLane(t, 20)
  await lane.script('select pg_sleep(0.2)')
  t.equal(lane.isLost, false)
})

t.test('one that is timed loses the connection when its answer does not come in time', async (t) => {
  const lane = await openLane(t, 20)
  await rejectsLike(t, lane.script('select pg_sleep(3600)', { isTimed: true }), { code: 'CONNECTION_CLOSED' })
  t.equal(lane.isLost, true)
  await lane.lost
})

t.test('one that was answered in time has no time limit left', async (t) => {
  const lane = await openLane(t, 1_000)
  await lane.script('select 1', { isTimed: true })
  await lane.script('select pg_sleep(1.2)')
  t.equal(lane.isLost, false)
})
