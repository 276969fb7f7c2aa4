import fc from 'fast-check'
import t from 'tap'
import { type VerificationLimits, VerificationQueue } from '../../src/access/verification-queue.ts'
import { LessorError } from '../../src/errors.ts'
import { holds } from '../support/holds.ts'

/** Lets every microtask run that can. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** A queue whose work ends when the test says so. */
function setUp(limits: Partial<VerificationLimits> = {}) {
  const queue = new VerificationQueue({ concurrency: 2, maxWaiting: 100, maxWaitingPerKey: 100, ...limits })
  const started: string[] = []
  const refused: string[] = []
  const ends: (() => void)[] = []

  function send(name: string, keyId: string, network = ''): void {
    const work = () => {
      started.push(name)
      const { promise, resolve } = Promise.withResolvers<void>()
      ends.push(resolve)
      return promise
    }
    queue.run(keyId, network, work).catch((error: unknown) => {
      if (!(error instanceof LessorError)) throw error
      refused.push(`${name}: ${error.code}, ${error.retryAfterSeconds} s`)
    })
  }

  /** Ends what runs, in the order in which it began, until nothing runs. */
  async function finish(): Promise<void> {
    for (await settled(); ends.length > 0; await settled()) ends.shift()?.()
  }

  return { send, finish, started, refused }
}

t.test('one verification of a key id runs at a time, and ids take turns', async (t) => {
  const { send, finish, started } = setUp()
  for (let i = 0; i < 4; i++) send(`a${i}`, 'a')
  send('b0', 'b')
  send('b1', 'b')
  send('c0', 'c')
  await settled()
  t.strictSame(started, ['a0', 'b0'])
  await finish()
  t.strictSame(started, ['a0', 'b0', 'c0', 'a1', 'b1', 'a2', 'a3'])
})

t.test('networks that send keys of one id take turns, each first come, first served', async (t) => {
  const { send, finish, started } = setUp()
  for (let i = 0; i < 4; i++) send(`x${i}`, 'a', 'x')
  send('y0', 'a', 'y')
  send('y1', 'a', 'y')
  send('z0', 'a', 'z')
  await finish()
  t.strictSame(started, ['x0', 'x1', 'y0', 'z0', 'x2', 'y1', 'x3'])
})

t.test('in a full line of an id the last one of the longest network goes', async (t) => {
  const { send, finish, started, refused } = setUp({ maxWaitingPerKey: 3 })
  for (let i = 0; i < 4; i++) send(`x${i}`, 'a', 'x')
  send('x4', 'a', 'x')
  await settled()
  t.strictSame(refused, ['x4: AUTHENTICATION_BUSY, 1 s'], 'a newcomer of the longest is refused')
  send('y0', 'a', 'y')
  await settled()
  t.strictSame(refused.slice(1), ['x3: AUTHENTICATION_BUSY, 1 s'])
  send('z0', 'a', 'z')
  send('w0', 'a', 'w')
  await settled()
  t.strictSame(refused.slice(2).sort(), ['w0: AUTHENTICATION_BUSY, 1 s', 'x2: AUTHENTICATION_BUSY, 1 s'])
  await finish()
  t.strictSame(started, ['x0', 'x1', 'y0', 'z0'])
})

t.test('when all is full the last one of the longest line goes, and no id pushes out its like', async (t) => {
  const { send, finish, started, refused } = setUp({ concurrency: 1, maxWaiting: 3 })
  for (let i = 0; i < 4; i++) send(`a${i}`, 'a')
  send('b0', 'b')
  send('c0', 'c')
  send('d0', 'd')
  send('a4', 'a')
  await settled()
  t.strictSame(refused.sort(), [
    'a2: AUTHENTICATION_BUSY, 1 s',
    'a3: AUTHENTICATION_BUSY, 1 s',
    'a4: AUTHENTICATION_BUSY, 1 s',
    'd0: AUTHENTICATION_BUSY, 1 s',
  ])
  await finish()
  t.strictSame(started, ['a0', 'b0', 'c0', 'a1'])
})

t.test('a line that was pushed out is gone, and its id can come again', async (t) => {
  const { send, finish, started, refused } = setUp({ concurrency: 1, maxWaiting: 2 })
  send('a0', 'a')
  send('b0', 'b', 'x')
  send('b1', 'b', 'y')
  send('c0', 'c')
  await settled()
  t.strictSame(refused, ['b0: AUTHENTICATION_BUSY, 1 s'])
  send('b2', 'b')
  await settled()
  t.strictSame(refused.slice(1), ['b2: AUTHENTICATION_BUSY, 1 s'])
  await finish()
  send('b3', 'b')
  await finish()
  t.strictSame(started, ['a0', 'b1', 'c0', 'b3'])
})

t.test('never more than the limit, never two of one id, whatever fails, and no place is lost', async (t) => {
  const work = fc.record({
    key: fc.constantFrom('a', 'b', 'c', 'd'),
    network: fc.constantFrom('x', 'y', 'z'),
    ticks: fc.nat({ max: 5 }),
    pause: fc.nat({ max: 3 }),
    fails: fc.boolean(),
  })
  const limits = fc.record({
    concurrency: fc.integer({ min: 1, max: 3 }),
    maxWaiting: fc.integer({ min: 1, max: 12 }),
    maxWaitingPerKey: fc.integer({ min: 1, max: 6 }),
  })
  await holds(
    t,
    fc.asyncProperty(fc.array(work, { maxLength: 40 }), limits, async (works, limits) => {
      const queue = new VerificationQueue(limits)
      const running: string[] = []
      let isWell = true
      const outcomes = []
      for (const { key, network, ticks, pause, fails } of works) {
        const run = queue.run(key, network, async () => {
          isWell &&= running.length < limits.concurrency && !running.includes(key)
          running.push(key)
          for (let i = 0; i < ticks; i++) await Promise.resolve()
          running.splice(running.indexOf(key), 1)
          if (fails) throw new Error('of the work')
          return 'done'
        })
        outcomes.push(
          run.then(
            () => !fails,
            (error) => error instanceof LessorError || (fails && error.message === 'of the work'),
          ),
        )
        for (let i = 0; i < pause; i++) await Promise.resolve()
      }
      isWell &&= (await Promise.all(outcomes)).every((outcome) => outcome)
      // All places are free again: as many ids as the limit start at once.
      const started: string[] = []
      const end = Promise.withResolvers<void>()
      const last = ['p', 'q', 'r', 's'].slice(0, limits.concurrency).map((key) =>
        queue.run(key, '', () => {
          started.push(key)
          return end.promise
        }),
      )
      await settled()
      end.resolve()
      await Promise.all(last)
      return isWell && started.length === limits.concurrency
    }),
  )
})
