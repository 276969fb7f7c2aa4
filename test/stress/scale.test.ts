import t from 'tap'
import { heapUsed } from '../../stress/scale/heap.ts'
import { House } from '../../stress/scale/house.ts'
import { measureLookUp } from '../../stress/scale/look-up.ts'
import { isMet, quantile, tableOf } from '../../stress/scale/measurement.ts'
import { measureSweep } from '../../stress/scale/sweep.ts'
import { keyOf, numberOf } from '../../stress/scale/tenants.ts'
import { like, rejectsLike, throwsLike } from '../support/like.ts'

async function houseOf(t: { teardown(fn: () => Promise<unknown>): void }, residents: number): Promise<House> {
  const house = new House(residents)
  t.teardown(() => house.registry.close())
  await house.open(0, residents)
  return house
}

t.test('a house keeps every tenant resident when the server has closed all their connections', async (t) => {
  const house = await houseOf(t, 30)
  like(t, house.registry.gauges(), { entries: { ready: 30 }, connections: { idle: 30 } })
  await house.disconnect()
  like(t, house.registry.gauges(), { entries: { ready: 30 }, connections: { idle: 0, busy: 0, closing: 0 } })
})

t.test('a tenant who is resident without a connection is served again', async (t) => {
  const house = await houseOf(t, 3)
  await house.disconnect()
  await house.open(0, 3)
  like(t, house.registry.gauges(), { entries: { ready: 3 }, connections: { idle: 3 } })
})

t.test('what is measured on a house has a figure and a target', async (t) => {
  const many = { registry: (await houseOf(t, 50)).registry, residents: 50 }
  const few = { registry: (await houseOf(t, 5)).registry, residents: 5 }
  const measurements = [...measureSweep(many.registry), ...(await measureLookUp(many, few))]
  t.equal(measurements.length, 2)
  for (const { value, below } of measurements) {
    t.ok(Number.isFinite(value) && value > 0)
    t.ok(below !== undefined)
  }
})

t.test('a figure meets its target only below it', async (t) => {
  const target = { what: 'a sweep', unit: 'ms', below: 2 } as const
  t.ok(isMet({ ...target, value: 1.9 }))
  t.notOk(isMet({ ...target, value: 2 }))
  t.ok(isMet({ what: 'told', unit: 'ms', value: 9 }))
  const table = tableOf([
    { ...target, value: 1.5 },
    { ...target, value: 3, note: 'why' },
  ])
  t.match(table, /a sweep +1\.500 ms +< 2\.000 ms +met/)
  t.match(table, /a sweep +3\.000 ms +< 2\.000 ms +MISSED +why/)
})

t.test('a quantile is one of the values', async (t) => {
  t.equal(quantile([3, 1, 2], 0.5), 2)
  t.equal(quantile([3, 1, 2], 0.99), 3)
  throwsLike(t, () => quantile([], 0.5), { name: 'Error', message: 'there is no quantile of nothing' })
})

t.test('a key says which tenant it is', async (t) => {
  t.equal(numberOf(keyOf(123_456)), 123_456)
  t.not(keyOf(1).tenantId, keyOf(2).tenantId)
})

t.test('the heap is not measured where garbage cannot be collected', async (t) => {
  await rejectsLike(t, heapUsed(), { message: /npm run scale/ })
})
