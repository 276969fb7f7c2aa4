import t from 'tap'
import { moveBack, moveOut } from '../../src/placement/partition-moves.ts'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { like, sameRows } from '../support/like.ts'
import { fill, TRAFFIC_TABLES, Traffic } from './partition-traffic.ts'
import { openAdmin, openTenant, type ProvisionedTenant, provisionTenant, rolePlacement } from './support.ts'

const COUNT = 1_000

t.test('nobody sees a row missing or double while a tenant is moved out and back', async (t) => {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const placement = rolePlacement()
  await placement.prepare(admin)
  await admin.transaction((tx) => tx.script(TRAFFIC_TABLES))
  const [large, other] = [
    await provisionTenant(t, placement, admin),
    await provisionTenant(t, placement, admin),
  ]
  const open = (tenant: ProvisionedTenant) => openTenant(t, url, placement, tenant)
  await fill(await open(large), COUNT)
  await fill(await open(other), 50)
  const traffics = [new Traffic('large', COUNT), new Traffic('other', 50)]
  for (const [traffic, tenant] of [
    [traffics[0], large],
    [traffics[1], other],
  ] as const) {
    traffic?.counts(await open(tenant), tenant.id)
    traffic?.transfers(await open(tenant))
    traffic?.writes(await open(tenant), 'first')
    traffic?.writes(await open(tenant), 'second')
  }
  const steps: string[] = []
  const options = {
    signal: new AbortController().signal,
    batchRows: 300,
    note: async (step: string, { table }: { table: string }) => {
      if (steps.at(-1) !== `${step} ${table}`) steps.push(`${step} ${table}`)
    },
  }
  const partitions = (table: string) =>
    admin.query(sql`
    select c.relname as name, c.oid is not distinct from lessor.partition_of(${table}::text::regclass, ${large.id}::uuid) as "isOwn"
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = ${table}::text::regclass order by 1`)
  for (const direction of ['out', 'back']) {
    await Promise.all(traffics.map((traffic) => traffic.served()))
    if (direction === 'out') {
      // A demotion cannot offer this: what it has put back is not there for who looks back.
      const lookers = new Traffic('looking back', COUNT)
      lookers.looksBack(await open(large))
      await moveOut(admin, large.id, { ...options, tablespace: undefined })
      await lookers.served()
      await lookers.stop()
      t.strictSame(lookers.failures, [])
      like(t, await partitions('app.accounts'), [{ isOwn: false }, { isOwn: true }])
    } else {
      await moveBack(admin, large.id, { ...options, rowLimit: 1_000_000 })
      like(t, await partitions('app.accounts'), [{ isOwn: false }])
    }
  }
  await Promise.all(traffics.map((traffic) => traffic.served()))
  await Promise.all(traffics.map((traffic) => traffic.stop()))
  t.strictSame(
    traffics.flatMap(({ failures }) => failures),
    [],
  )
  for (const [traffic, tenant, count] of [
    [traffics[0], large, COUNT],
    [traffics[1], other, 50],
  ] as const) {
    const db = await open(tenant)
    const rows = await db.query<{ note: string; hits: number }>(
      sql`select note, hits from events where note <> 'made' order by note collate "C"`,
    )
    sameRows(
      t,
      rows,
      [...(traffic?.acknowledged ?? [])].map(([note, hits]) => ({ note, hits })).sort(byNote),
      'every acknowledged write is there once',
    )
    sameRows(t, await db.query(sql`select count(*)::integer as made from events where note = 'made'`), [
      { made: count },
    ])
  }
  t.strictSame(
    steps.slice(0, 4),
    ['partition', 'copy', 'verify', 'switch'].map((step) => `${step} app.accounts`),
  )
})

function byNote(a: { readonly note: string }, b: { readonly note: string }): number {
  return a.note < b.note ? -1 : 1
}
