import { type Db, sql } from '../pool/statement.ts'
import type { TenantStatus } from './tenant.ts'

/** Fewer rows than this are read faster than they are summed up. */
const WORTH_FOLDING = 100
/** Rows that are summed up at once at most, so that it does not take long. */
const FOLDED_AT_ONCE = 50_000

/** countTenants counts tenants by status, without reading them. */
export async function countTenants(
  db: Db,
): Promise<readonly { readonly status: TenantStatus; readonly count: number }[]> {
  return db.query(sql`
    select status, sum(tenants)::integer as count from lessor.tenant_counts
    group by status having sum(tenants) <> 0`)
}

/** foldCounts sums up what changes have added to the counts. Several at once leave each other's rows alone. */
export async function foldCounts(db: Db): Promise<void> {
  await db.query(sql`
    with gone as (
      delete from lessor.tenant_counts
      where ctid = any(array(
        select ctid from lessor.tenant_counts
        where (select count(*) from (select from lessor.tenant_counts limit ${WORTH_FOLDING}::integer) few) = ${WORTH_FOLDING}::integer
        limit ${FOLDED_AT_ONCE}::integer
        for update skip locked))
      returning server, placement, status, tenants
    )
    insert into lessor.tenant_counts (server, placement, status, tenants)
    select server, placement, status, sum(tenants) from gone group by 1, 2, 3 having sum(tenants) <> 0`)
}
