import t, { type Test } from 'tap'
import type { ReadChange } from '../../src/control/changes.ts'
import type { PoolSnapshot } from '../../src/pool/contract.ts'
import { sql } from '../../src/pool/statement.ts'
import { TenantChanges } from '../../src/tenants/tenant-changes.ts'
import { addTenant, openControl } from '../control/helpers.ts'

/** The handler of changes over parts that note what they are told. */
async function open(t: Test) {
  const { db } = await openControl(t)
  const told: string[] = []
  const resident: Pick<PoolSnapshot, 'tenantId'>[] = []
  const note =
    (what: string) =>
    (...args: readonly unknown[]) => {
      told.push([what, ...args.map((arg) => (typeof arg === 'string' ? arg : JSON.stringify(arg)))].join(' '))
    }
  const evicting = (what: string) => async (subject: unknown, reason: string) => {
    note(what)(subject, reason)
    return true
  }
  const changes = new TenantChanges({
    db,
    directory: { forget: note('forget'), forgetAll: note('forget all') },
    authenticator: {
      forget: note('forget key'),
      forgetTenant: note('forget keys of'),
      forgetAll: note('forget all keys'),
    },
    pools: {
      evict: evicting('evict'),
      evictOlder: evicting('evict older than'),
      forgive: note('forgive'),
      snapshots: () => resident as PoolSnapshot[],
    },
    servers: { reload: async () => note('reload servers')() },
  })
  const apply = (change: Partial<ReadChange>) => {
    told.length = 0
    const work = changes.apply({
      version: 1n,
      kind: 'status',
      tenantId: 't',
      keyId: null,
      status: 'active',
      generation: 3,
      ...change,
    })
    return { told: [...told], isWaitedFor: work !== undefined }
  }
  return { db, told, resident, changes, apply }
}

const OLDER = 'evict older than {"tenantId":"t","generation":3} rotation'

t.test('a change is acted on by what the tenant is now', async (t) => {
  const { apply } = await open(t)
  t.strictSame(apply({ status: 'suspended' }), {
    told: ['forget t', 'forgive t', 'evict t suspension'],
    isWaitedFor: true,
  })
  t.strictSame(apply({ status: 'active' }), { told: ['forget t', 'forgive t', OLDER], isWaitedFor: false })
  t.strictSame(apply({ kind: 'quota' }), { told: ['forget t', 'forgive t', OLDER], isWaitedFor: false })
  t.strictSame(apply({ kind: 'rotation' }), { told: ['forget t', 'forgive t', OLDER], isWaitedFor: true })
  for (const status of ['deleting', 'deleted'] as const) {
    t.strictSame(apply({ kind: 'deletion', status }), {
      told: ['forget t', 'forget keys of t', 'evict t deletion'],
      isWaitedFor: true,
    })
  }
  t.strictSame(apply({ kind: 'rotation', status: 'suspended' }).told.at(-1), 'evict t suspension')
  t.strictSame(apply({ kind: 'quota', status: null, generation: null }).told.at(-1), 'evict t deletion')
})

t.test('a revoked key is forgotten, and all of a tenant', async (t) => {
  const { apply } = await open(t)
  t.strictSame(apply({ kind: 'key', keyId: 'k' }), { told: ['forget key k', 'forget t'], isWaitedFor: false })
  t.strictSame(apply({ kind: 'key', keyId: 'k', tenantId: null }).told, ['forget key k'])
  t.strictSame(apply({ kind: 'key' }).told, ['forget t', 'forget keys of t'])
})

t.test('a change of the data servers is applied when they have been read again', async (t) => {
  const { apply } = await open(t)
  t.strictSame(apply({ kind: 'server', tenantId: null, status: null, generation: null }), {
    told: ['reload servers'],
    isWaitedFor: true,
  })
})

t.test('after a gap all is forgotten, and resident pools are looked at in one query', async (t) => {
  const { db, told, resident, changes } = await open(t)
  const [same, suspended, rotated] = [await addTenant(db), await addTenant(db), await addTenant(db)]
  const gone = '00000000-0000-4000-8000-000000000000'
  await db.query(sql`update lessor.tenants set status = 'suspended' where id = ${suspended}`)
  await db.query(sql`update lessor.tenants set generation = 5 where id = ${rotated}`)
  // A tenant whose older pool drains has two.
  resident.push(...[same, suspended, rotated, rotated, gone].map((tenantId) => ({ tenantId })))
  const { query } = db
  let queries = 0
  db.query = (statement) => {
    queries += 1
    return query.call(db, statement) as never
  }
  t.equal((await changes.resync()).length, 4)
  t.equal(queries, 1)
  t.strictSame(told, [
    'forget all',
    'forget all keys',
    'reload servers',
    `evict older than {"tenantId":"${same}","generation":1} rotation`,
    `evict ${suspended} suspension`,
    `evict older than {"tenantId":"${rotated}","generation":5} rotation`,
    `evict ${gone} deletion`,
  ])
})
