import { sql } from '../../src/pool/statement.ts'
import type { House } from './house.ts'

/** addUsers gives a tenant as many users through its own pool. */
export async function addUsers(house: House, tenantId: string, count: number): Promise<void> {
  const { generation } = await house.tenants.get(tenantId)
  await house.pools.use({ tenantId, generation }, new AbortController(), (db) =>
    db.query(sql`
      insert into users (tenant_id, first_name, last_name)
      select ${tenantId}::uuid, 'Ada', 'Lovelace' from generate_series(1, ${count}::integer)`),
  )
}

/** layout is where the rows of table users lie: how many of the tenant in which kind of partition, and what a move has left. */
export async function layout({ db }: Pick<House, 'db'>, tenantId: string) {
  const rows = await db.query<{ kind: string; rows: number }>(sql`
    select case when tableoid = lessor.partition_of('app.users', ${tenantId}::uuid) then 'own' else 'common' end as kind,
      count(*)::integer as rows
    from app.users where tenant_id = ${tenantId}::uuid group by 1 order by 1`)
  const [left] = await db.query<{ count: number }>(sql`
    select (
      (select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = 'lessor_partitions' and c.relkind = 'r' and not c.relispartition)
      + (select count(*) from pg_trigger where tgname like 'lessor\\_%')
      + (select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace
         where n.nspname = 'lessor_partitions'))::integer as count`)
  return { ...Object.fromEntries(rows.map(({ kind, rows }) => [kind, rows])), left: left?.count }
}

/** settled resolves with the tenant when no job works on it any more. */
export async function settled({ tenants, failures }: House, tenantId: string) {
  for (;;) {
    const tenant = await tenants.get(tenantId)
    if (tenant.job === null || failures.length > 0) return tenant
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
