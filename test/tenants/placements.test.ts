import t, { type Test } from 'tap'
import { LessorError } from '../../src/errors.ts'
import { sql } from '../../src/pool/statement.ts'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import { generateVaultKeys } from '../../src/vault/key-ring.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike } from '../support/like.ts'
import { type House, type HouseOptions, NOTHING, openHouse, traces } from './house.ts'

// The life of a tenant in each placement, through the services.

const { url } = await testDatabase(t, { template: 'control' })
/** The same for all, since the login that tenants of `row` share is sealed once. */
const vaultKeys = generateVaultKeys()

/** What is left in the control database of a tenant that lives, and where its tables are. */
const WHOLE = {
  row: { ...NOTHING, tenants: 1, keys: 1 },
  role: { ...NOTHING, tenants: 1, keys: 1, credentials: 1, roles: 1 },
  schema: { ...NOTHING, tenants: 1, keys: 1, credentials: 1, roles: 3, schemas: 1 },
  database: { ...NOTHING, tenants: 1, keys: 1, credentials: 1, roles: 3, databases: 1 },
} as const
const ALL = ['row', 'role', 'schema', 'database'] as const
const OWN_LOGIN = ['schema', 'database'] as const

async function withTenant(
  t: Test,
  placement: PlacementName,
  name: string,
  options: Partial<HouseOptions> = {},
) {
  const house = await openHouse(t, { url, vaultKeys, ...options })
  const { tenant } = await house.tenants.onboard({ name: `${name} in ${placement}`, placement })
  return { ...house, id: tenant.id, tenant }
}

/** add writes a user, as its routes do, and resolves with the number of users there are. */
async function add({ pools }: House, tenantId: string, generation = 1): Promise<number> {
  return pools.use({ tenantId, generation }, new AbortController(), async (db) => {
    await db.query(sql`insert into users (first_name, last_name) values ('Ada', 'Lovelace')`)
    return (await db.query(sql`select from users`)).length
  })
}

async function ended({ tenants }: House, id: string): Promise<void> {
  while ((await tenants.get(id)).job !== null) await new Promise(setImmediate)
}

for (const placement of ALL) {
  t.test(`${placement}: a tenant is onboarded, used, suspended, resumed and deleted`, async (t) => {
    const house = await withTenant(t, placement, 'Whole life')
    const { id, tenants, pools } = house
    like(t, house.tenant, { placement, status: 'active', server: 'default' })
    t.strictSame(await traces(house, id), WHOLE[placement])
    const { tenant: neighbour } = await tenants.onboard({ name: `Neighbour in ${placement}`, placement })
    t.equal(await add(house, neighbour.id), 1)
    t.equal(await add(house, id), 1)
    t.equal(await add(house, id), 2)
    await tenants.suspend(id)
    await pools.evict(id, 'operator')
    await rejectsLike(t, add(house, id, 2), { code: 'TENANT_SUSPENDED' })
    await tenants.resume(id)
    t.equal(await add(house, id, 3), 3)
    await tenants.delete(id)
    while ((await tenants.get(id)).status !== 'deleted') await new Promise(setImmediate)
    t.strictSame(await traces(house, id), { ...NOTHING, tenants: 1 }, 'the tombstone is all that is left')
    t.equal(await add(house, neighbour.id), 2, 'its neighbour is as it was')
    t.strictSame(house.failures, [])
  })
}

for (const placement of OWN_LOGIN) {
  t.test(
    `${placement}: a rotation puts a new login into use, and the old one is gone in the end`,
    async (t) => {
      const house = await withTenant(t, placement, 'Rotated')
      const { id, tenants } = house
      t.equal(await add(house, id), 1)
      for (const [colour, generation] of [
        ['green', 2],
        ['blue', 3],
      ] as const) {
        like(t, await tenants.rotateCredential(id), { colour, generation })
        t.equal(await add(house, id, generation), generation)
        await ended(house, id)
        t.strictSame(await traces(house, id), WHOLE[placement], 'nothing else is left')
        t.equal(await add(house, id, generation), generation + 1)
        await house.pools.use({ tenantId: id, generation }, new AbortController(), (db) =>
          db.query(sql`delete from users where ctid = (select max(ctid) from users)`),
        )
      }
      t.strictSame(house.failures, [])
    },
  )

  for (const method of ['provision', 'check'] as const) {
    t.test(`${placement}: an onboarding whose ${method} fails leaves nothing`, async (t) => {
      let id = ''
      const house = await openHouse(t, {
        url,
        vaultKeys,
        wrap: (each) =>
          new Proxy(each, {
            get: (target, name: keyof typeof each) => {
              const value = target[name]
              if (typeof value !== 'function') return value
              if (name !== method) return value.bind(target)
              return async (...args: never[]) => {
                // The step does its work, and fails after that.
                await (value as (...args: never[]) => unknown).apply(target, args)
                throw new LessorError('SERVER_UNAVAILABLE')
              }
            },
          }),
        afterStep: async (_kind, step) => {
          if (step !== 'reserve') return
          id = (await house.tenants.list({ limit: 1, status: 'provisioning' })).records[0]?.id ?? ''
        },
      })
      const request = { name: `Unlucky ${method} in ${placement}`, placement }
      await rejectsLike(t, house.tenants.onboard(request), { code: 'SERVER_UNAVAILABLE' })
      t.match(id, /^[0-9a-f-]{36}$/)
      t.strictSame(await traces(house, id), NOTHING)
      t.strictSame(house.failures, [])
    })
  }
}

t.test('a tenant without a login of its own has none to rotate, and is told so', async (t) => {
  const house = await withTenant(t, 'row', 'Unrotated')
  const { id, tenants } = house
  await rejectsLike(t, tenants.rotateCredential(id), {
    code: 'PLACEMENT_UNAVAILABLE',
    message: /"row" have no login of their own/,
  })
  like(t, await tenants.get(id), { job: null, generation: 1 })
  t.equal(await add(house, id), 1)
})

t.test('onboarding a tenant of placement row connects nowhere but to the control database', async (t) => {
  let connections = 0
  const house = await openHouse(t, {
    url,
    vaultKeys,
    connect: () => {
      connections += 1
      return Promise.reject(new Error('nobody should connect'))
    },
    wrap: (each) =>
      new Proxy(each, {
        get: (target, name: keyof typeof each) => {
          if (typeof target[name] !== 'function') return target[name]
          return () => {
            throw new Error(`nobody should call ${name}`)
          }
        },
      }),
  })
  const { tenant } = await house.tenants.onboard({ name: 'Only a row', placement: 'row' })
  t.strictSame(await traces(house, tenant.id), WHOLE.row)
  t.equal(connections, 0)
})
