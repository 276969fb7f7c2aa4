import { type Db, type Statement, sql } from '../pool/statement.ts'
import type { Colour, PlacementName, TenantStatus } from './tenant.ts'

/** UNSETTLED is what is left to do with the logins of the tenant `t`, as UnsettledLogins; null when nothing is. */
export const UNSETTLED: Statement = sql`
  (select json_build_object('wanted', case t.status when 'suspended' then 'closed' else 'open' end,
     'attempts', s.attempts, 'error', s.error)
   from lessor.login_settlements s
   where s.tenant_id = t.id and t.status in ('active', 'suspended')
   order by s.attempts desc limit 1)`

/** Settlement is a line that says that a tenant's logins may not be as they are to be. */
export interface Settlement {
  readonly id: string
  readonly tenantId: string
  readonly server: string
  readonly attempts: number
}

/** Wanted is what a tenant's logins are to be like. */
export interface Wanted {
  readonly status: TenantStatus
  readonly colour: Colour
  readonly placement: PlacementName
  readonly server: string
  readonly isBlocked: boolean
  /** Logins of those who visit the tenant. */
  readonly visitors: readonly string[]
}

const COLUMNS = sql`s.id, s.tenant_id as "tenantId", t.server, s.attempts`
const IS_BLOCKED = sql`
  exists (select from lessor.login_blocks b where b.tenant_id = t.id and b.colour = t.colour)`

/** insertSettlement writes a line of a tenant of this status, which others leave alone for `claimMs`; undefined when it has another. */
export async function insertSettlement(
  db: Db,
  settlement: {
    readonly id: string
    readonly tenantId: string
    readonly status: TenantStatus
    readonly claimMs: number
  },
): Promise<Settlement | undefined> {
  const [row] = await db.query<Settlement>(sql`
    with s as (
      insert into lessor.login_settlements (id, tenant_id, retry_at)
      select ${settlement.id}::uuid, id, now() + ${settlement.claimMs}::integer * interval '1 millisecond'
      from lessor.tenants where id = ${settlement.tenantId}::uuid and status = ${settlement.status}
      returning id, tenant_id, attempts
    )
    select ${COLUMNS} from s join lessor.tenants t on t.id = s.tenant_id`)
  return row
}

/** takeSettlements resolves with lines whose time has come; others leave these alone for `claimMs`. */
export async function takeSettlements(
  db: Db,
  { claimMs, limit }: { readonly claimMs: number; readonly limit: number },
): Promise<readonly Settlement[]> {
  return db.query<Settlement>(sql`
    update lessor.login_settlements s
    set retry_at = now() + ${claimMs}::integer * interval '1 millisecond'
    from lessor.tenants t
    where t.id = s.tenant_id and s.id in (
      select id from lessor.login_settlements where retry_at < now()
      order by retry_at limit ${limit}::integer
      for update skip locked)
    returning ${COLUMNS}`)
}

/** failSettlement notes why an attempt failed, and when the next one comes. */
export async function failSettlement(
  db: Db,
  id: string,
  { error, retryMs }: { readonly error: string; readonly retryMs: number },
): Promise<void> {
  await db.query(sql`
    update lessor.login_settlements
    set attempts = attempts + 1, error = ${error}, retry_at = now() + ${retryMs}::integer * interval '1 millisecond'
    where id = ${id}::uuid`)
}

/** removeSettlement removes a line if its tenant's logins are still to be like this; false when not. */
export async function removeSettlement(db: Db, id: string, wanted: Wanted): Promise<boolean> {
  const rows = await db.query(sql`
    delete from lessor.login_settlements s using lessor.tenants t
    where s.id = ${id}::uuid and t.id = s.tenant_id and t.status = ${wanted.status} and t.colour = ${wanted.colour}
      and ${IS_BLOCKED} = ${wanted.isBlocked}
    returning s.id`)
  return rows.length > 0
}

/** findWanted reads what a tenant's logins are to be like. */
export async function findWanted(db: Db, tenantId: string): Promise<Wanted | undefined> {
  const [row] = await db.query<Wanted>(sql`
    select t.status, t.colour, t.placement, t.server, ${IS_BLOCKED} as "isBlocked",
      coalesce((select json_agg(role) from lessor.visits v where v.tenant_id = t.id and v.valid_until > now()), '[]') as visitors
    from lessor.tenants t where t.id = ${tenantId}::uuid`)
  return row
}
