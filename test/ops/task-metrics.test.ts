import t from 'tap'
import { taskMetrics } from '../../src/ops/task-metrics.ts'
import { TASKS, Tasks } from '../../src/tasks.ts'
import { FAILING_KINDS, NONE_FAILING } from '../../src/tenants/job.ts'

const observer = { failed() {}, failing() {}, worksAgain() {} }

function samplesOf(name: string, tasks: Tasks) {
  const sources = { tasks, failingJobs: () => ({ ...NONE_FAILING, settle: 4 }) }
  return taskMetrics(sources)
    .find((metric) => metric.name === name)
    ?.read()
}

t.test(
  'each task has its runs by outcome, its failures in a row and its last success, in seconds',
  async (t) => {
    const tasks = new Tasks({ clock: { now: () => 7_500 }, observer })
    tasks.ended('visits', 0)
    tasks.ended('visits', 1)
    tasks.ended('visits', 2)
    const runs = await samplesOf('lessor_task_runs_total', tasks)
    t.equal(runs?.length, 2 * TASKS.length, 'zeros included')
    t.strictSame(
      runs?.filter(([{ task }]) => task === 'visits'),
      [
        [{ task: 'visits', outcome: 'ok' }, 1],
        [{ task: 'visits', outcome: 'failed' }, 2],
      ],
    )
    const inARow = await samplesOf('lessor_task_failures_in_a_row', tasks)
    t.strictSame(
      inARow?.filter(([, value]) => value > 0),
      [[{ task: 'visits' }, 2]],
    )
    const lastOk = await samplesOf('lessor_task_last_success_timestamp_seconds', tasks)
    t.equal(lastOk?.length, TASKS.length)
    t.strictSame(
      lastOk?.filter(([, value]) => value > 0),
      [[{ task: 'visits' }, 7.5]],
    )
  },
)

t.test('a run under way has its time, in seconds', async (t) => {
  let now = 1_000
  const tasks = new Tasks({ clock: { now: () => now }, observer })
  const { promise, resolve } = Promise.withResolvers<void>()
  const run = tasks.run('counts', () => promise)
  now += 2_500
  const samples = await samplesOf('lessor_task_running_seconds', tasks)
  t.equal(samples?.length, TASKS.length)
  t.strictSame(
    samples?.filter(([, value]) => value > 0),
    [[{ task: 'counts' }, 2.5]],
  )
  resolve()
  await run
})

t.test('what fails again and again of the work on tenants is counted by kind', async (t) => {
  const samples = await samplesOf('lessor_jobs_failing', new Tasks({ clock: { now: () => 0 }, observer }))
  t.strictSame(
    samples,
    FAILING_KINDS.map((kind) => [{ kind }, kind === 'settle' ? 4 : 0]),
  )
})
