import t, { type Test } from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { like } from '../support/like.ts'
import { openHouse } from './house.ts'
import { addUsers, layout } from './promoted.ts'
import { hurry, leftBehind } from './refusals.ts'

const { url } = await testDatabase(t, { template: 'control' })

/** Two tenants that are promoted at once; the first one's move is held after its first step, until `goOn`. */
async function promoteTwo(t: Test, names: readonly [string, string]) {
  const steps: string[] = []
  const [held, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const house = await openHouse(t, {
    url,
    afterStep: async (kind, step) => {
      if (kind !== 'promote') return
      steps.push(step)
      if (steps.length > 2) return
      if (step === 'partition') {
        held.resolve()
        await over.promise
      }
    },
  })
  const ids: string[] = []
  for (const name of names) {
    const { id } = (await house.tenants.onboard({ name })).tenant
    await addUsers(house, id, 3)
    ids.push(id)
  }
  const [first = '', second = ''] = ids
  await house.tenants.promote(first)
  await held.promise
  await house.tenants.promote(second)
  // Time enough for what must not come yet.
  for (let i = 0; i < 100; i++) await house.db.query(sql`select 1`)
  t.strictSame(steps, ['begin', 'partition'])
  like(t, await house.tenants.get(second), { job: { kind: 'promote', step: 'begin', error: null } })
  return { ...house, first, second, goOn: over.resolve, fail: over.reject }
}

t.test('a data server has one move at a time, and the next one comes when that has ended', async (t) => {
  const house = await promoteTwo(t, ['First', 'Second'])
  const { failures, first, goOn, second, tenants } = house
  goOn()
  for (const id of [first, second]) {
    while ((await tenants.get(id)).job !== null) await new Promise(setImmediate)
    t.strictSame(await layout(house, id), { own: 3, left: 0 })
  }
  t.strictSame(failures, [])
})

t.test('the next move comes as well when the one before it has failed', async (t) => {
  const house = await promoteTwo(t, ['Failing', 'Next'])
  const { fail, failures, first, second, tenants } = house
  const error = new Error('of the first move')
  fail(error)
  await leftBehind(house, first)
  while ((await tenants.get(second)).job !== null) await new Promise(setImmediate)
  t.strictSame(await layout(house, second), { own: 3, left: 0 })
  like(t, failures.splice(0), [[{ tenantId: first }, error]])
  t.equal(await hurry(house, first), 1)
  t.strictSame(await layout(house, first), { own: 3, left: 0 })
  t.strictSame(failures, [])
})
