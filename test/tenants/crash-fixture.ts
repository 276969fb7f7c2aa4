// A process that kills itself after a step of a job; see crash.test.ts and promotion-crash.test.ts.
import { setTimeout as delay } from 'node:timers/promises'
import type { JobKind } from '../../src/tenants/job.ts'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import { openHouse } from './house.ts'

/** CrashPlan is what the fixture does, handed over as JSON in its first argument. */
export interface CrashPlan {
  readonly url: string
  readonly vaultKeys: string
  readonly jobClaimMs: number
  /** `recover` takes over what an earlier process has left behind. */
  readonly kind: JobKind | 'recover'
  readonly dieAfter: string
  /** Name of the tenant to onboard, or id of the tenant that the job is about. */
  readonly tenant: string
  readonly idempotencyKey: string
  /** Of the tenant to onboard; the service's own when absent. */
  readonly placement?: PlacementName
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
  const { tenant: name, placement } = plan
  await tenants.onboard(
    { name, ...(placement && { placement }) },
    { scope: 'operator', key: plan.idempotencyKey },
  )
} else if (plan.kind === 'recover') {
  while ((await tenants.recover()) === 0) await delay(20)
} else {
  const begin = {
    delete: () => tenants.delete(plan.tenant),
    rotate: () => tenants.rotateCredential(plan.tenant),
    promote: () => tenants.promote(plan.tenant),
    demote: () => tenants.demote(plan.tenant),
  }
  await begin[plan.kind]()
  while ((await tenants.get(plan.tenant)).job !== null) await delay(5)
  await tenants.close()
}
throw new Error(`no step is called ${plan.dieAfter}`)
