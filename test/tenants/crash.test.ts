import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { DELETE_STEPS, ONBOARD_STEPS, ROTATE_STEPS } from '../../src/tenants/job.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike } from '../support/like.ts'
import type { CrashPlan } from './crash-fixture.ts'
import { type House, NOTHING, openHouse, traces } from './house.ts'

const { url } = await testDatabase(t, { template: 'control' })
const FIXTURE = fileURLToPath(new URL('./crash-fixture.ts', import.meta.url))
const CLAIM_MS = 300

async function crash(t: Test, plan: Omit<CrashPlan, 'url' | 'jobClaimMs'>): Promise<void> {
  const full: CrashPlan = { ...plan, url, jobClaimMs: CLAIM_MS }
  const child = spawn(process.execPath, [FIXTURE, JSON.stringify(full)], {
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

for (const step of ONBOARD_STEPS.filter((each) => each !== 'activate')) {
  t.test(`an onboarding killed after the step "${step}" leaves nothing once it is recovered`, async (t) => {
    const vaultKeys = generateVaultKeys()
    const house = await openHouse(t, { url, vaultKeys })
    const name = `killed after ${step}`
    await crash(t, { vaultKeys, kind: 'onboard', dieAfter: step, tenant: name, idempotencyKey: name })
    const [left] = (await house.tenants.list({ limit: 1, status: 'provisioning' })).records
    if (left === undefined) throw new Error('the dead process should have left its reservation')
    like(t, await traces(house, left.id), {
      tenants: 1,
      jobs: 1,
      answers: 1,
      roles: step === 'reserve' ? 0 : 1,
    })
    await rejectsLike(t, house.tenants.onboard({ name }), { code: 'TENANT_NAME_TAKEN' })
    await rejectsLike(t, house.tenants.onboard({ name }, { scope: 'operator', key: name }), {
      code: 'IDEMPOTENCY_IN_PROGRESS',
    })
    await recoverOne(house)
    t.strictSame(await traces(house, left.id), NOTHING)
    t.strictSame(house.failures, [])
    const again = await house.tenants.onboard({ name }, { scope: 'operator', key: name })
    t.equal(again.tenant.status, 'active', 'name and key are free')
  })
}

t.test(
  'an onboarding killed before its answer has a tenant, and a repeated request gets the answer',
  async (t) => {
    const vaultKeys = generateVaultKeys()
    const house = await openHouse(t, { url, vaultKeys })
    const name = 'killed after activate'
    await crash(t, { vaultKeys, kind: 'onboard', dieAfter: 'activate', tenant: name, idempotencyKey: name })
    await delay(CLAIM_MS)
    t.equal(await house.tenants.recover(), 0, 'there is nothing to recover')
    const answer = await house.tenants.onboard({ name }, { scope: 'operator', key: name })
    like(t, answer, { tenant: { name, status: 'active' }, api_key: { key: /^lsr_[0-9a-f]/ } })
    t.strictSame(await traces(house, answer.tenant.id), {
      ...NOTHING,
      roles: 1,
      tenants: 1,
      credentials: 1,
      keys: 1,
      answers: 1,
    })
  },
)

for (const step of DELETE_STEPS) {
  t.test(`a deletion killed after the step "${step}" is finished once it is recovered`, async (t) => {
    const vaultKeys = generateVaultKeys()
    const house = await openHouse(t, { url, vaultKeys })
    const name = `deleted until ${step}`
    const { tenant } = await house.tenants.onboard({ name })
    await house.pools.use({ tenantId: tenant.id, generation: 1 }, new AbortController(), (db) =>
      db.query(sql`insert into app.users (first_name, last_name) values ('Ada', 'Lovelace')`),
    )
    await house.pools.evict(tenant.id, 'operator')
    like(t, await traces(house, tenant.id), { rows: 1 })
    await crash(t, { vaultKeys, kind: 'delete', dieAfter: step, tenant: tenant.id, idempotencyKey: '' })
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
    await t.resolves(house.tenants.onboard({ name }), 'the name is free')
  })
}

for (const step of ROTATE_STEPS) {
  const isFlipped = ROTATE_STEPS.indexOf(step) >= ROTATE_STEPS.indexOf('flip')
  const how = isFlipped ? 'finished' : 'undone'
  t.test(`a rotation killed after the step "${step}" is ${how} once it is recovered`, async (t) => {
    const vaultKeys = generateVaultKeys()
    const house = await openHouse(t, { url, vaultKeys })
    const { tenant } = await house.tenants.onboard({ name: `rotated until ${step}` })
    const { id } = tenant
    const add = (generation: number) =>
      house.pools.use({ tenantId: id, generation }, new AbortController(), (db) =>
        db.query(sql`insert into app.users (first_name, last_name) values ('Ada', 'Lovelace')`),
      )
    await add(1)
    await crash(t, { vaultKeys, kind: 'rotate', dieAfter: step, tenant: id, idempotencyKey: '' })
    const expected = isFlipped
      ? { status: 'active', colour: 'green', generation: 2 }
      : { status: 'active', colour: 'blue', generation: 1 }
    like(t, await house.tenants.get(id), { ...expected, job: step === 'retire' ? null : { kind: 'rotate' } })
    // This house has no change feed, and would not hear in time of the old login's end.
    if (step === 'retire') await house.pools.evict(id, 'operator')
    await add(1)
    await house.pools.evict(id, 'operator')
    await add(1)
    if (step !== 'retire') {
      like(t, await traces(house, id), {
        roles: step === 'begin' ? 1 : 2,
        credentials: step === 'begin' || step === 'login' ? 1 : 2,
      })
      await rejectsLike(t, house.tenants.rotateCredential(id), { code: 'TENANT_BUSY' })
      await recoverOne(house)
    }
    like(t, await house.tenants.get(id), { ...expected, job: null })
    await add(expected.generation)
    t.strictSame(await traces(house, id), {
      ...NOTHING,
      roles: 1,
      tenants: 1,
      credentials: 1,
      keys: 1,
      rows: 4,
    })
    t.strictSame(house.failures, [])
    like(t, await house.tenants.rotateCredential(id), { generation: expected.generation + 1 })
    while ((await house.tenants.get(id)).job !== null) await delay(10)
    await add(expected.generation + 1)
  })
}

t.test('a recovery of a rotation that is killed itself is taken over as well', async (t) => {
  const vaultKeys = generateVaultKeys()
  const house = await openHouse(t, { url, vaultKeys })
  const { tenant } = await house.tenants.onboard({ name: 'killed twice' })
  await crash(t, { vaultKeys, kind: 'rotate', dieAfter: 'flip', tenant: tenant.id, idempotencyKey: '' })
  const again = {
    vaultKeys,
    kind: 'recover',
    dieAfter: 'drain',
    tenant: tenant.id,
    idempotencyKey: '',
  } as const
  await crash(t, again)
  like(t, await traces(house, tenant.id), { roles: 2, credentials: 2, jobs: 1 })
  await recoverOne(house)
  like(t, await house.tenants.get(tenant.id), { colour: 'green', generation: 2, job: null })
  like(t, await traces(house, tenant.id), { roles: 1, credentials: 1 })
})
