import fc from 'fast-check'
import t from 'tap'
import { Gate } from '../../src/access/gate.ts'
import { holds } from '../support/holds.ts'
import { rejectsLike } from '../support/like.ts'

t.test('work beyond the limit waits, first come, first served', async (t) => {
  const gate = new Gate({ concurrency: 2, maxWaiting: 10 })
  const started: number[] = []
  const ends = Array.from({ length: 5 }, () => Promise.withResolvers<void>())
  const runs = ends.map((end, i) =>
    gate.run(() => {
      started.push(i)
      return end.promise
    }),
  )
  await settled()
  t.strictSame(started, [0, 1])
  ends[1]?.resolve()
  await runs[1]
  await settled()
  t.strictSame(started, [0, 1, 2])
  for (const end of ends) end.resolve()
  await Promise.all(runs)
  t.strictSame(started, [0, 1, 2, 3, 4])
})

t.test('work beyond the queue is refused with a time to come back', async (t) => {
  const gate = new Gate({ concurrency: 1, maxWaiting: 1 })
  const end = Promise.withResolvers<void>()
  const runs = [gate.run(() => end.promise), gate.run(() => end.promise)]
  let ran = false
  const refused = gate.run(async () => {
    ran = true
  })
  await rejectsLike(t, refused, { code: 'AUTHENTICATION_BUSY', retryAfterSeconds: 1 })
  t.equal(ran, false)
  end.resolve()
  await Promise.all(runs)
  t.equal(await gate.run(async () => 'again'), 'again')
})

t.test('never more than the limit at once, whatever fails, and no place is lost', async (t) => {
  const works = fc.array(fc.record({ ticks: fc.nat({ max: 5 }), fails: fc.boolean() }), { maxLength: 30 })
  await holds(
    t,
    fc.asyncProperty(works, fc.integer({ min: 1, max: 4 }), async (works, concurrency) => {
      const gate = new Gate({ concurrency, maxWaiting: 30 })
      let running = 0
      let most = 0
      const run = ({ ticks, fails }: { ticks: number; fails: boolean }) =>
        gate.run(async () => {
          most = Math.max(most, ++running)
          for (let i = 0; i < ticks; i++) await Promise.resolve()
          running--
          if (fails) throw new Error('no')
        })
      const results = await Promise.allSettled(works.map(run))
      const outcomes = results.every((result, i) => (result.status === 'rejected') === works[i]?.fails)
      // All places are free again: as many as the limit start at once.
      let free = 0
      const end = Promise.withResolvers<void>()
      const again = Array.from({ length: concurrency + 1 }, () =>
        gate.run(() => {
          free++
          return end.promise
        }),
      )
      await settled()
      const allFree = free === concurrency
      end.resolve()
      await Promise.all(again)
      return outcomes && allFree && most <= concurrency
    }),
  )
})

/** Lets every microtask run that can. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
