import { randomUUID } from 'node:crypto'
import t from 'tap'
import { LessorError } from '../../src/errors.ts'
import type { Job } from '../../src/tenants/job.ts'
import { settle } from '../../src/tenants/settle.ts'
import { rejectsLike } from '../support/like.ts'

const JOB: Job = {
  id: randomUUID(),
  kind: 'rotate',
  tenantId: randomUUID(),
  step: 'drain',
  attempts: 1,
  tablespace: null,
}

type Settled = (version: bigint, signal: AbortSignal) => Promise<void>

/** Options of a process that waits for the others by `settled`, and the jobs that it has called overdue. */
function setUp(settled: Settled, settleTimeoutMs = 3_600_000) {
  const overdue: Job[] = []
  const closing = new AbortController()
  const changes = { settled, publish: () => Promise.reject(new Error('bug: nothing is published')) }
  const jobObserver = { failed() {}, overdue: (job: Job) => overdue.push(job) }
  return {
    options: { changes, jobs: { signal: closing.signal }, jobObserver, settleTimeoutMs },
    closing,
    overdue,
  }
}

/** Other processes that never let go; the wait ends by its signal alone. */
const never: Settled = (_version, signal) =>
  new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

t.test('a wait ends when all processes have let go', async (t) => {
  const versions: bigint[] = []
  const { options, overdue } = setUp(async (version) => {
    versions.push(version)
  })
  await settle(options, JOB, 7n)
  t.strictSame(versions, [7n])
  t.strictSame(overdue, [])
})

t.test('a wait is over when its time is, and that is told', async (t) => {
  const { options, overdue } = setUp(never, 1)
  // The timer of a signal keeps no process alive.
  const alive = setInterval(() => {}, 1_000)
  await settle(options, JOB, 7n)
  clearInterval(alive)
  t.strictSame(overdue, [JOB])
})

t.test('a wait that fails is no wait that is over', async (t) => {
  const away = new LessorError('CONTROL_UNAVAILABLE')
  const { options, overdue } = setUp(() => Promise.reject(away))
  await rejectsLike(t, settle(options, JOB, 7n), away)
  t.strictSame(overdue, [])
})

t.test('a process that closes does not wait, and calls nothing overdue', async (t) => {
  const { options, closing, overdue } = setUp(never)
  const settling = settle(options, JOB, 7n)
  const reason = new LessorError('SHUTTING_DOWN')
  closing.abort(reason)
  await rejectsLike(t, settling, reason)
  t.strictSame(overdue, [])
})
