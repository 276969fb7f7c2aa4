import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { KeyService } from '../../src/access/key-service.ts'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { dataFiles } from '../../src/control/data-files.ts'
import { RowPlacement } from '../../src/placement/row-placement.ts'
import { sql } from '../../src/pool/statement.ts'
import { BatchOnboarding, type BatchRecord, MAX_BATCH, MAX_BATCH_KEYS } from '../../src/tenants/batch.ts'
import { countTenants, foldCounts } from '../../src/tenants/count-store.ts'
import { idempotentRequest } from '../../src/tenants/idempotency.ts'
import { type CreateTenants, parseBatch } from '../../src/tenants/parse-batch.ts'
import { generateVaultKeys, parseVaultKeys } from '../../src/vault/key-ring.ts'
import { Vault } from '../../src/vault/vault.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'

async function open(t: Test) {
  const { url } = await testDatabase(t, { template: 'control' })
  const db = new ControlDatabase({ url })
  t.teardown(() => db.close())
  await db.query(sql`
    insert into lessor.servers (name, host, port, database, tls) values ('default', '127.0.0.1', 1, 'none', 'disable')
    on conflict do nothing`)
  let hashes = 0
  const keys = new KeyService({
    hasher: {
      isSlow: () => true,
      faster: async () => undefined,
      hash: async () => `hash ${++hashes}`,
      verify: async () => false,
    },
  })
  const batches = new BatchOnboarding({
    db,
    vault: new Vault(parseVaultKeys(generateVaultKeys())),
    keys,
    placements: new Map([['row', new RowPlacement({ files: dataFiles() })]]),
    chooseServer: async ({ server = 'default' }) => server,
  })
  return {
    db,
    hashes: () => hashes,
    async run(request: CreateTenants, key?: string): Promise<readonly BatchRecord[]> {
      const batch = parseBatch(request, 4)
      return batches.run(batch, key === undefined ? undefined : idempotentRequest('operator', key, batch))
    },
    async count(): Promise<number | undefined> {
      const [row] = await db.query<{ count: number }>(
        sql`select count(*)::integer as count from lessor.tenants`,
      )
      return row?.count
    },
  }
}

function named(...names: string[]): CreateTenants['tenants'] {
  return names.map((name) => ({ name }))
}

function outcome(record: BatchRecord): string {
  return 'tenant' in record ? record.tenant.name : record.error.code
}

t.test('a batch says where its tenants are to live, and nothing of what was not asked for', async (t) => {
  const [tenants, placement] = [named('One'), 'row']
  const wishOf = (request: Partial<CreateTenants>) => parseBatch({ tenants, ...request }, 4).wish
  t.strictSame(wishOf({}), { placement })
  t.strictSame(wishOf({ server: 'second' }), { placement, server: 'second' })
  const labels = { region: 'eu' }
  t.strictSame(wishOf({ server_labels: labels }), { placement, labels })
})

t.test('a thousand tenants are made at once, active, in the order of the request', async (t) => {
  const { db, run, count } = await open(t)
  await db.query(sql`insert into lessor.namespaces (name, name_key) values ('Shop', 'shop')`)
  const names = Array.from({ length: MAX_BATCH }, (_, n) => `tenant ${MAX_BATCH - n}`)
  const records = await run({ tenants: named(...names), namespace: 'shop', quota: { weight: 2 } })
  t.strictSame(records.map(outcome), names)
  like(t, records[0], {
    tenant: {
      namespace: 'Shop',
      placement: 'row',
      server: 'default',
      status: 'active',
      generation: 1,
      quota: { weight: 2 },
      job: null,
    },
  })
  t.notOk(records.some((record) => 'apiKey' in record))
  t.equal(await count(), MAX_BATCH)
})

t.test('a name that is taken fails its item alone, in the batch and before it', async (t) => {
  const { db, run, count } = await open(t)
  await run({ tenants: named('Acme') })
  const records = await run({ tenants: named('beta', 'ACME', 'Beta', ' gamma ') })
  t.strictSame(records.map(outcome), ['beta', 'TENANT_NAME_TAKEN', 'TENANT_NAME_TAKEN', 'gamma'])
  like(t, records[1], { error: { detail: 'The namespace "default" has a tenant "ACME".' } })
  t.equal(await count(), 3)
  await db.query(sql`update lessor.tenants set status = 'deleted' where name = 'Acme'`)
  t.strictSame(
    (await run({ tenants: named('acme') })).map(outcome),
    ['acme'],
    'a deleted tenant gives its name back',
  )
})

t.test('a tenant gets the id that the caller chose, unless one has or had it', async (t) => {
  const { db, run } = await open(t)
  const [mine, twice] = [randomUUID(), randomUUID()]
  const records = await run({
    tenants: [
      { name: 'mine', id: mine.toUpperCase() },
      { name: 'one', id: twice },
      { name: 'two', id: twice },
    ],
  })
  like(t, records[0], { tenant: { id: mine } })
  t.strictSame(records.map(outcome), ['mine', 'one', 'INVALID_REQUEST'])
  await db.query(sql`update lessor.tenants set status = 'deleted' where id = ${mine}::uuid`)
  const [again] = await run({ tenants: [{ name: 'again', id: mine }] })
  like(t, again, {
    error: { code: 'INVALID_REQUEST', detail: `There is, or was, a tenant with the id ${mine}.` },
  })
})

t.test('keys are made only when they are asked for, one for each tenant that is made', async (t) => {
  const { db, hashes, run } = await open(t)
  await run({ tenants: named('taken') })
  t.equal(hashes(), 0)
  const records = await run({ tenants: named('acme', 'taken', 'beta'), api_keys: true })
  t.strictSame(
    records.map((record) => 'apiKey' in record && /^lsr_[0-9a-f]/.test(record.apiKey?.key ?? '')),
    [true, false, true],
  )
  const stored = await db.query<{ name: string; id: string }>(sql`
    select t.name, k.id from lessor.api_keys k join lessor.tenants t on t.id = k.tenant_id order by 1`)
  t.strictSame(
    stored.map(({ name, id }) => [name, id]),
    records.flatMap((record) => ('tenant' in record ? [[record.tenant.name, record.apiKey?.id]] : [])),
  )
})

t.test('a repeated batch with the same Idempotency-Key gets the same tenants and keys', async (t) => {
  const { db, run, count } = await open(t)
  const request: CreateTenants = { tenants: named('acme', 'ACME', 'beta'), api_keys: true }
  const first = await run(request, 'a')
  t.strictSame(first.map(outcome), ['acme', 'TENANT_NAME_TAKEN', 'beta'])
  sameRows(t, await run(request, 'a'), first)
  t.equal(await count(), 2)
  await db.query(sql`update lessor.tenants set status = 'suspended' where name = 'acme'`)
  like(t, (await run(request, 'a'))[0], { tenant: { status: 'suspended' } }, 'shown as it is now')
  const [stored] = await db.query<{ response: Uint8Array }>(sql`select response from lessor.idempotency_keys`)
  const [record] = first
  const key = record !== undefined && 'tenant' in record ? record.apiKey?.key : undefined
  t.ok(key)
  t.notOk(Buffer.from(stored?.response ?? []).includes(String(key)), 'what is kept of it is sealed')
})

t.test('an Idempotency-Key is for one batch', async (t) => {
  const { run, count } = await open(t)
  await run({ tenants: named('acme') }, 'a')
  await rejectsLike(t, run({ tenants: named('beta') }, 'a'), { code: 'IDEMPOTENCY_KEY_REUSED' })
  t.strictSame((await run({ tenants: named('beta') }, 'b')).map(outcome), ['beta'])
  t.equal(await count(), 2)
})

t.test('equal batches at once make each tenant once', async (t) => {
  const { run, count } = await open(t)
  const tenants = named(...Array.from({ length: 50 }, (_, n) => `tenant ${n}`))
  const withKey = await Promise.all(Array.from({ length: 4 }, () => run({ tenants }, 'same')))
  for (const records of withKey) sameRows(t, records, withKey[0])
  const backwards = tenants.toReversed().map(({ name }) => ({ name: `other ${name}` }))
  const without = await Promise.all([
    run({ tenants: backwards }),
    run({ tenants: backwards.toReversed() }),
    run({ tenants: backwards }),
  ])
  const made = without.flat().filter((record) => 'tenant' in record)
  t.equal(made.length, 50)
  t.equal(await count(), 100)
})

t.test('what does not fit fails the whole batch, and says which item', async (t) => {
  const { run, count } = await open(t)
  await rejectsLike(t, run({ tenants: named('acme', '  ') }), {
    code: 'INVALID_REQUEST',
    errors: [{ in: 'body', path: '/tenants/1/name' }],
  })
  for (const id of ['mine', '00000000-0000-0000-0000-000000000000']) {
    await rejectsLike(t, run({ tenants: [{ name: 'acme', id }] }), { errors: [{ path: '/tenants/0/id' }] })
  }
  await rejectsLike(t, run({ tenants: [] }), {
    errors: [{ path: '/tenants', message: 'must have 1 to 1000 items' }],
  })
  const many = Array.from({ length: MAX_BATCH_KEYS + 1 }, (_, n) => ({ name: `tenant ${n}` }))
  await rejectsLike(t, run({ tenants: many, api_keys: true }), {
    errors: [{ message: 'must have 1 to 64 items where api_keys are asked for' }],
  })
  await rejectsLike(t, run({ tenants: named('acme'), quota: { weight: 101 } }), {
    errors: [{ path: '/quota/weight' }],
  })
  await rejectsLike(t, run({ tenants: named('acme'), namespace: 'none' }), { code: 'NAMESPACE_NOT_FOUND' })
  for (const placement of ['role', 'schema', 'database'] as const) {
    await rejectsLike(t, run({ tenants: named('acme'), placement }), {
      code: 'PLACEMENT_UNAVAILABLE',
      message: /one by one, by POST \/v1\/tenants/,
    })
  }
  t.equal(await count(), 0)
})

t.test('tenants are counted by status without reading them, whatever happens to them', async (t) => {
  const { db, run } = await open(t)
  const counted = async () => {
    const rows = [...(await countTenants(db))].sort((a, b) => a.status.localeCompare(b.status))
    const real = await db.query<{ status: string; count: number }>(sql`
      select status, count(*)::integer as count from lessor.tenants group by status order by status`)
    sameRows(t, rows, real)
    return Object.fromEntries(rows.map(({ status, count }) => [status, count]))
  }
  t.strictSame(await counted(), {})
  await run({ tenants: named(...Array.from({ length: 300 }, (_, n) => `tenant ${n}`)) })
  for (let n = 0; n < 120; n++) {
    await db.query(sql`update lessor.tenants set status = 'suspended' where name = ${`tenant ${n}`}`)
  }
  await db.query(sql`update lessor.tenants set quota = '{"weight": 2}'`)
  await db.query(sql`delete from lessor.tenants where status = 'suspended' and name like '%9'`)
  t.strictSame(await counted(), { active: 180, suspended: 108 })

  const parts = async () => (await db.query(sql`select from lessor.tenant_counts`)).length
  const before = await parts()
  t.ok(before > 100)
  await Promise.all([foldCounts(db), foldCounts(db), foldCounts(db)])
  t.ok((await parts()) < 10, 'they are summed up now and then')
  t.strictSame(await counted(), { active: 180, suspended: 108 })
  await foldCounts(db)
  t.strictSame(await counted(), { active: 180, suspended: 108 })
})
