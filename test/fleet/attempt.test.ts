import t from 'tap'
import { systemClock } from '../../src/clock.ts'
import { MigrationError } from '../../src/control/migrate.ts'
import { LessorError } from '../../src/errors.ts'
import { attempt } from '../../src/fleet/attempt.ts'
import { failureCode, isRetried, retryPauseMs } from '../../src/fleet/retry.ts'
import { excludes, like } from '../support/like.ts'

function refused(code: string): Error {
  return Object.assign(new Error('Key (email)=(ada@example.com) is duplicated'), { code })
}

function options(retries: string[], signal = new AbortController().signal) {
  return {
    clock: systemClock,
    attempts: 3,
    signal,
    onRetry: (error: string) => void retries.push(error),
  }
}

t.test('a lock that was not to be had is asked for again, a few times', async (t) => {
  const retries: string[] = []
  let tries = 0
  const late = await attempt(async () => {
    if (++tries < 3) throw refused(tries === 1 ? '55P03' : '40P01')
    return ['000002-notes']
  }, options(retries))
  like(t, late, { state: 'done', attempts: 3, error: null, ran: ['000002-notes'] })
  t.strictSame(retries, ['55P03', '40P01'])
  const never = await attempt(async () => {
    throw refused('55P03')
  }, options(retries))
  like(t, never, { state: 'failed', attempts: 3, error: '55P03', ran: [] })
})

t.test('what would fail again is not tried again, and only its code is kept', async (t) => {
  const retries: string[] = []
  const outcome = await attempt(async () => {
    throw refused('23505')
  }, options(retries))
  like(t, outcome, { state: 'failed', attempts: 1, error: '23505' })
  excludes(t, JSON.stringify(outcome), 'ada@example.com')
  t.strictSame(retries, [])
})

t.test('a pause that is cut short leaves the work for later', async (t) => {
  const stop = new AbortController()
  const outcome = await attempt(
    async () => {
      throw refused('55P03')
    },
    { ...options([], stop.signal), onRetry: () => stop.abort() },
  )
  like(t, outcome, { state: 'pending', attempts: 1, error: '55P03' })
})

t.test('an error has the code of the database, or of the service, or none', async (t) => {
  t.equal(failureCode(refused('42P07')), '42P07')
  t.equal(failureCode(new LessorError('SERVER_UNAVAILABLE')), 'SERVER_UNAVAILABLE')
  const gone = new LessorError('SERVER_UNAVAILABLE', undefined, { cause: refused('3D000') })
  t.equal(failureCode(gone), '3D000', 'what the server said')
  const unheard = new LessorError('SERVER_UNAVAILABLE', undefined, { cause: refused('EPIPE') })
  t.equal(failureCode(unheard), 'SERVER_UNAVAILABLE')
  t.equal(failureCode(new MigrationError('a file was changed')), 'MIGRATION_MISMATCH')
  t.equal(failureCode(new TypeError('a bug')), 'INTERNAL')
  t.ok(
    [
      '55P03',
      '40P01',
      '40001',
      '25006',
      '57014',
      '53300',
      '57P03',
      '08006',
      'SERVER_BUSY',
      'SERVER_UNAVAILABLE',
    ].every(isRetried),
  )
  t.notOk(['23505', '42601', '42P07', '3D000', '28P01', 'MIGRATION_MISMATCH', 'INTERNAL'].some(isRetried))
})

t.test('pauses grow, are bounded, and differ', async (t) => {
  t.equal(retryPauseMs(1, 0), 250)
  t.equal(retryPauseMs(1, 1), 500)
  t.equal(retryPauseMs(3, 1), 2_000)
  t.equal(retryPauseMs(40, 1), 15_000)
})
