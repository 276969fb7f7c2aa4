import t from 'tap'
import { LessorError } from '../../src/errors.ts'
import { Breaker } from '../../src/pool/breaker.ts'
import { Breakers } from '../../src/pool/breakers.ts'
import { newCounters } from '../../src/pool/counters.ts'
import { like } from '../support/like.ts'
import { FakeClock } from './fake-driver.ts'

const OPTIONS = { threshold: 1, baseMs: 500, maxMs: 4_000, random: () => 0.5 }

t.test('pauses double from probe to probe up to the longest, and end with a success', async (t) => {
  const breaker = new Breaker(OPTIONS)
  t.equal(breaker.waitMs(0), 0)
  let now = 0
  for (const pause of [500, 1_000, 2_000, 4_000, 4_000]) {
    t.equal(breaker.failed('ECONNREFUSED', now), true)
    like(t, breaker.snapshot(), { state: 'open', retryAt: now + pause, lastCode: 'ECONNREFUSED' })
    t.equal(breaker.waitMs(now + pause - 1), 1)
    now += pause
    t.equal(breaker.waitMs(now), 0)
    breaker.enter(now)
    t.equal(breaker.state, 'half_open')
    t.ok(breaker.waitMs(now + 60_000) > 0, 'one probe, however long it takes')
  }
  breaker.succeeded()
  t.strictSame(breaker.snapshot(), { state: 'closed', failures: 0, retryAt: null, lastCode: null })
})

t.test('pauses are spread over half to one and a half times their length', async (t) => {
  const pause = (random: number) => {
    const breaker = new Breaker({ ...OPTIONS, random: () => random })
    breaker.failed(null, 0)
    return breaker.waitMs(0)
  }
  t.equal(pause(0), 250)
  t.equal(pause(0.999), 749.5)
})

t.test('a probe that was given up lets the next one go at once, and changes nothing else', async (t) => {
  const breaker = new Breaker(OPTIONS)
  breaker.abandoned()
  t.equal(breaker.state, 'closed')
  breaker.failed(null, 0)
  breaker.enter(500)
  breaker.abandoned()
  like(t, breaker.snapshot(), { state: 'open', failures: 1 })
  t.equal(breaker.waitMs(500), 0)
})

t.test('failures of work that went before it opened do not lengthen the pause', async (t) => {
  const breaker = new Breaker(OPTIONS)
  t.equal(breaker.failed('57P03', 0), true)
  for (let i = 0; i < 8; i++) t.equal(breaker.failed('57P03', 100), false)
  like(t, breaker.snapshot(), { state: 'open', retryAt: 500 })
  breaker.enter(500)
  breaker.failed('57P03', 500)
  like(t, breaker.snapshot(), { state: 'open', retryAt: 1_500 }, 'the second pause, not the ninth')
})

t.test('work past an open breaker is a bug, loudly', async (t) => {
  const breaker = new Breaker(OPTIONS)
  breaker.failed(null, 0)
  t.throws(() => breaker.enter(499), /^bug: /)
})

function setUp() {
  const clock = new FakeClock()
  const counters = newCounters()
  const limits = { breakerBaseMs: 500, breakerMaxMs: 4_000 }
  return { clock, counters, breakers: new Breakers({ clock, limits, counters, random: () => 0.5 }) }
}

function failure(code: string): LessorError {
  return new LessorError('POOL_OPEN_FAILED', 'no', { cause: Object.assign(new Error('no'), { code }) })
}

t.test('one tenant alone gets its data server no pause, whatever it fails of', async (t) => {
  for (const code of ['28P01', '28000', '3D000', '42501', 'ECONNREFUSED', '53300']) {
    const { breakers } = setUp()
    for (let times = 0; times < 10; times++) breakers.failed('a', 's', failure(code))
    t.equal(breakers.server('s').state, 'closed', code)
    t.equal(breakers.refusal('a', 's')?.code, 'TENANT_UNAVAILABLE', code)
    breakers.forgive('a')
    t.equal(breakers.refusal('a', 's'), undefined, code)
  }
})

t.test('what lies with tenants gets a data server no pause, however many fail of it', async (t) => {
  for (const code of ['28P01', '28000', '3D000', '42501']) {
    const { breakers } = setUp()
    for (const id of ['a', 'b', 'c', 'd']) breakers.failed(id, 's', failure(code))
    t.equal(breakers.server('s').state, 'closed', code)
    t.equal(breakers.refusal('d', 's')?.code, 'TENANT_UNAVAILABLE', code)
    t.equal(breakers.refusal('z', 's'), undefined, code)
  }
})

t.test('a data server gets a pause when several tenants fail there in a row, whoever they are', async (t) => {
  const { breakers, counters, clock } = setUp()
  breakers.failed('a', 's', failure('ECONNREFUSED'))
  breakers.failed('b', 's', failure('57P03'))
  t.equal(breakers.refusal('z', 's'), undefined)
  breakers.failed('c', 's', failure('53300'))
  like(t, breakers.refusal('z', 's'), { code: 'SERVER_UNAVAILABLE', status: 503, retryAfterSeconds: 1 })
  t.equal(breakers.refusal('z', 'another'), undefined)
  t.equal(breakers.refusal('z'), undefined, 'nobody knows where it is')
  breakers.isAt('z', 's')
  t.equal(breakers.refusal('z')?.code, 'SERVER_UNAVAILABLE', 'now it need not be located to be refused')
  like(t, breakers.gauges(), { server: { open: 1 }, tenant: { open: 3 } })
  clock.time += 500
  like(t, breakers.gauges(), { server: { open: 0 }, tenant: { open: 0 } }, 'their pauses are over')
  like(t, counters, { openedForServer: 1, openedForTenant: 3, refusedByServer: 2 })
})

t.test('refused logins say that the server is well', async (t) => {
  const { breakers, clock } = setUp()
  for (const id of ['a', 'b', 'c']) breakers.failed(id, 's', failure('ECONNREFUSED'))
  clock.time += 500
  breakers.enter('z', 's')
  t.equal(breakers.refusal('y', 's')?.code, 'SERVER_UNAVAILABLE', 'z is the probe')
  breakers.failed('z', 's', failure('28P01'))
  t.equal(breakers.refusal('y', 's'), undefined)
  t.equal(breakers.refusal('z', 's')?.code, 'TENANT_UNAVAILABLE')
})

t.test('a success closes the breakers of both', async (t) => {
  const { breakers, clock } = setUp()
  for (const id of ['a', 'b', 'c']) breakers.failed(id, 's', failure('ETIMEDOUT'))
  clock.time += 500
  breakers.enter('a', 's')
  breakers.succeeded('a', 's')
  t.equal(breakers.refusal('a', 's'), undefined)
  t.equal(breakers.refusal('y', 's'), undefined)
  t.equal(breakers.isWary('s'), false)
  t.equal(breakers.refusal('b', 's'), undefined, "b's own pause is over as well")
})

t.test('what was given up, or found no place, is nobody’s failure', async (t) => {
  const { breakers } = setUp()
  breakers.failed('a', 's', new LessorError('POOL_SATURATED'))
  breakers.failed('a', 's', new LessorError('SHUTTING_DOWN'))
  breakers.failed('a', 's', new LessorError('POOL_OPEN_FAILED', 'closed before it was open'))
  breakers.failed('a', undefined, new LessorError('CONTROL_UNAVAILABLE'))
  t.equal(breakers.refusal('a', 's'), undefined)
  breakers.failed('a', undefined, new LessorError('VAULT_OPEN_FAILED'))
  like(t, breakers.tenant('a'), { state: 'open', lastCode: 'VAULT_OPEN_FAILED' })
})
