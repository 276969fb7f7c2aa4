import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { DEMOTE_STEPS, PROMOTE_STEPS } from '../../src/tenants/job.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike } from '../support/like.ts'
import type { CrashPlan } from './crash-fixture.ts'
import { openHouse } from './house.ts'
import { addUsers, layout } from './promoted.ts'

const { url } = await testDatabase(t, { template: 'control' })
const FIXTURE = fileURLToPath(new URL('./crash-fixture.ts', import.meta.url))
const CLAIM_MS = 300
const vaultKeys = generateVaultKeys()

async function crash(t: Test, plan: Pick<CrashPlan, 'kind' | 'dieAfter' | 'tenant'>): Promise<void> {
  const full: CrashPlan = { ...plan, url, vaultKeys, jobClaimMs: CLAIM_MS, idempotencyKey: '' }
  const child = spawn(process.execPath, [FIXTURE, JSON.stringify(full)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [, signal] = await once(child, 'exit')
  t.equal(signal, 'SIGKILL', 'the process died where it should')
}

for (const [kind, steps] of [
  ['promote', PROMOTE_STEPS],
  ['demote', DEMOTE_STEPS],
] as const) {
  for (const step of steps) {
    t.test(
      `a tenant whose process is killed after the step "${step}" of "${kind}" is moved once it is recovered`,
      async (t) => {
        const house = await openHouse(t, { url, vaultKeys })
        const { tenant } = await house.tenants.onboard({ name: `${kind} ${step}` })
        await addUsers(house, tenant.id, 20)
        if (kind === 'demote') {
          await house.tenants.promote(tenant.id)
          while ((await house.tenants.get(tenant.id)).job !== null) await delay(10)
          t.strictSame(await layout(house, tenant.id), { own: 20, left: 0 })
        }
        await crash(t, { kind, dieAfter: step, tenant: tenant.id })
        // Half-way nothing is missing or double.
        await addUsers(house, tenant.id, 1)
        const { own = 0, common = 0 } = (await layout(house, tenant.id)) as { own?: number; common?: number }
        t.equal(own + common, 21)
        if (step !== 'note') {
          like(t, await house.tenants.get(tenant.id), { job: { kind } })
          await rejectsLike(t, house.tenants.delete(tenant.id), { code: 'TENANT_BUSY' })
          while ((await house.tenants.recover()) === 0) await delay(20)
        }
        const isPromoted = kind === 'promote'
        like(t, await house.tenants.get(tenant.id), { job: null, partition: isPromoted ? Object : null })
        t.strictSame(
          await layout(house, tenant.id),
          isPromoted ? { own: 21, left: 0 } : { common: 21, left: 0 },
        )
        t.strictSame(house.failures, [])
      },
    )
  }
}
