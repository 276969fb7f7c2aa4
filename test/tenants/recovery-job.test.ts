import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { startRecoveryJob } from '../../src/tenants/recovery-job.ts'

t.test('recovery runs on its schedule, never twice at once, and goes on after a failure', async (t) => {
  let running = 0
  let most = 0
  let runs = 0
  const errors: unknown[] = []
  const job = startRecoveryJob({
    cron: '* * * * * *',
    recover: async () => {
      runs += 1
      running += 1
      most = Math.max(most, running)
      // The second run takes longer than the pause between two.
      await delay(runs === 2 ? 1_500 : 1)
      running -= 1
      if (runs === 1) throw new Error('the database is away')
    },
    onError: (error) => errors.push(error),
  })
  // The timer keeps the process alive; the job's own does not.
  while (runs < 3 || running > 0) await delay(20)
  await job.stop()
  t.equal(most, 1)
  t.match(errors, [{ message: 'the database is away' }])
})
