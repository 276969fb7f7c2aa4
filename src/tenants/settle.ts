import type { ChangeLog } from '../control/changes.ts'
import type { Job, JobObserver } from './job.ts'
import type { Jobs } from './jobs.ts'

export interface SettleOptions {
  readonly changes: Pick<ChangeLog, 'publish' | 'settled'>
  readonly jobs: Pick<Jobs, 'signal'>
  readonly jobObserver: JobObserver
  /** Longest wait for all processes to let go of a login: until they have heard of the change and the drain deadline has passed. */
  readonly settleTimeoutMs: number
}

/**
 * settle waits until every process has let go of what a change has made old, or has had the time for it.
 * @throws LessorError SHUTTING_DOWN when this process closes; what ChangeLog.settled throws
 */
export async function settle(options: SettleOptions, job: Job, version: bigint): Promise<void> {
  const { changes, jobs, jobObserver, settleTimeoutMs } = options
  const deadline = AbortSignal.timeout(settleTimeoutMs)
  try {
    await changes.settled(version, AbortSignal.any([deadline, jobs.signal]))
  } catch (error) {
    jobs.signal.throwIfAborted()
    if (!deadline.aborted) throw error
    jobObserver.overdue(job)
  }
}
