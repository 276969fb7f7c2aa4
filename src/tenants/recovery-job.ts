import { schedule } from 'node-cron'
import { SILENT_LOGGER } from '../silent-logger.ts'
import type { TaskName, Tasks } from '../tasks.ts'

export interface RecoveryJobOptions {
  /** Cron expression of six fields, seconds first. */
  readonly cron: string
  readonly steps: readonly { readonly task: TaskName; readonly run: () => Promise<unknown> }[]
  /** Where each run is counted, and told of when it fails. */
  readonly tasks: Pick<Tasks, 'run'>
}

export interface RecoveryJob {
  /** stop starts no more runs. A run under way goes on. */
  stop(): Promise<void>
}

/**
 * startRecoveryJob runs each step at once and then again and again, by itself: one that fails, or hangs, does not keep
 * the others from running. Runs of one step never overlap.
 */
export function startRecoveryJob({ cron, steps, tasks }: RecoveryJobOptions): RecoveryJob {
  const scheduled = steps.map(({ task, run }) => {
    let isRunning = false
    const turn = async () => {
      if (isRunning) return
      isRunning = true
      await tasks.run(task, run)
      isRunning = false
    }
    void turn()
    return schedule(cron, turn, { unref: true, logger: SILENT_LOGGER })
  })
  return {
    async stop() {
      await Promise.all(scheduled.map((each) => each.destroy()))
    },
  }
}
