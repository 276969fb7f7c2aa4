import t from 'tap'
import { CROWD_MS, Crowds, crowdPause } from '../../src/pool/crowds.ts'
import { failureOf, isCrowded, isOutOfLocks, openError } from '../../src/pool/driver-errors.ts'
import { FakeClock } from './fake-driver.ts'

function setUp(limits: Partial<{ acquireTimeoutMs: number; connectTimeoutMs: number }> = {}) {
  const clock = new FakeClock()
  const crowds = new Crowds({
    clock,
    limits: { acquireTimeoutMs: 60_000, connectTimeoutMs: 60_000, ...limits },
  })
  /** How long a server that goes on refusing is tried, each time that it may be. */
  const patience = (server = 'a') => {
    const since = clock.now()
    while (crowds.refused(server)) while (crowds.isPausing(server)) clock.time += 1
    return clock.now() - since
  }
  return { clock, crowds, patience }
}

t.test('pauses double, up to half a second', async (t) => {
  t.strictSame([0, 1, 2, 3, 4, 5, 50].map(crowdPause), [50, 100, 200, 400, 500, 500, 500])
})

t.test('a server that refuses is left alone until the pause is over, and others are not', async (t) => {
  const { clock, crowds } = setUp()
  t.strictSame([crowds.has('a'), crowds.isPausing('a')], [false, false])
  t.equal(crowds.refused('a'), true)
  t.strictSame([crowds.has('a'), crowds.isPausing('a')], [true, true])
  t.strictSame([crowds.has('b'), crowds.isPausing('b')], [false, false])
  clock.time += 49
  t.equal(crowds.refused('a'), true, 'of several that were under way one says as much as all')
  clock.time += 1
  t.strictSame([crowds.has('a'), crowds.isPausing('a')], [true, false])
  t.equal(crowds.refused('a'), true)
  clock.time += 99
  t.equal(crowds.isPausing('a'), true, 'the second pause is twice as long')
  crowds.succeeded('b')
  t.equal(crowds.isPausing('a'), true)
  crowds.succeeded('a')
  t.strictSame([crowds.has('a'), crowds.isPausing('a')], [false, false])
})

t.test('it has failed after five seconds, or as long as callers wait', async (t) => {
  t.equal(CROWD_MS, 5_000)
  // The pauses before the one that would be too long.
  t.equal(setUp().patience(), 50 + 100 + 200 + 400 + 8 * 500)
  t.equal(setUp({ acquireTimeoutMs: 1_000 }).patience(), 50 + 100 + 200 + 400)
  t.equal(setUp({ connectTimeoutMs: 351 }).patience(), 50 + 100 + 200)
})

t.test(
  'one that has failed is given as much time when it was quiet for so long, or has let in',
  async (t) => {
    const { clock, crowds, patience } = setUp({ acquireTimeoutMs: 1_000 })
    patience()
    t.equal(crowds.refused('a'), false)
    clock.time += 1_000
    t.equal(crowds.refused('a'), false)
    clock.time += 1_001
    t.equal(patience(), 750)
    crowds.succeeded('a')
    t.equal(patience(), 750)
  },
)

/** What the server says at a login. */
const refusal = (fields: Readonly<Record<string, unknown>>) => Object.assign(new Error('no'), fields)
const OF_ROLE = refusal({ code: '53300', routine: 'InitializeSessionUserId', isAuthenticated: true })
const OF_DATABASE = refusal({ code: '53300', routine: 'CheckMyDatabase', isAuthenticated: true })
const OF_SERVER = refusal({ code: '53300', routine: 'InitProcess' })
const OF_RESERVED = refusal({ code: '53300', routine: 'InitPostgres', isAuthenticated: true })
const OF_LOCKS = refusal({ code: '53200', routine: 'LockAcquireExtended', isAuthenticated: true })

t.test('the limit of a role or of its database is no crowd', async (t) => {
  const crowded = (error: Error) => [isCrowded(error), isCrowded(refusal({ cause: error, code: '53300' }))]
  t.strictSame([OF_ROLE, OF_DATABASE, OF_SERVER, OF_RESERVED].map(crowded), [
    [false, false],
    [false, false],
    [true, true],
    [true, true],
  ])
  t.equal(isCrowded(OF_LOCKS), true)
  t.strictSame([refusal({ code: '57P03' }), refusal({}), undefined].map(isCrowded), [false, false, false])
})

t.test('the limit of a role is its tenant’s failure, and a crowd the server’s', async (t) => {
  const scopes = [
    OF_ROLE,
    OF_SERVER,
    OF_RESERVED,
    OF_LOCKS,
    refusal({ code: '22023', isAuthenticated: true }),
    refusal({ code: '57P01', isAuthenticated: true }),
    refusal({ code: '22023' }),
  ].map((error) => failureOf(openError(error))?.scope)
  t.strictSame(scopes, ['tenant', 'server', 'server', 'server', 'tenant', 'server', 'server'])
})

t.test('a full table of locks is told from memory that a statement has used up', async (t) => {
  const full = { code: '53200', severity: 'ERROR', file: 'lock.c' }
  t.strictSame(
    [
      full,
      { ...full, file: 'predicate.c' },
      { ...full, file: 'aset.c' },
      { ...full, file: undefined },
      { ...full, severity: 'FATAL' },
      { ...full, code: '53300' },
    ].map((fields) => isOutOfLocks(refusal(fields))),
    [true, true, false, false, false, false],
  )
})
