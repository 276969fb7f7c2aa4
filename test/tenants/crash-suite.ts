import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { DELETE_STEPS, ONBOARD_STEPS } from '../../src/tenants/job.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { testDatabase } from '../support/database.ts'
import { like } from '../support/like.ts'
import type { CrashPlan } from './crash-fixture.ts'
import { type House, NOTHING, openHouse, traces } from './house.ts'

const FIXTURE = fileURLToPath(new URL('./crash-fixture.ts', import.meta.url))
const CLAIM_MS = 300

/** What a tenant has when its login is made: logins and the two roles behind them, and where its tables are. */
const MADE = {
  row: { roles: 0, schemas: 0, databases: 0 },
  schema: { roles: 3, schemas: 1, databases: 0 },
  database: { roles: 3, schemas: 0, databases: 1 },
} as const

/** Steps that tenants without a login of their own do not have. */
const OF_LOGIN: ReadonlySet<string> = new Set(['logins', 'credential', 'check'])

async function crash(t: Test, plan: CrashPlan): Promise<void> {
  const child = spawn(process.execPath, [FIXTURE, JSON.stringify(plan)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [, signal] = await once(child, 'exit')
  t.equal(signal, 'SIGKILL', 'the process died where it should')
}

/** Recovers until the job of the dead process has been taken, which is once its claim has run out. */
async function recoverOne({ tenants }: House): Promise<void> {
  while ((await tenants.recover()) === 0) await delay(20)
}

/**
 * crashSuite kills onboardings and deletions after each step, as crash.test.ts does, in a placement beside `role`:
 * each leaves something else behind.
 */
export async function crashSuite(t: Test, placement: keyof typeof MADE): Promise<void> {
  const { url } = await testDatabase(t, { template: 'control' })
  // The same for all, since the login that tenants of `row` share is sealed once.
  const vaultKeys = generateVaultKeys()
  const common = { url, vaultKeys, jobClaimMs: CLAIM_MS, placement }
  const hasLogin = placement !== 'row'
  const onboarding = ONBOARD_STEPS.filter((step) => step !== 'activate' && (hasLogin || !OF_LOGIN.has(step)))

  for (const step of onboarding) {
    t.test(
      `${placement}: an onboarding killed after the step "${step}" leaves nothing once it is recovered`,
      async (t) => {
        const house = await openHouse(t, { url, vaultKeys })
        const name = `${placement} killed after ${step}`
        await crash(t, {
          ...common,
          kind: 'onboard',
          dieAfter: step,
          tenant: name,
          idempotencyKey: name,
        })
        const [left] = (await house.tenants.list({ limit: 1, status: 'provisioning' })).records
        if (left === undefined) throw new Error('the dead process should have left its reservation')
        like(t, await traces(house, left.id), {
          tenants: 1,
          jobs: 1,
          ...(step === 'reserve' ? { roles: 0, schemas: 0, databases: 0 } : MADE[placement]),
        })
        await recoverOne(house)
        t.strictSame(await traces(house, left.id), NOTHING)
        t.strictSame(house.failures, [])
        const again = await house.tenants.onboard({ name, placement }, { scope: 'operator', key: name })
        like(t, again.tenant, { status: 'active', placement }, 'name and key are free')
        like(t, await traces(house, again.tenant.id), MADE[placement])
      },
    )
  }

  for (const step of DELETE_STEPS) {
    t.test(
      `${placement}: a deletion killed after the step "${step}" is finished once it is recovered`,
      async (t) => {
        const house = await openHouse(t, { url, vaultKeys })
        const name = `${placement} deleted until ${step}`
        const { tenant } = await house.tenants.onboard({ name, placement })
        await house.pools.use({ tenantId: tenant.id, generation: 1 }, new AbortController(), (db) =>
          db.query(sql`insert into users (first_name, last_name) values ('Ada', 'Lovelace')`),
        )
        await house.pools.evict(tenant.id, 'operator')
        like(t, await traces(house, tenant.id), { ...MADE[placement], rows: placement === 'row' ? 1 : 0 })
        await crash(t, { ...common, kind: 'delete', dieAfter: step, tenant: tenant.id, idempotencyKey: '' })
        if (step !== 'bury') {
          t.equal((await house.tenants.get(tenant.id)).status, 'deleting')
          await recoverOne(house)
        }
        t.equal((await house.tenants.get(tenant.id)).status, 'deleted')
        t.strictSame(
          await traces(house, tenant.id),
          { ...NOTHING, tenants: 1 },
          'the tombstone is all that is left',
        )
        t.strictSame(house.failures, [])
      },
    )
  }
}
