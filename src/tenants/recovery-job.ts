import { schedule } from 'node-cron'

export interface RecoveryJobOptions {
  /** Cron expression of six fields, seconds first. */
  readonly cron: string
  readonly recover: () => Promise<unknown>
  /** Told of a run that failed; the next one comes by itself. Must not throw. */
  readonly onError: (error: unknown) => void
}

export interface RecoveryJob {
  /** stop starts no more runs. A run under way goes on. */
  stop(): Promise<void>
}

/**
 * node-cron would write to the console that a run takes longer than the pause or comes late; neither
 * is news here, and what goes wrong goes to `onError`.
 */
const SILENT = { info() {}, warn() {}, error() {}, debug() {} }

/** startRecoveryJob looks again and again for jobs that were left behind; runs never overlap. */
export function startRecoveryJob(options: RecoveryJobOptions): RecoveryJob {
  const run = async () => {
    try {
      await options.recover()
    } catch (error) {
      options.onError(error)
    }
  }
  const task = schedule(options.cron, run, { noOverlap: true, unref: true, logger: SILENT })
  return {
    async stop() {
      await task.destroy()
    },
  }
}
