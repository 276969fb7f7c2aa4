import t from 'tap'
import type { TenantRef } from '../../src/tenants/tenant.ts'
import { TenantDirectory, type TenantDirectoryOptions } from '../../src/tenants/tenant-directory.ts'

const ref = (tenantId: string, generation = 1): TenantRef => ({
  tenantId,
  generation,
  namespaceId: 'n',
  status: 'active',
})

/** A directory over loads that the test answers one by one. */
function open(options: Partial<TenantDirectoryOptions> = {}) {
  const clock = { time: 1_000_000, now: () => clock.time }
  const loads: { id: string; answer: (ref: TenantRef | undefined) => void; fail: (error: Error) => void }[] =
    []
  const directory = new TenantDirectory({
    clock,
    load: (id) => new Promise((answer, fail) => loads.push({ id, answer, fail })),
    ...options,
  })
  return { clock, loads, directory }
}

t.test('a tenant is read once for all who ask, and again when its time is up', async (t) => {
  const { clock, loads, directory } = open()
  t.equal(directory.peek('a'), undefined)
  const both = Promise.all([directory.resolve('a'), directory.resolve('a')])
  t.equal(loads.length, 1)
  loads[0]?.answer(ref('a'))
  t.same(await both, [ref('a'), ref('a')])
  t.same(directory.peek('a'), ref('a'))
  clock.time += 4_999
  t.same(await directory.resolve('a'), ref('a'))
  t.equal(loads.length, 1)
  clock.time += 1
  t.equal(directory.peek('a'), undefined)
  const again = directory.resolve('a')
  t.equal(loads.length, 2)
  loads[1]?.answer(ref('a', 2))
  t.same(await again, ref('a', 2))
})

t.test('a snapshot is as old as its question, not as its answer', async (t) => {
  const { clock, loads, directory } = open()
  const asked = directory.resolve('a')
  clock.time += 5_000
  loads[0]?.answer(ref('a'))
  t.same(await asked, ref('a'))
  t.equal(directory.peek('a'), undefined)
})

t.test('what is forgotten while it is read is read again', async (t) => {
  const { loads, directory } = open()
  const before = directory.resolve('a')
  directory.forget('a')
  const after = directory.resolve('a')
  t.equal(loads.length, 2)
  loads[1]?.answer(ref('a', 2))
  t.same(await after, ref('a', 2))
  loads[0]?.answer(ref('a', 1))
  t.same(await before, ref('a', 2), 'who asked before the change hears of it as well')
  t.same(directory.peek('a'), ref('a', 2), 'the older answer does not replace the newer one')
  t.equal(loads.length, 2)
})

t.test('an unknown id is not looked for again for a moment, and can be forgotten', async (t) => {
  const { clock, loads, directory } = open()
  const first = directory.resolve('x')
  loads[0]?.answer(undefined)
  t.equal(await first, undefined)
  t.equal(await directory.resolve('x'), undefined)
  t.equal(loads.length, 1)
  clock.time += 1_000
  const second = directory.resolve('x')
  loads[1]?.answer(undefined)
  await second
  directory.forget('x')
  const third = directory.resolve('x')
  loads[2]?.answer(ref('x'))
  t.same(await third, ref('x'))
})

t.test('a look-up that fails is remembered by nobody', async (t) => {
  const { loads, directory } = open()
  const both = [directory.resolve('a'), directory.resolve('a')]
  loads[0]?.fail(new Error('down'))
  for (const each of both) await t.rejects(each, { message: 'down' })
  const again = directory.resolve('a')
  loads[1]?.answer(ref('a'))
  t.same(await again, ref('a'))
})

t.test('made-up ids push out neither tenants nor memory', async (t) => {
  let loads = 0
  const { directory } = open({
    load: async (id) => {
      loads += 1
      return id.startsWith('t') ? ref(id) : undefined
    },
    maxTenants: 2,
    maxUnknown: 3,
  })
  await directory.resolve('t1')
  for (let i = 0; i < 100; i++) await directory.resolve(`x${i}`)
  t.same(directory.peek('t1'), ref('t1'))
  loads = 0
  for (let i = 97; i < 100; i++) await directory.resolve(`x${i}`)
  t.equal(loads, 0, 'the last three are remembered')
  await directory.resolve('x96')
  t.equal(loads, 1, 'and not one more')
  await directory.resolve('t2')
  await directory.resolve('t3')
  t.equal(directory.peek('t1'), undefined, 'tenants are bounded as well')
})
