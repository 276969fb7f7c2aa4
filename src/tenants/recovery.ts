import type { Db } from '../pool/statement.ts'
import { foldCounts } from './count-store.ts'
import type { Deletion } from './deletion.ts'
import { purgeAnswers } from './idempotency-store.ts'
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
}

/**
 * Recovery takes over jobs whose claim has run out: it takes back onboardings, finishes deletions,
 * and does either with rotations; promotions and demotions it finishes, and so suspensions whose logins are left. Several processes may run it at once.
 */
export class Recovery {
  readonly #options: RecoveryOptions
  #running: Promise<number> | undefined

  constructor(options: RecoveryOptions) {
    this.#options = options
  }

  /** run works until no job is left to take and resolves with how many it took; calls at the same time share one run. */
  run(): Promise<number> {
    this.#running ??= this.#takeAll().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #takeAll(): Promise<number> {
    const { db, jobs, suspension, visits } = this.#options
    let taken = 0
    for (;;) {
      const next = await jobs.take()
      if (next === undefined) break
      taken += 1
      await jobs.attempt(next.ticket, next.job, (claim) => this.#resume(claim))
    }
    await suspension.settleAll()
    await purgeAnswers(db)
    await foldCounts(db)
    await visits.sweep()
    return taken
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
