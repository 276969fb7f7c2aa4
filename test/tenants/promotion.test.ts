import { randomBytes } from 'node:crypto'
import t from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { withAdmin } from '../support/template.ts'
import { NOTHING, openHouse, traces } from './house.ts'
import { addUsers, layout, settled } from './promoted.ts'

const { url } = await testDatabase(t, { template: 'control' })

t.test('a promoted tenant has its rows in a partition of its own until it is demoted', async (t) => {
  const house = await openHouse(t, { url })
  const { tenants } = house
  const { tenant } = await tenants.onboard({ name: 'large' })
  const { tenant: small } = await tenants.onboard({ name: 'small' })
  await addUsers(house, tenant.id, 30)
  await addUsers(house, small.id, 3)
  like(t, await tenants.get(tenant.id), { partition: null, job: null })

  like(t, await tenants.promote(tenant.id), {
    id: tenant.id,
    job: { kind: 'promote', step: 'begin', progress: null },
  })
  const promoted = await settled(house, tenant.id)
  like(t, promoted, { partition: { tablespace: null, promotedAt: /^\d{4}-\d\d-\d\dT/ }, job: null })
  t.strictSame(await layout(house, tenant.id), { own: 30, left: 0 })
  t.strictSame(await layout(house, small.id), { common: 3, left: 0 })
  await addUsers(house, tenant.id, 2)
  t.strictSame(await layout(house, tenant.id), { own: 32, left: 0 }, 'new rows go there as well')

  await tenants.promote(tenant.id)
  t.strictSame((await settled(house, tenant.id)).partition, promoted.partition, 'a promotion can be repeated')

  like(t, await tenants.demote(tenant.id), { job: { kind: 'demote' } })
  like(t, await settled(house, tenant.id), { partition: null, job: null })
  t.strictSame(await layout(house, tenant.id), { common: 32, left: 0 })
  await tenants.demote(tenant.id)
  like(t, await settled(house, tenant.id), { partition: null }, 'so can a demotion')
  t.strictSame(house.failures, [])
})

t.test('a suspended tenant is promoted, and all tenants keep their walls', async (t) => {
  const house = await openHouse(t, { url })
  const { tenant } = await house.tenants.onboard({ name: 'suspended' })
  await addUsers(house, tenant.id, 5)
  await house.tenants.suspend(tenant.id)
  await house.tenants.promote(tenant.id)
  like(t, await settled(house, tenant.id), { status: 'suspended', partition: Object })
  t.strictSame(await layout(house, tenant.id), { own: 5, left: 0 })
  const leaves = await house.db.query<{ name: string }>(sql`
    select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'lessor_partitions' and c.relkind = 'r'
      and (not c.relrowsecurity or not c.relforcerowsecurity
        or pg_get_userbyid(c.relowner) <> 'lessor_owner'
        or exists (select from aclexplode(c.relacl) where grantee <> c.relowner))`)
  sameRows(t, leaves, [], 'no partition without row security, or with a grant')
  const { tenant: next } = await house.tenants.onboard({ name: 'after that' })
  await addUsers(house, next.id, 1)
  t.strictSame(await layout(house, next.id), { common: 1, left: 0 })
})

t.test('a tenant that is being moved is not deleted, rotated or moved by somebody else', async (t) => {
  let reached: (() => void) | undefined
  const isReached = new Promise<void>((resolve) => {
    reached = resolve
  })
  let goOn: (() => void) | undefined
  const mayGoOn = new Promise<void>((resolve) => {
    goOn = resolve
  })
  const house = await openHouse(t, {
    url,
    afterStep: async (kind, step) => {
      if (kind !== 'promote' || step !== 'copy') return
      reached?.()
      await mayGoOn
    },
  })
  const { tenants } = house
  const { tenant } = await tenants.onboard({ name: 'held' })
  await addUsers(house, tenant.id, 7)
  await tenants.promote(tenant.id)
  await isReached
  like(t, await tenants.get(tenant.id), {
    job: { kind: 'promote', step: 'copy', progress: { table: 'app.users', rows: 0 } },
  })
  for (const work of [
    () => tenants.promote(tenant.id),
    () => tenants.demote(tenant.id),
    () => tenants.delete(tenant.id),
    () => tenants.rotateCredential(tenant.id),
  ]) {
    await rejectsLike(t, work(), { code: 'TENANT_BUSY' })
  }
  await addUsers(house, tenant.id, 2)
  goOn?.()
  await settled(house, tenant.id)
  t.strictSame(
    await layout(house, tenant.id),
    { own: 9, left: 0 },
    'what was written meanwhile has come along',
  )
})

t.test('with a promoted tenant its partitions go', async (t) => {
  const house = await openHouse(t, { url })
  const { tenant } = await house.tenants.onboard({ name: 'to be deleted' })
  await addUsers(house, tenant.id, 4)
  await house.tenants.promote(tenant.id)
  await settled(house, tenant.id)
  await house.tenants.delete(tenant.id)
  like(t, await settled(house, tenant.id), { status: 'deleted' })
  t.strictSame(await traces(house, tenant.id), { ...NOTHING, tenants: 1 })
  sameRows(
    t,
    await house.db.query(sql`
      select relname from pg_class where strpos(relname, replace(${tenant.id}, '-', '')) > 0`),
    [],
  )
  t.strictSame(house.failures, [])
})

t.test('a promotion that cannot be is refused, saying why', async (t) => {
  const house = await openHouse(t, { url })
  const { tenants, db } = house
  const { tenant } = await tenants.onboard({ name: 'refused' })
  const refused = (work: Promise<unknown>, message: RegExp) =>
    rejectsLike(t, work, { code: 'PROMOTION_UNAVAILABLE', message })
  await refused(tenants.promote(tenant.id, { tablespace: 'nowhere' }), /^There is no tablespace "nowhere"\.$/)
  await refused(
    tenants.promote(tenant.id, { tablespace: 'pg_global' }),
    /"pg_global" is not for tables of tenants/,
  )
  await db.query(sql`create table app.extra (tenant_id uuid, id integer, primary key (tenant_id, id))`)
  await db.query(sql`select lessor.protect('app.extra')`)
  await db.query(sql`create materialized view public.counted as select count(*) from app.extra`)
  await refused(
    tenants.promote(tenant.id),
    /^The table app\.extra cannot be partitioned: .*public\.counted depends on it\.$/,
  )
  await refused(
    tenants.promote(tenant.id, { tablespace: 'nowhere' }),
    /^The table app\.extra .* depends on it\. There is no tablespace "nowhere"\.$/,
  )
  like(t, await tenants.get(tenant.id), { job: null, partition: null })
  await db.query(sql`drop materialized view public.counted`)

  const { tenant: own } = await tenants.onboard({ name: 'own schema', placement: 'schema' })
  await refused(tenants.promote(own.id), /placement "schema" has tables of its own already/)
  await refused(tenants.demote(own.id), /has tables of its own already/)
  const unknown = 'c2f0f0a4-6bd4-4c8a-9f0e-3f2b6a9b1c55'
  await rejectsLike(t, tenants.promote(unknown), { code: 'TENANT_NOT_FOUND' })
  await rejectsLike(t, tenants.demote(unknown), { code: 'TENANT_NOT_FOUND' })

  await addUsers(house, tenant.id, 3)
  await tenants.promote(tenant.id, { tablespace: 'pg_default' })
  like(t, await settled(house, tenant.id), { partition: { tablespace: 'pg_default' } })
  like(
    t,
    await db.query(sql`select count(*)::integer from pg_inherits where inhparent = 'app.extra'::regclass`),
    [{ count: 2 }],
  )
  await refused(
    tenants.promote(tenant.id, { tablespace: 'elsewhere' }),
    /in another tablespace; demote it first/,
  )
  await refused(tenants.demote(tenant.id, { maxRows: 2 }), /app\.users holds more than 2 rows of the tenant/)
  await tenants.demote(tenant.id, { maxRows: 3 })
  t.strictSame((await settled(house, tenant.id)).partition, null)
  await tenants.delete(tenant.id)
  await settled(house, tenant.id)
  await rejectsLike(t, tenants.promote(tenant.id), { code: 'TENANT_STATUS_CONFLICT' })
  t.strictSame(house.failures, [])
})

t.test('a promotion ends when a table has become one that cannot be partitioned', async (t) => {
  let isFirst = true
  const house = await openHouse(t, {
    url,
    afterStep: async (kind, step) => {
      if (isFirst && kind === 'promote' && step === 'begin') {
        isFirst = false
        await house.db.query(sql`create materialized view public.late as select count(*) from app.late`)
      }
    },
  })
  const { tenant } = await house.tenants.onboard({ name: 'too late' })
  await house.db.query(sql`create table app.late (tenant_id uuid, id integer, primary key (tenant_id, id))`)
  await house.db.query(sql`select lessor.protect('app.late')`)
  await house.tenants.promote(tenant.id)
  while ((await house.tenants.get(tenant.id)).job !== null) await new Promise(setImmediate)
  like(t, house.failures, [[{ kind: 'promote' }, { code: '42P16' }]], 'it is not tried again')
  like(t, await house.tenants.get(tenant.id), { partition: null })
  await house.db.query(sql`drop materialized view public.late`)
  await house.tenants.promote(tenant.id)
  while ((await house.tenants.get(tenant.id)).job !== null) await new Promise(setImmediate)
  like(t, await house.tenants.get(tenant.id), { partition: Object })
})

t.test('a promotion that is cut by a shutdown is finished by the next process', async (t) => {
  let closing: Promise<void> | undefined
  const first = await openHouse(t, {
    url,
    afterStep: async (kind, step) => {
      if (kind === 'promote' && step === 'partition') closing ??= first.tenants.close()
    },
  })
  const { tenant } = await first.tenants.onboard({ name: 'shut down' })
  await addUsers(first, tenant.id, 11)
  await first.tenants.promote(tenant.id)
  while (closing === undefined) await new Promise(setImmediate)
  await closing
  like(t, await first.tenants.get(tenant.id), {
    job: { kind: 'promote', error: 'SHUTTING_DOWN' },
    partition: null,
  })
  const second = await openHouse(t, { url })
  t.equal(await second.tenants.recover(), 1)
  like(t, await second.tenants.get(tenant.id), { job: null, partition: Object })
  t.strictSame(await layout(second, tenant.id), { own: 11, left: 0 })
})

t.test('a named tablespace holds the partition and its indexes', async (t) => {
  const house = await openHouse(t, { url })
  const tablespace = `fast_${randomBytes(4).toString('hex')}`
  await withAdmin(url, async (admin) => {
    // Beside the data, so that nobody has to make a folder for it.
    await admin`set allow_in_place_tablespaces = on`
    await admin.unsafe(`create tablespace ${tablespace} location ''`)
  })
  const { tenant } = await house.tenants.onboard({ name: 'on fast disks' })
  await addUsers(house, tenant.id, 20)
  await house.tenants.promote(tenant.id, { tablespace })
  like(t, await settled(house, tenant.id), { partition: { tablespace } })
  t.strictSame(await layout(house, tenant.id), { own: 20, left: 0 })
  const inside = () =>
    house.db.query<{ kind: string; there: boolean }>(sql`
      select c.relkind as kind, bool_and(coalesce(s.spcname = ${tablespace}, false)) as there
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      left join pg_tablespace s on s.oid = c.reltablespace
      where n.nspname = 'lessor_partitions'
        and coalesce((select indrelid from pg_index where indexrelid = c.oid), c.oid) in (
          select tableoid from app.users where tenant_id = ${tenant.id})
      group by c.relkind order by c.relkind`)
  sameRows(t, await inside(), [
    { kind: 'i', there: true },
    { kind: 'r', there: true },
  ])
  await house.tenants.demote(tenant.id)
  like(t, await settled(house, tenant.id), { partition: null })
  t.strictSame(await layout(house, tenant.id), { common: 20, left: 0 })
  await withAdmin(url, (admin) => admin.unsafe(`drop tablespace ${tablespace}`))
})
