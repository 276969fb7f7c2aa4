import t from 'tap'
import { LessorError } from '../../src/errors.ts'
import { Jobs } from '../../src/tenants/jobs.ts'
import { rejectsLike } from '../support/like.ts'

/** Nothing here asks for it. */
async function unasked(): Promise<never> {
  throw new Error('bug: no database is asked')
}

function jobsOf(): Jobs {
  const db = { query: unasked, transaction: unasked }
  return new Jobs({ db, claimMs: 60_000, observer: { failed() {}, overdue() {} } })
}

function sqlError(code: string): Error {
  return Object.assign(new Error(`refused (${code})`), { code })
}

/** failing fails so often, and then resolves with how often it was run. */
function failing(times: number, error: Error) {
  let runs = 0
  return async () => {
    runs += 1
    if (runs <= times) throw error
    return runs
  }
}

t.test("work that other tenants' logins hold up is tried again at once", async (t) => {
  const busy = new LessorError('SERVER_BUSY', 'Sessions of the data server hold what is needed.')
  const full = new LessorError('SERVER_UNAVAILABLE', 'No place.', { cause: sqlError('53300') })
  for (const error of [
    ...['2BP01', '40P01', '53200', '53300', '55P03'].map(sqlError),
    new LessorError('DATABASE_OVERLOADED', 'No room for locks.'),
    busy,
    full,
  ]) {
    t.equal(await jobsOf().insist(failing(3, error)), 4, error.message)
  }
})

t.test('work that fails by itself is not', async (t) => {
  for (const error of [sqlError('42501'), new Error('bug'), new LessorError('SERVER_UNAVAILABLE', 'Away.')]) {
    let runs = 0
    const work = async () => {
      runs += 1
      throw error
    }
    await rejectsLike(t, jobsOf().insist(work), error)
    t.equal(runs, 1)
  }
})

t.test('nor is work for ever that others hold up', async (t) => {
  let now = 0
  t.intercept(performance, 'now', { value: () => now })
  const error = sqlError('53200')
  let runs = 0
  const work = async () => {
    runs += 1
    now += 3_000
    throw error
  }
  await rejectsLike(t, jobsOf().insist(work), error)
  t.equal(runs, 3, 'within eight seconds')
})

t.test('a process that closes does not insist', async (t) => {
  const jobs = jobsOf()
  await jobs.close()
  const error = sqlError('53200')
  await rejectsLike(t, jobs.insist(failing(1, error)), error)
})

t.test(
  'a server that could not be reached is tried again, one that was silent for long is not',
  async (t) => {
    let now = 0
    t.intercept(performance, 'now', { value: () => now })
    const away = new LessorError('SERVER_UNAVAILABLE', 'Away.')
    for (const [ms, expected] of [
      [2_000, 2],
      [2_001, 1],
    ] as const) {
      let runs = 0
      const work = async () => {
        runs += 1
        if (runs > 1) return
        now += ms
        throw away
      }
      await jobsOf()
        .persist(work)
        .catch((error) => t.equal(error, away))
      t.equal(runs, expected, `${ms} ms`)
    }
  },
)

t.test('a process that closes does not persist', async (t) => {
  const jobs = jobsOf()
  await jobs.close()
  const away = new LessorError('CONTROL_UNAVAILABLE')
  await rejectsLike(t, jobs.persist(failing(1, away)), away)
})
