import t from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { testDatabase } from '../support/database.ts'
import { excludes, like, rejectsLike, sameRows } from '../support/like.ts'
import { openHouse } from './house.ts'

const { url } = await testDatabase(t, { template: 'control' })

const operator = (key: string) => ({ scope: 'operator', key })

t.test(
  'the same request with the same key gets the same answer, key included, and makes one tenant',
  async (t) => {
    const house = await openHouse(t, { url })
    const first = await house.tenants.onboard({ name: 'Once' }, operator('a'))
    t.strictSame(await house.tenants.onboard({ name: 'Once' }, operator('a')), first)
    await house.tenants.update(first.tenant.id, { name: 'Renamed' })
    t.strictSame(
      await house.tenants.onboard({ name: 'Once' }, operator('a')),
      first,
      'the answer is the one of then',
    )
    const { records } = await house.tenants.list({ limit: 10 })
    t.equal(records.length, 1)
  },
)

t.test(
  'many equal requests at once make one tenant; those that come too early are told to wait',
  async (t) => {
    const vaultKeys = generateVaultKeys()
    const first = await openHouse(t, { url, vaultKeys })
    const second = await openHouse(t, { url, vaultKeys })
    const outcomes = await Promise.allSettled(
      [first, first, second, second].map(({ tenants }) =>
        tenants.onboard({ name: 'Burst' }, operator('burst')),
      ),
    )
    const answers = outcomes.filter((each) => each.status === 'fulfilled')
    t.ok(answers.length >= 1)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') {
        like(t, outcome.reason, { code: 'IDEMPOTENCY_IN_PROGRESS', retryAfterSeconds: 1 })
      } else t.strictSame(outcome.value, answers[0]?.value)
    }
  },
)

t.test('a key used for another request is refused, however the request differs', async (t) => {
  const house = await openHouse(t, { url })
  await house.namespaces.create('elsewhere')
  await house.tenants.onboard({ name: 'Mine', quota: { connections: 2 } }, operator('reused'))
  const others = [
    { name: 'Yours', quota: { connections: 2 } },
    { name: 'Mine' },
    { name: 'Mine', quota: { connections: 3 } },
    { name: 'Mine', quota: { connections: 2 }, namespace: 'elsewhere' },
  ]
  for (const other of others) {
    await rejectsLike(t, house.tenants.onboard(other, operator('reused')), { code: 'IDEMPOTENCY_KEY_REUSED' })
  }
})

t.test('callers of different scopes do not share keys', async (t) => {
  const house = await openHouse(t, { url })
  const one = await house.tenants.onboard({ name: 'Scope one' }, { scope: 'one', key: 'k' })
  const two = await house.tenants.onboard({ name: 'Scope two' }, { scope: 'two', key: 'k' })
  t.not(one.tenant.id, two.tenant.id)
})

t.test('a request that was refused leaves its key free', async (t) => {
  const house = await openHouse(t, { url })
  await house.tenants.onboard({ name: 'Taken' })
  await rejectsLike(t, house.tenants.onboard({ name: 'Taken' }, operator('free')), {
    code: 'TENANT_NAME_TAKEN',
  })
  await t.resolves(house.tenants.onboard({ name: 'Not taken' }, operator('free')))
})

t.test('an answer is sealed, and forgotten after a day', async (t) => {
  const house = await openHouse(t, { url })
  const { tenant, api_key: apiKey } = await house.tenants.onboard({ name: 'Sealed' }, operator('sealed'))
  const [row] = await house.db.query<{ row: string; hours: number }>(sql`
    select encode(response, 'escape') || k::text as row,
      round(extract(epoch from expires_at - now()) / 3600)::integer as hours
    from lessor.idempotency_keys k where tenant_id = ${tenant.id}`)
  t.equal(row?.hours, 24)
  excludes(t, row?.row, apiKey.key)
  excludes(t, row?.row, /Sealed|api_key/)
  await house.db.query(sql`
    update lessor.idempotency_keys set expires_at = now() - interval '1 second' where tenant_id = ${tenant.id}`)
  const next = await house.tenants.onboard({ name: 'Other' }, operator('sealed'))
  t.not(next.tenant.id, tenant.id, 'an expired key starts anew')
  await house.db.query(sql`
    update lessor.idempotency_keys set expires_at = now() - interval '1 second' where tenant_id = ${next.tenant.id}`)
  await house.tenants.recover()
  sameRows(
    t,
    await house.db.query(sql`select 1 from lessor.idempotency_keys where tenant_id = ${next.tenant.id}`),
    [],
    'recovery sweeps out what has expired',
  )
})
