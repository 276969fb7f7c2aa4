// A process that kills itself after a step of an onboarding or a deletion; see crash.test.ts.
import type { JobKind } from '../../src/tenants/job.ts'
import { openHouse } from './house.ts'

/** CrashPlan is what the fixture does, handed over as JSON in its first argument. */
export interface CrashPlan {
  readonly url: string
  readonly vaultKeys: string
  readonly jobClaimMs: number
  readonly kind: JobKind
  readonly dieAfter: string
  /** Name of the tenant to onboard, or id of the tenant to delete. */
  readonly tenant: string
  readonly idempotencyKey: string
}

const plan = JSON.parse(process.argv[2] ?? '') as CrashPlan
const { tenants } = await openHouse(
  { teardown: () => {} },
  {
    ...plan,
    afterStep: (kind, step) => {
      if (kind === plan.kind && step === plan.dieAfter) process.kill(process.pid, 'SIGKILL')
    },
  },
)
if (plan.kind === 'onboard') {
  await tenants.onboard({ name: plan.tenant }, { scope: 'operator', key: plan.idempotencyKey })
} else {
  await tenants.delete(plan.tenant)
  await tenants.close()
}
throw new Error(`no step is called ${plan.dieAfter}`)
