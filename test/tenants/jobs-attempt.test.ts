import { randomUUID } from 'node:crypto'
import t from 'tap'
import { LessorError } from '../../src/errors.ts'
import type { Db, Statement } from '../../src/pool/statement.ts'
import type { Job } from '../../src/tenants/job.ts'
import { Jobs } from '../../src/tenants/jobs.ts'
import { rejectsLike } from '../support/like.ts'

const JOB: Job = {
  id: randomUUID(),
  kind: 'delete',
  tenantId: randomUUID(),
  step: 'begin',
  attempts: 2,
  tablespace: null,
}
const TICKET = { jobId: JOB.id, token: randomUUID(), claimMs: 60_000 }

function sqlError(code: string): Error {
  return Object.assign(new Error(`refused (${code})`), { code })
}

/** Jobs over a control database that fails by these errors, one after the other, before it does what it is asked. */
function setUp(refusals: readonly Error[] = []) {
  const left = [...refusals]
  const asked: Statement[] = []
  const failed: unknown[] = []
  const db: Db = {
    async query(statement) {
      asked.push(statement)
      const error = left.shift()
      if (error !== undefined) throw error
      return []
    },
    transaction: () => Promise.reject(new Error('bug: no transaction is asked for')),
  }
  const observer = { failed: (_: Job, error: unknown) => failed.push(error), overdue() {} }
  return { jobs: new Jobs({ db, claimMs: TICKET.claimMs, observer }), asked, failed }
}

/** Why a release says that the attempt failed, how many count then, and after how long the next one may come. */
function released({ values }: Statement) {
  const [error, attempts, retryMs, ...rest] = values
  return { error, attempts, retryMs, rest }
}

const OF_TICKET = [TICKET.jobId, TICKET.token]

t.test(
  "an attempt that other tenants' logins hold up goes on when they are gone, and nothing has failed",
  async (t) => {
    const { jobs, asked, failed } = setUp()
    let runs = 0
    await jobs.attempt(TICKET, JOB, async (claim) => {
      t.equal(claim.job, JOB)
      runs += 1
      if (runs <= 3) throw sqlError('53300')
    })
    t.equal(runs, 4)
    t.strictSame([failed, asked], [[], []])
  },
)

t.test('an attempt that fails by itself is told of once, and left to a later one', async (t) => {
  const { jobs, asked, failed } = setUp()
  const error = sqlError('42501')
  let runs = 0
  await jobs.attempt(TICKET, JOB, async () => {
    runs += 1
    throw error
  })
  t.strictSame([runs, failed], [1, [error]])
  t.strictSame(asked.map(released), [{ error: '42501', attempts: 2, retryMs: 10_000, rest: OF_TICKET }])
})

t.test('each failed attempt doubles the pause, from 5 s or the claim up to ten claims', async (t) => {
  for (const [claimMs, attempts, retryMs] of [
    [60_000, 1, 5_000],
    [60_000, 7, 320_000],
    [60_000, 8, 600_000],
    [60_000, 40, 600_000],
    [1_000, 1, 1_000],
    [1_000, 4, 8_000],
    [1_000, 5, 10_000],
  ] as const) {
    const { jobs, asked } = setUp()
    await jobs.attempt({ ...TICKET, claimMs }, { ...JOB, attempts }, () => Promise.reject(sqlError('42501')))
    t.strictSame(asked.map(released), [{ error: '42501', attempts, retryMs, rest: OF_TICKET }])
  }
})

t.test(
  'an attempt that the end of the process stops is left to others at once, and does not count',
  async (t) => {
    const { jobs, asked } = setUp()
    await jobs.attempt(TICKET, JOB, async () => {
      throw new LessorError('SHUTTING_DOWN')
    })
    t.strictSame(asked.map(released), [{ error: 'SHUTTING_DOWN', attempts: 1, retryMs: 0, rest: OF_TICKET }])
  },
)

t.test('a job is left to others though the control database is full, or away, for a moment', async (t) => {
  const away = new LessorError('CONTROL_UNAVAILABLE')
  for (const refusals of [
    [sqlError('53200'), sqlError('53300'), sqlError('40P01')],
    [away],
    [away, sqlError('53200'), away],
  ]) {
    const { jobs, asked, failed } = setUp(refusals)
    const error = new Error('bug')
    await jobs.attempt(TICKET, JOB, () => Promise.reject(error))
    t.equal(asked.length, refusals.length + 1)
    t.strictSame(failed, [error])
  }
})

t.test('a job that cannot be left to others is told of as well; its claim runs out by itself', async (t) => {
  const gone = sqlError('42P01')
  const { jobs, asked, failed } = setUp([gone])
  const error = new Error('bug')
  await jobs.attempt(TICKET, JOB, () => Promise.reject(error))
  t.equal(asked.length, 1)
  t.strictSame(failed, [error, gone])
})

/** The event loop's next turns. */
async function turns(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise(setImmediate)
}

t.test('a close waits for what runs, with what that begins on its way, and takes nothing new', async (t) => {
  const { jobs, asked, failed } = setUp()
  const [tracked, held, late] = [
    Promise.withResolvers<void>(),
    Promise.withResolvers<void>(),
    Promise.withResolvers<void>(),
  ]
  let isClosed = false
  const working = jobs.track(async () => {
    await tracked.promise
    // Not by way of `track`, which takes nothing new by now.
    void jobs.hold(TICKET, JOB, () => late.promise)
  })
  const attempt = jobs.attempt(TICKET, JOB, () => held.promise)
  const closed = jobs.close().then(() => {
    isClosed = true
  })
  for (const { resolve } of [tracked, held, late]) {
    await turns()
    t.equal(isClosed, false)
    resolve()
  }
  await Promise.all([working, attempt, closed])
  t.strictSame(failed, [])
  await rejectsLike(
    t,
    jobs.track(async () => {}),
    { code: 'SHUTTING_DOWN' },
  )
  t.equal(await jobs.take(), undefined)
  t.strictSame(asked, [], 'nor does it claim anything')
  await jobs.close()
})

t.test('a claim is renewed three times in its length, until the attempt has ended', async (t) => {
  const timers = new Set<object>()
  const renewals: [() => void, number][] = []
  t.intercept(globalThis, 'setInterval', {
    value: (renew: () => void, ms: number) => {
      const timer = { unref: () => timer }
      timers.add(timer)
      renewals.push([renew, ms])
      return timer
    },
  })
  t.intercept(globalThis, 'clearInterval', { value: (timer: object) => timers.delete(timer) })
  const away = new LessorError('CONTROL_UNAVAILABLE')
  const { jobs, asked, failed } = setUp([away])
  const error = new Error('bug')
  await jobs.attempt(TICKET, JOB, async () => {
    const [[renew, ms] = []] = renewals
    t.strictSame([timers.size, ms], [1, TICKET.claimMs / 3])
    renew?.()
    await turns()
    t.strictSame([asked.length, failed], [1, [away]], 'a renewal that failed is told of')
    renew?.()
    await turns()
    t.strictSame([asked.length, failed], [2, [away]], 'that the claim is lost the next step finds out')
    throw error
  })
  t.equal(timers.size, 0, 'what is left to others is renewed no more')
  t.strictSame(failed, [away, error])
})
