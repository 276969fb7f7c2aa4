import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { type TaskName, Tasks } from '../../src/tasks.ts'
import { startRecoveryJob } from '../../src/tenants/recovery-job.ts'

const EVERY_SECOND = '* * * * * *'

function makeTasks() {
  const failed: [TaskName, unknown][] = []
  const tasks = new Tasks({
    clock: { now: () => 0 },
    observer: { failed: (task, error) => failed.push([task, error]), failing() {}, worksAgain() {} },
  })
  return { tasks, failed }
}

t.test(
  'a step runs at once, then on its schedule, never twice at once, and goes on after a failure',
  async (t) => {
    const { failed, tasks } = makeTasks()
    const away = new Error('the database is away')
    let running = 0
    let most = 0
    let runs = 0
    const run = async () => {
      runs += 1
      running += 1
      most = Math.max(most, running)
      // The second run takes longer than the pause between two.
      await delay(runs === 2 ? 1_500 : 1)
      running -= 1
      if (runs === 1) throw away
    }
    const job = startRecoveryJob({ cron: EVERY_SECOND, steps: [{ task: 'jobs', run }], tasks })
    t.equal(runs, 1, 'at once')
    // The timer keeps the process alive; the job's own does not.
    while (runs < 4 || running > 0) await delay(20)
    await job.stop()
    t.equal(most, 1)
    t.strictSame(failed, [['jobs', away]])
  },
)

t.test('a step that hangs, and one that fails each time, keep no other from running', async (t) => {
  const { failed, tasks } = makeTasks()
  const runs = { jobs: 0, counts: 0, visits: 0 }
  const job = startRecoveryJob({
    cron: EVERY_SECOND,
    steps: [
      {
        task: 'jobs',
        run() {
          runs.jobs += 1
          return new Promise(() => {})
        },
      },
      {
        task: 'counts',
        async run() {
          runs.counts += 1
          throw new Error('broken')
        },
      },
      {
        task: 'visits',
        async run() {
          runs.visits += 1
        },
      },
    ],
    tasks,
  })
  while (runs.visits < 3) await delay(20)
  await job.stop()
  t.strictSame(runs, { jobs: 1, counts: 3, visits: 3 })
  t.strictSame(
    failed.map(([task]) => task),
    ['counts', 'counts', 'counts'],
  )
})
