import t from 'tap'
import { LessorError } from '../src/errors.ts'
import { FAILING_RUNS, TASKS, type TaskName, Tasks } from '../src/tasks.ts'

function setUp() {
  let time = 1_000
  const told: [what: string, task: TaskName, more?: unknown][] = []
  const tasks = new Tasks({
    clock: { now: () => time },
    observer: {
      failed: (task, error) => told.push(['failed', task, error]),
      failing: (task) => told.push(['failing', task]),
      worksAgain: (task, failures) => told.push(['works again', task, failures]),
    },
  })
  return {
    tasks,
    told,
    stateOf: (name: TaskName) => tasks.list().find((state) => state.name === name),
    pass: (ms: number) => {
      time += ms
    },
  }
}

const AWAY = new Error('it is away')

function fail(): never {
  throw AWAY
}

t.test('every task is listed before it has run, once', async (t) => {
  const { stateOf, tasks } = setUp()
  t.strictSame(
    tasks.list().map(({ name }) => name),
    [...TASKS],
  )
  t.equal(new Set(TASKS).size, TASKS.length)
  t.strictSame(stateOf('visits'), {
    name: 'visits',
    runs: { ok: 0, failed: 0 },
    failedInARow: 0,
    lastOkAt: undefined,
    runningMs: 0,
  })
  t.strictSame(tasks.failing(), [])
})

t.test('a run that fails is told by its name, counted, and rejects nothing', async (t) => {
  const { pass, stateOf, tasks, told } = setUp()
  await tasks.run('counts', async () => 'done')
  pass(500)
  await tasks.run('counts', async () => fail())
  await tasks.run('counts', fail)
  t.strictSame(told, [
    ['failed', 'counts', AWAY],
    ['failed', 'counts', AWAY],
  ])
  t.strictSame(stateOf('counts'), {
    name: 'counts',
    runs: { ok: 1, failed: 2 },
    failedInARow: 2,
    lastOkAt: 1_000,
    runningMs: 0,
  })
  t.strictSame(stateOf('visits')?.runs, { ok: 0, failed: 0 }, 'each task counts for itself')
})

t.test('a task fails again and again when its last runs have, and that is told once', async (t) => {
  const { pass, stateOf, tasks, told } = setUp()
  for (let run = 1; run < FAILING_RUNS; run++) tasks.ended('watchdog', 2)
  t.strictSame([tasks.failing(), told], [[], []])
  tasks.ended('watchdog', 1)
  t.strictSame(tasks.failing(), ['watchdog'])
  tasks.ended('watchdog', 1)
  t.strictSame(told, [['failing', 'watchdog']])
  pass(2_000)
  tasks.ended('watchdog', 0)
  t.strictSame(tasks.failing(), [])
  t.strictSame(told[1], ['works again', 'watchdog', FAILING_RUNS + 1])
  t.strictSame(stateOf('watchdog'), {
    name: 'watchdog',
    runs: { ok: 1, failed: 4 },
    failedInARow: 0,
    lastOkAt: 3_000,
    runningMs: 0,
  })
})

t.test('a task that works after just so many failures works again', async (t) => {
  const { tasks, told } = setUp()
  for (let run = 1; run <= FAILING_RUNS; run++) tasks.ended('sweep', 1)
  tasks.ended('sweep', 0)
  t.strictSame(told, [
    ['failing', 'sweep'],
    ['works again', 'sweep', FAILING_RUNS],
  ])
  tasks.ended('sweep', 0)
  t.equal(told.length, 2, 'told once')
})

t.test('fewer failures than that make no task one that works again', async (t) => {
  const { tasks, told } = setUp()
  for (let run = 1; run < FAILING_RUNS; run++) tasks.ended('sweep', 1)
  tasks.ended('sweep', 0)
  for (let run = 1; run < FAILING_RUNS; run++) tasks.ended('sweep', 1)
  t.strictSame([tasks.failing(), told], [[], []])
})

t.test('a run that ends since the process does has not failed', async (t) => {
  const { stateOf, tasks, told } = setUp()
  await tasks.run('jobs', () => Promise.reject(new LessorError('SHUTTING_DOWN')))
  t.strictSame(told, [])
  t.strictSame(stateOf('jobs')?.runs, { ok: 0, failed: 0 })
})

t.test('a run that does not end is seen for as long as it is under way, the oldest of a task', async (t) => {
  const { pass, stateOf, tasks } = setUp()
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const runs = [tasks.run('visits', () => first.promise)]
  pass(3_000)
  runs.push(tasks.run('visits', () => second.promise))
  pass(500)
  t.strictSame([stateOf('visits')?.runningMs, stateOf('jobs')?.runningMs], [3_500, 0])
  first.resolve()
  await runs[0]
  t.equal(stateOf('visits')?.runningMs, 500)
  second.reject(AWAY)
  await runs[1]
  t.equal(stateOf('visits')?.runningMs, 0, 'one that has failed has ended')
})

t.test(
  'a run that is made elsewhere is under way from where it begins until it ends, and counts then',
  async (t) => {
    const { pass, stateOf, tasks, told } = setUp()
    const first = tasks.begin('isolation')
    pass(3_000)
    const second = tasks.begin('isolation')
    pass(500)
    t.strictSame(stateOf('isolation'), {
      name: 'isolation',
      runs: { ok: 0, failed: 0 },
      failedInARow: 0,
      lastOkAt: undefined,
      runningMs: 3_500,
    })
    first(2)
    t.strictSame([stateOf('isolation')?.runningMs, stateOf('isolation')?.runs], [500, { ok: 0, failed: 1 }])
    second(0)
    t.strictSame(stateOf('isolation'), {
      name: 'isolation',
      runs: { ok: 1, failed: 1 },
      failedInARow: 0,
      lastOkAt: 4_500,
      runningMs: 0,
    })
    t.strictSame(told, [], 'it tells by itself why it has failed')
  },
)
