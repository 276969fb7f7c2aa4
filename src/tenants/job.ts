/** Job is work on a tenant that takes several steps and survives the process that began it. */
export interface Job {
  readonly id: string
  readonly kind: JobKind
  readonly tenantId: string
  /** The step that was entered last; it may have run in part. */
  readonly step: string
  /** Those that were begun, the last included, without those that the end of a process stopped in order. */
  readonly attempts: number
  /** Of a promotion: the tablespace that was asked for. */
  readonly tablespace: string | null
}

export const JOB_KINDS = ['onboard', 'delete', 'rotate', 'promote', 'demote'] as const
export type JobKind = (typeof JOB_KINDS)[number]

/**
 * FAILING_KINDS is the work on one tenant or visitor that can fail again and again: jobs, `settle`, which makes a tenant's
 * logins follow its status, and `end_visit`, which drops a person's login when its time is over.
 */
export const FAILING_KINDS = [...JOB_KINDS, 'settle', 'end_visit'] as const
export type FailingKind = (typeof FAILING_KINDS)[number]

/** FailingJobs is how much work fails again and again, by kind, zeros included. */
export type FailingJobs = Readonly<Record<FailingKind, number>>

/** NONE_FAILING is what there is to tell before the first look. */
export const NONE_FAILING: FailingJobs = {
  onboard: 0,
  delete: 0,
  rotate: 0,
  promote: 0,
  demote: 0,
  settle: 0,
  end_visit: 0,
}

/** TenantJob is the job that works on a tenant, as operators see it; a tenant has one at most. */
export interface TenantJob extends Pick<Job, 'kind' | 'step' | 'attempts'> {
  /** Code of the last attempt's failure. */
  readonly error: string | null
  /** How far a promotion or demotion has come in the table that it is at; null before that, and of other jobs. */
  readonly progress: JobProgress | null
}

/** JobProgress is the table that is moved and how many rows have been copied. */
export interface JobProgress {
  readonly table: string
  readonly rows: number
}

/** ONBOARD_STEPS in order. A failure, or the death of the process, undoes what was done, in reverse. */
export const ONBOARD_STEPS = ['reserve', 'logins', 'credential', 'check', 'key', 'activate'] as const
export type OnboardStep = (typeof ONBOARD_STEPS)[number]

/**
 * DELETE_STEPS in order; each can be run again, and a deletion is always finished. Logins go before
 * rows: then nobody, in no process, can write a row that would be left.
 */
export const DELETE_STEPS = ['begin', 'drain', 'logins', 'rows', 'bury'] as const
export type DeleteStep = (typeof DELETE_STEPS)[number]

/**
 * ROTATE_STEPS in order. `flip` puts the new login into use and ends with the job at `drain`, in one
 * transaction: a rotation that has not come so far is undone, one that has is finished.
 */
export const ROTATE_STEPS = ['begin', 'login', 'credential', 'check', 'flip', 'drain', 'retire'] as const
export type RotateStep = (typeof ROTATE_STEPS)[number]

/**
 * PROMOTE_STEPS in order; those from `partition` to `switch` once for each shared table. A promotion is always
 * finished: the tables that are done are left alone, the one that it was at is begun anew.
 */
export const PROMOTE_STEPS = ['begin', 'partition', 'copy', 'verify', 'switch', 'note'] as const
export type PromoteStep = (typeof PROMOTE_STEPS)[number]

/** DEMOTE_STEPS in order, `return` once for each shared table. A demotion is always finished. */
export const DEMOTE_STEPS = ['begin', 'return', 'note'] as const
export type DemoteStep = (typeof DEMOTE_STEPS)[number]

/** AfterStep is called when a step is done; for tests that end the process there. */
export type AfterStep = (
  kind: JobKind,
  step: OnboardStep | DeleteStep | RotateStep | PromoteStep | DemoteStep,
) => void | Promise<void>

/** JobObserver hears of what operators should know. Must not throw. */
export interface JobObserver {
  /** An attempt failed and will be made again. */
  failed(job: Job, error: unknown): void
  /** Recovery has worked on so many jobs that had been left behind; zero is not told. */
  taken?(jobs: number): void
  /** A login is ended though another process may still use it: that had its time to drain. */
  overdue(job: Job): void
}
