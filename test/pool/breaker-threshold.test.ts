import t from 'tap'
import { Breaker, CLOSED } from '../../src/pool/breaker.ts'

const OPTIONS = { threshold: 3, baseMs: 500, maxMs: 4_000, random: () => 0.5 }

t.test('failures below the threshold count, and close no way', async (t) => {
  const breaker = new Breaker(OPTIONS)
  t.strictSame(breaker.snapshot(), CLOSED)
  t.equal(breaker.failed('a', 10), false)
  t.equal(breaker.failed('b', 20), false)
  t.strictSame(breaker.snapshot(), { state: 'closed', failures: 2, retryAt: null, lastCode: 'b' })
  t.equal(breaker.waitMs(0), 0)
  t.equal(breaker.failed('c', 30), true)
  t.strictSame(breaker.snapshot(), { state: 'open', failures: 3, retryAt: 530, lastCode: 'c' })
  t.equal(breaker.failures, 3)
})

t.test(
  'the first pause is the shortest whatever the threshold, and the next one twice as long',
  async (t) => {
    const breaker = new Breaker(OPTIONS)
    for (let failures = 0; failures < 3; failures++) breaker.failed(null, 0)
    t.equal(breaker.waitMs(0), 500)
    breaker.enter(500)
    breaker.failed(null, 500)
    t.equal(breaker.waitMs(500), 1_000)
  },
)

t.test('a success makes the count begin again', async (t) => {
  const breaker = new Breaker(OPTIONS)
  for (let failures = 0; failures < 2; failures++) breaker.failed('a', 0)
  breaker.succeeded()
  t.strictSame(breaker.snapshot(), CLOSED)
  t.equal(breaker.failed('a', 0), false)
  t.equal(breaker.failed('a', 0), false)
})

t.test('while a probe is under way the wait is the shortest there is', async (t) => {
  const breaker = new Breaker({ ...OPTIONS, threshold: 1 })
  breaker.failed(null, 0)
  breaker.enter(600)
  t.equal(breaker.waitMs(600), 1)
  // A clock that was set back: what is left of the pause counts.
  t.equal(breaker.waitMs(400), 100)
})

t.test('a closed breaker lets work through and stays closed', async (t) => {
  const breaker = new Breaker(OPTIONS)
  breaker.enter(0)
  t.equal(breaker.state, 'closed')
})
