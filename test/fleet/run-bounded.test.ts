import fc from 'fast-check'
import t from 'tap'
import { runBounded } from '../../src/fleet/run-bounded.ts'
import { holds } from '../support/holds.ts'
import { rejectsLike } from '../support/like.ts'

interface Item {
  readonly server: string
  readonly turns: number
}

async function wait(turns: number): Promise<void> {
  for (let i = 0; i < turns; i++) await Promise.resolve()
}

t.test('every item runs once, within both bounds', async (t) => {
  const item = fc.record({ server: fc.constantFrom('a', 'b', 'c'), turns: fc.nat(8) })
  await holds(
    t,
    fc.asyncProperty(
      fc.array(item, { maxLength: 40 }),
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 4 }),
      async (items: Item[], total, perKey) => {
        const running: string[] = []
        const seen: Item[] = []
        let most = 0
        await runBounded(
          items,
          { total, perKey, keyOf: ({ server }) => server, mayBegin: () => true },
          async (each) => {
            seen.push(each)
            running.push(each.server)
            most = Math.max(most, running.length)
            if (running.length > total) throw new Error('more than the total at once')
            if (running.filter((server) => server === each.server).length > perKey) {
              throw new Error('more than one server may have at once')
            }
            await wait(each.turns)
            running.splice(running.indexOf(each.server), 1)
          },
        )
        return running.length === 0 && seen.length === items.length && new Set(seen).size === items.length
      },
    ),
  )
  t.pass('no counterexample')
})

t.test('items of a busy server let those of others pass', async (t) => {
  const began: string[] = []
  const gate = Promise.withResolvers<void>()
  const running = runBounded(
    ['a1', 'a2', 'b1'],
    { total: 2, perKey: 1, keyOf: (item) => item.charAt(0), mayBegin: () => true },
    async (item) => {
      began.push(item)
      await gate.promise
    },
  )
  t.strictSame(began, ['a1', 'b1'])
  gate.resolve()
  await running
  t.strictSame(began, ['a1', 'b1', 'a2'])
})

t.test('once nothing more may begin, what is under way ends', async (t) => {
  const ended: number[] = []
  let mayBegin = true
  await runBounded(
    [1, 2, 3, 4],
    { total: 2, perKey: 2, keyOf: () => 'a', mayBegin: () => mayBegin },
    async (item) => {
      if (item === 1) mayBegin = false
      await wait(10 - item)
      ended.push(item)
    },
  )
  t.strictSame(ended, [1], 'the first one stopped it before the second began')
})

t.test('an error lets what is under way end and begins nothing more', async (t) => {
  const ended: number[] = []
  const running = runBounded(
    [1, 2, 3],
    { total: 2, perKey: 2, keyOf: () => 'a', mayBegin: () => true },
    async (item) => {
      if (item === 1) throw new Error('the first one failed')
      await wait(20)
      ended.push(item)
    },
  )
  await rejectsLike(t, running, { message: 'the first one failed' })
  t.strictSame(ended, [2])
})
