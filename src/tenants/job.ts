/** Job is work on a tenant that takes several steps and survives the process that began it. */
export interface Job {
  readonly id: string
  readonly kind: JobKind
  readonly tenantId: string
  /** The step that was entered last; it may have run in part. */
  readonly step: string
  readonly attempts: number
}

export type JobKind = 'onboard' | 'delete'

/** ONBOARD_STEPS in order. A failure, or the death of the process, undoes what was done, in reverse. */
export const ONBOARD_STEPS = ['reserve', 'logins', 'credential', 'check', 'key', 'activate'] as const
export type OnboardStep = (typeof ONBOARD_STEPS)[number]

/**
 * DELETE_STEPS in order; each can be run again, and a deletion is always finished. Logins go before
 * rows: then nobody, in no process, can write a row that would be left.
 */
export const DELETE_STEPS = ['begin', 'drain', 'logins', 'rows', 'bury'] as const
export type DeleteStep = (typeof DELETE_STEPS)[number]

/** AfterStep is called when a step is done; for tests that end the process there. */
export type AfterStep = (kind: JobKind, step: OnboardStep | DeleteStep) => void | Promise<void>

/** JobObserver hears of attempts that failed and will be tried again. Must not throw. */
export interface JobObserver {
  failed(job: Job, error: unknown): void
}
