import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { Outage } from '../../src/control/outage.ts'
import { LessorError } from '../../src/errors.ts'
import type { TenantRef } from '../../src/tenants/tenant.ts'
import {
  openTenantDirectory,
  TenantDirectory,
  type TenantDirectoryOptions,
} from '../../src/tenants/tenant-directory.ts'
import { CountingDb } from '../access/helpers.ts'
import { addTenant, openControl } from '../control/helpers.ts'
import { like, rejectsLike } from '../support/like.ts'

const ref = (tenantId: string, generation = 1): TenantRef => ({
  tenantId,
  generation,
  namespaceId: 'n',
  status: 'active',
})

interface Asked {
  readonly ids: readonly string[]
  readonly answer: (...refs: readonly TenantRef[]) => void
  readonly fail: (error: Error) => void
}

/** A directory over loads that the test answers one by one. */
function open(options: Partial<TenantDirectoryOptions> = {}) {
  const clock = { time: 1_000_000, now: () => clock.time }
  const loads: Asked[] = []
  const directory = new TenantDirectory({
    clock,
    load: (ids) =>
      new Promise((resolve, fail) => loads.push({ ids, answer: (...refs) => resolve(refs), fail })),
    ...options,
  })
  /** Resolves with the loads, once those that are due have begun. */
  const asked = async () => {
    await nextTurn()
    await nextTurn()
    return loads
  }
  return { clock, asked, directory }
}

t.test('a tenant is read once for all who ask, and again when its time is up', async (t) => {
  const { clock, asked, directory } = open()
  t.equal(directory.peek('a'), undefined)
  const both = Promise.all([directory.resolve('a'), directory.resolve('a')])
  t.strictSame((await asked())[0]?.ids, ['a'])
  const [load] = await asked()
  load?.answer(ref('a'))
  t.strictSame(await both, [ref('a'), ref('a')])
  t.strictSame(directory.peek('a'), ref('a'))
  clock.time += 4_999
  t.strictSame(await directory.resolve('a'), ref('a'))
  t.equal((await asked()).length, 1)
  clock.time += 1
  t.equal(directory.peek('a'), undefined)
  const again = directory.resolve('a')
  const [, second] = await asked()
  second?.answer(ref('a', 2))
  t.strictSame(await again, ref('a', 2))
})

t.test('a snapshot is as old as its question, not as its answer', async (t) => {
  const { clock, asked, directory } = open()
  const question = directory.resolve('a')
  const [load] = await asked()
  clock.time += 5_000
  load?.answer(ref('a'))
  t.strictSame(await question, ref('a'))
  t.equal(directory.peek('a'), undefined)
})

for (const forget of ['forget', 'forgetAll'] as const) {
  t.test(`what is forgotten while it is read is read again (${forget})`, async (t) => {
    const { asked, directory } = open()
    const before = directory.resolve('a')
    await asked()
    directory[forget]('a')
    const after = directory.resolve('a')
    const [first, second] = await asked()
    second?.answer(ref('a', 2))
    t.strictSame(await after, ref('a', 2))
    first?.answer(ref('a', 1))
    t.strictSame(await before, ref('a', 2), 'who asked before the change hears of it as well')
    t.strictSame(directory.peek('a'), ref('a', 2), 'the older answer does not replace the newer one')
    t.equal((await asked()).length, 2)
    directory[forget]('a')
    t.equal(directory.peek('a'), undefined)
  })
}

t.test('the end of a read that was forgotten leaves alone the one that is under way', async (t) => {
  const { asked, directory } = open()
  const before = directory.resolve('a')
  await asked()
  directory.forget('a')
  const after = directory.resolve('a')
  const [first, second] = await asked()
  first?.answer(ref('a', 1))
  await asked()
  const later = directory.resolve('a')
  t.equal((await asked()).length, 2)
  second?.answer(ref('a', 2))
  t.strictSame(await Promise.all([before, after, later]), [ref('a', 2), ref('a', 2), ref('a', 2)])
})

for (const forget of ['forget', 'forgetAll'] as const) {
  t.test(
    `an unknown id is not looked for again for a moment, and can be forgotten (${forget})`,
    async (t) => {
      const { clock, asked, directory } = open()
      const first = directory.resolve('x')
      ;(await asked())[0]?.answer()
      t.equal(await first, undefined)
      t.equal(await directory.resolve('x'), undefined)
      t.equal((await asked()).length, 1)
      clock.time += 1_000
      const second = directory.resolve('x')
      ;(await asked())[1]?.answer()
      await second
      directory[forget]('x')
      const third = directory.resolve('x')
      const [, , load] = await asked()
      t.strictSame(load?.ids, ['x'])
      load?.answer(ref('x'))
      t.strictSame(await third, ref('x'))
    },
  )
}

t.test('a look-up that fails is remembered by nobody', async (t) => {
  const { asked, directory } = open()
  const both = [directory.resolve('a'), directory.resolve('a')]
  ;(await asked())[0]?.fail(new Error('down'))
  for (const each of both) await rejectsLike(t, each, { message: 'down' })
  const again = directory.resolve('a')
  ;(await asked())[1]?.answer(ref('a'))
  t.strictSame(await again, ref('a'))
})

t.test('tenants that are asked for together are read together', async (t) => {
  const { asked, directory } = open()
  const first = ['a', 'b', 'c'].map((id) => directory.resolve(id))
  t.strictSame(
    (await asked()).map(({ ids }) => ids),
    [['a', 'b', 'c']],
  )
  const second = directory.resolve('d')
  await asked()
  const others = ['e', 'f', 'a'].map((id) => directory.resolve(id))
  const [one, two, none] = await asked()
  t.strictSame(two?.ids, ['d'])
  t.equal(none, undefined, 'two queries are under way, the others wait')
  one?.answer(ref('c'), ref('a'))
  t.strictSame(await Promise.all(first), [ref('a'), undefined, ref('c')])
  const [, , three] = await asked()
  t.strictSame(three?.ids, ['e', 'f'], 'and "a" is known already')
  three?.answer(ref('f'))
  t.strictSame(await Promise.all(others), [undefined, ref('f'), ref('a')])
  two?.answer(ref('d'))
  t.strictSame(await second, ref('d'))
})

t.test('made-up ids push out neither tenants nor memory', async (t) => {
  let loads = 0
  const { directory } = open({
    load: async (ids) => {
      loads += 1
      return ids.filter((id) => id.startsWith('t')).map((id) => ref(id))
    },
    maxTenants: 2,
    maxUnknown: 3,
  })
  await directory.resolve('t1')
  for (let i = 0; i < 100; i++) await directory.resolve(`x${i}`)
  t.strictSame(directory.peek('t1'), ref('t1'))
  loads = 0
  for (let i = 97; i < 100; i++) await directory.resolve(`x${i}`)
  t.equal(loads, 0, 'the last three are remembered')
  await directory.resolve('x96')
  t.equal(loads, 1, 'and not one more')
  await directory.resolve('t2')
  await directory.resolve('t3')
  t.equal(directory.peek('t1'), undefined, 'tenants are bounded as well')
})

t.test('a scan of made-up ids by many callers costs a query for hundreds of them', async (t) => {
  const { db } = await openControl(t)
  const counting = new CountingDb(db)
  const clock = { now: () => 1_000_000 }
  const directory = openTenantDirectory(counting, { clock })
  const real = await addTenant(db)
  const ids = Array.from({ length: 2_000 }, () => randomUUID())
  let unknown = 0
  const scan = async (from: number) => {
    for (let i = from; i < ids.length; i += 200) {
      if ((await directory.resolve(ids[i] ?? '')) === undefined) unknown += 1
      await nextTurn()
    }
  }
  const scans = Promise.all(Array.from({ length: 200 }, (_, from) => scan(from)))
  like(t, await directory.resolve(real), { tenantId: real, generation: 1, status: 'active' })
  await scans
  t.equal(unknown, ids.length)
  t.ok(counting.queries <= 60, `${counting.queries} queries for ${ids.length} ids`)
  const before = counting.queries
  await Promise.all(ids.map((id) => directory.resolve(id)))
  t.equal(counting.queries, before, 'the same ids cost none at all')
})

/** A directory that knows 'a', whose time is up, with an outage that the test begins and ends. */
async function openOld() {
  const told: string[] = []
  const clock = { time: 1_000_000, now: () => clock.time }
  const outage = new Outage({
    clock,
    outageMs: 60_000,
    onBegin: () => told.push('begin'),
    onEnd: () => told.push('end'),
  })
  const { asked, directory } = open({ clock, outage })
  const known = directory.resolve('a')
  ;(await asked())[0]?.answer(ref('a'))
  await known
  outage.answered(clock.time)
  clock.time += 5_000
  return { asked, clock, directory, outage, told }
}

const AWAY = new LessorError('CONTROL_UNAVAILABLE')

t.test('a known tenant is served when the control database cannot be reached, for so long', async (t) => {
  const { asked, clock, directory, outage, told } = await openOld()
  t.equal(directory.peek('a'), undefined)
  const served = directory.resolve('a')
  ;(await asked())[1]?.fail(AWAY)
  t.strictSame(await served, ref('a'))
  t.strictSame(directory.peek('a'), ref('a'), 'from now on without a try')
  t.strictSame(told, ['begin'])
  const unknown = directory.resolve('b')
  ;(await asked())[2]?.fail(AWAY)
  await rejectsLike(t, unknown, { code: 'CONTROL_UNAVAILABLE' })
  clock.time += 54_999
  t.strictSame(directory.peek('a'), ref('a'))
  clock.time += 1
  t.equal(directory.peek('a'), undefined)
  const late = directory.resolve('a')
  ;(await asked())[3]?.fail(AWAY)
  await rejectsLike(t, late, { code: 'CONTROL_UNAVAILABLE' })
  outage.answered(clock.time)
  const after = directory.resolve('a')
  ;(await asked())[4]?.answer(ref('a', 2))
  t.strictSame(await after, ref('a', 2))
  t.strictSame(told, ['begin', 'end'])
})

t.test('a tenant forgotten in an outage is not served', async (t) => {
  const { directory, outage } = await openOld()
  outage.failed(AWAY)
  t.strictSame(directory.peek('a'), ref('a'))
  directory.forget('a')
  t.equal(directory.peek('a'), undefined)
})

t.test(
  'who waits for a control database that never answers is served when the outage is found',
  async (t) => {
    const { asked, directory, outage } = await openOld()
    const waiting = directory.resolve('a')
    t.equal((await asked()).length, 2)
    outage.failed(AWAY)
    t.strictSame(await waiting, ref('a'))
    ;(await asked())[1]?.fail(AWAY)
    await nextTurn()
  },
)

t.test('a failure that is no outage is passed on, whatever is known', async (t) => {
  const { asked, directory, told } = await openOld()
  const refused = directory.resolve('a')
  ;(await asked())[1]?.fail(new Error('syntax'))
  await rejectsLike(t, refused, { message: 'syntax' })
  t.strictSame(told, [])
})
