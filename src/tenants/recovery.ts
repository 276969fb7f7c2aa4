import type { Db } from '../pool/statement.ts'
import type { TaskName } from '../tasks.ts'
import { foldCounts } from './count-store.ts'
import type { Deletion } from './deletion.ts'
import { countFailingJobs } from './failing-jobs-store.ts'
import { purgeAnswers } from './idempotency-store.ts'
import { type FailingJobs, NONE_FAILING } from './job.ts'
import type { Claim, Jobs } from './jobs.ts'
import type { Onboarding } from './onboarding.ts'
import type { Promotion } from './promotion.ts'
import type { Rotation } from './rotation.ts'
import type { Suspension } from './suspension.ts'
import type { Visits } from './visits.ts'

export interface RecoveryOptions {
  readonly db: Db
  readonly jobs: Jobs
  readonly onboarding: Pick<Onboarding, 'resume'>
  readonly deletion: Pick<Deletion, 'run'>
  readonly rotation: Pick<Rotation, 'resume'>
  readonly promotion: Pick<Promotion, 'resume'>
  readonly suspension: Pick<Suspension, 'settleAll'>
  readonly visits: Pick<Visits, 'sweep'>
  /** Hears how many jobs a run has worked on, if any. Must not throw. */
  readonly onTaken?: (jobs: number) => void
}

/** RecoveryStep is a part of recovery that knows nothing of the others. */
export interface RecoveryStep {
  readonly task: TaskName
  /** run does it once; calls at the same time share one run. Rejects with what has failed. */
  readonly run: () => Promise<unknown>
}

/**
 * Recovery takes over jobs whose claim has run out: it takes back onboardings, finishes deletions,
 * and does either with rotations; promotions and demotions it finishes, and so suspensions whose logins are left. It
 * removes what has had its time. Several processes may run it at once.
 */
export class Recovery {
  /** Each is to be run by itself, so that one that fails, or takes hours, keeps no other from running. */
  readonly steps: readonly RecoveryStep[]
  readonly #options: RecoveryOptions
  readonly #takeJobs: () => Promise<number>
  readonly #others: readonly RecoveryStep[]
  #failing: FailingJobs = NONE_FAILING

  constructor(options: RecoveryOptions) {
    this.#options = options
    const { db, suspension, visits } = options
    this.#takeJobs = shared(() => this.#takeAll())
    this.#others = [
      { task: 'settlements', run: shared(() => suspension.settleAll()) },
      { task: 'visits', run: shared(() => visits.sweep()) },
      { task: 'answers', run: shared(() => purgeAnswers(db)) },
      { task: 'counts', run: shared(() => foldCounts(db)) },
      { task: 'failing_jobs', run: shared(() => this.#countFailing()) },
    ]
    this.steps = [{ task: 'jobs', run: this.#takeJobs }, ...this.#others]
  }

  /** What failed again and again when it was last counted. */
  get failing(): FailingJobs {
    return this.#failing
  }

  /**
   * run runs every step once, one after the other, and resolves with how many jobs it took.
   * @throws when all have run, what a step threw; AggregateError with the errors of all where several did
   */
  async run(): Promise<number> {
    const failures: unknown[] = []
    const attempt = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
      try {
        return await work()
      } catch (error) {
        failures.push(error)
        return undefined
      }
    }
    const taken = await attempt(this.#takeJobs)
    for (const { run } of this.#others) await attempt(run)
    if (failures.length > 1) throw new AggregateError(failures, 'Several steps of recovery have failed.')
    if (failures.length === 1) throw failures[0]
    return taken ?? 0
  }

  async #takeAll(): Promise<number> {
    const { jobs, onTaken } = this.#options
    let taken = 0
    for (;;) {
      const next = await jobs.take()
      if (next === undefined) break
      taken += 1
      await jobs.attempt(next.ticket, next.job, (claim) => this.#resume(claim))
    }
    if (taken > 0) onTaken?.(taken)
    return taken
  }

  async #countFailing(): Promise<void> {
    this.#failing = await countFailingJobs(this.#options.db)
  }

  #resume(claim: Claim): Promise<void> {
    const { onboarding, deletion, rotation, promotion } = this.#options
    switch (claim.job.kind) {
      case 'onboard':
        return onboarding.resume(claim.job)
      case 'delete':
        return deletion.run(claim)
      case 'rotate':
        return rotation.resume(claim)
      case 'promote':
      case 'demote':
        return promotion.resume(claim)
    }
  }
}

/** shared makes calls at the same time share one run. */
function shared<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined
  return () => {
    running ??= work().finally(() => {
      running = undefined
    })
    return running
  }
}
