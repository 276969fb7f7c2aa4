import type { Tasks } from '../tasks.ts'
import type { FailingJobs } from '../tenants/job.ts'
import { by, onceATurn, type ScrapedMetric } from './scraped.ts'

export interface TaskSources {
  readonly tasks: Pick<Tasks, 'list'>
  /** What work on tenants failed again and again when this process last looked, in whichever process. */
  readonly failingJobs: () => FailingJobs
}

/** taskMetrics is how the work goes that the process repeats by itself, and which work on tenants does not. */
export function taskMetrics({ tasks, failingJobs }: TaskSources): readonly ScrapedMetric[] {
  const list = onceATurn(() => tasks.list())
  return [
    {
      name: 'lessor_task_runs_total',
      help: 'Runs of the work that the process repeats by itself',
      type: 'counter',
      read: () =>
        list().flatMap(({ name, runs }) =>
          Object.entries(runs).map(([outcome, count]) => [{ task: name, outcome }, count] as const),
        ),
    },
    {
      name: 'lessor_task_failures_in_a_row',
      help: 'Runs of a task that have failed since the last one that went well',
      type: 'gauge',
      read: () => list().map(({ failedInARow, name }) => [{ task: name }, failedInARow] as const),
    },
    {
      name: 'lessor_task_last_success_timestamp_seconds',
      help: 'When a run of a task last went well; 0 before that',
      type: 'gauge',
      read: () => list().map(({ lastOkAt = 0, name }) => [{ task: name }, lastOkAt / 1000] as const),
    },
    {
      name: 'lessor_task_running_seconds',
      help: 'For how long the run of a task has been under way; 0 while there is none',
      type: 'gauge',
      read: () => list().map(({ name, runningMs }) => [{ task: name }, runningMs / 1000] as const),
    },
    {
      name: 'lessor_jobs_failing',
      help: 'Work on single tenants that fails again and again, in whichever process',
      type: 'gauge',
      read: () => by('kind', failingJobs()),
    },
  ]
}
