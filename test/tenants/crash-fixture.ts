// A process that kills itself after a step of an onboarding, a deletion or a rotation; see crash.test.ts.
import { setTimeout as delay } from 'node:timers/promises'
import type { JobKind } from '../../src/tenants/job.ts'
import { openHouse } from './house.ts'

/** CrashPlan is what the fixture does, handed over as JSON in its first argument. */
export interface CrashPlan {
  readonly url: string
  readonly vaultKeys: string
  readonly jobClaimMs: number
  /** `recover` takes over what an earlier process has left behind. */
  readonly kind: JobKind | 'recover'
  readonly dieAfter: string
  /** Name of the tenant to onboard, or id of the tenant to delete or rotate. */
  readonly tenant: string
  readonly idempotencyKey: string
}

const plan = JSON.parse(process.argv[2] ?? '') as CrashPlan
const { tenants } = await openHouse(
  { teardown: () => {} },
  {
    ...plan,
    afterStep: (kind, step) => {
      const isPlanned = plan.kind === 'recover' || kind === plan.kind
      if (isPlanned && step === plan.dieAfter) process.kill(process.pid, 'SIGKILL')
    },
  },
)
if (plan.kind === 'onboard') {
  await tenants.onboard({ name: plan.tenant }, { scope: 'operator', key: plan.idempotencyKey })
} else if (plan.kind === 'recover') {
  while ((await tenants.recover()) === 0) await delay(20)
} else {
  await (plan.kind === 'delete' ? tenants.delete(plan.tenant) : tenants.rotateCredential(plan.tenant))
  while ((await tenants.get(plan.tenant)).job !== null) await delay(5)
  await tenants.close()
}
throw new Error(`no step is called ${plan.dieAfter}`)
