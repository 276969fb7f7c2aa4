import { type Db, type Statement, sql } from '../pool/statement.ts'
import type { Colour, Offence, PlacementName, TenantStatus } from './tenant.ts'

/** BLOCK is the block of the login in use of the tenant `t`, as a LoginBlock; null while there is none. */
export const BLOCK: Statement = sql`
  (select json_build_object('reason', reason,
     'blockedAt', to_char(blocked_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
   from lessor.login_blocks where tenant_id = t.id and colour = t.colour)`

/** insertBlock blocks the login of one colour; false when it is blocked already or there is no such login. */
export async function insertBlock(
  db: Db,
  block: { readonly tenantId: string; readonly colour: Colour; readonly reason: Offence },
): Promise<boolean> {
  const rows = await db.query(sql`
    insert into lessor.login_blocks (tenant_id, colour, reason)
    select tenant_id, colour, ${block.reason}::text from lessor.credentials
    where tenant_id = ${block.tenantId}::uuid and colour = ${block.colour}
    on conflict (tenant_id, colour) do nothing
    returning tenant_id`)
  return rows.length > 0
}

/** removeBlock lifts the block of the login of one colour. */
export async function removeBlock(db: Db, tenantId: string, colour: Colour): Promise<void> {
  await db.query(sql`
    delete from lessor.login_blocks where tenant_id = ${tenantId}::uuid and colour = ${colour}`)
}

/** hasBlock says whether the login of one colour is blocked. */
export async function hasBlock(db: Db, tenantId: string, colour: Colour): Promise<boolean> {
  const rows = await db.query(sql`
    select from lessor.login_blocks where tenant_id = ${tenantId}::uuid and colour = ${colour}`)
  return rows.length > 0
}

/** drainBlocked starts a new generation of a tenant whose login in use is of this colour; false when it is not. */
export async function drainBlocked(db: Db, tenantId: string, colour: Colour): Promise<boolean> {
  const rows = await db.query(sql`
    update lessor.tenants set generation = generation + 1, updated_at = now()
    where id = ${tenantId}::uuid and colour = ${colour} and status <> 'deleted'
    returning id`)
  return rows.length > 0
}

/** LoginState is what decides whether a tenant's login may log in. */
export interface LoginState {
  readonly colour: Colour
  readonly status: TenantStatus
  readonly placement: PlacementName
  readonly server: string
  readonly isBlocked: boolean
}

/** findLoginState reads it for the login in use and, by `lock`, keeps a rotation from changing it in the meantime. */
export async function findLoginState(
  db: Db,
  tenantId: string,
  { lock = false }: { readonly lock?: boolean } = {},
): Promise<LoginState | undefined> {
  const [row] = await db.query<LoginState>(sql`
    select t.colour, t.status, t.placement, t.server,
      exists (select from lessor.login_blocks b where b.tenant_id = t.id and b.colour = t.colour) as "isBlocked"
    from lessor.tenants t where t.id = ${tenantId}::uuid ${lock ? sql`for no key update of t` : sql``}`)
  return row
}

/** listBlocked resolves with the blocked logins on a data server. */
export async function listBlocked(
  db: Db,
  server: string,
): Promise<readonly { readonly tenantId: string; readonly colour: Colour }[]> {
  return db.query(sql`
    select b.tenant_id as "tenantId", b.colour
    from lessor.login_blocks b join lessor.tenants t on t.id = b.tenant_id
    where t.server = ${server}`)
}
