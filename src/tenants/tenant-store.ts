import { type Db, type Statement, sql } from '../pool/statement.ts'
import { BLOCK } from './login-block-store.ts'
import { UNSETTLED } from './login-settlement-store.ts'
import type { Name } from './name.ts'
import { CANARY_NAMESPACE } from './namespace.ts'
import type { Colour, PlacementName, Quota, Tenant, TenantRef, TenantStatus } from './tenant.ts'
import { MOVES, type MoveName } from './tenant-status.ts'

const COLUMNS = sql`
  t.id, t.name, n.name as namespace, t.namespace_id as "namespaceId", t.placement, t.server, t.status,
  t.generation, t.colour, t.quota, t.schema_version as "schemaVersion", t.created_at as "createdAt", t.updated_at as "updatedAt",
  case when t.promoted_at is not null then json_build_object('tablespace', t.tablespace,
    'promotedAt', to_char(t.promoted_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) end as partition,
  ${BLOCK} as block, ${UNSETTLED} as "unsettledLogins",
  (select json_build_object('kind', kind, 'step', step, 'attempts', attempts, 'error', error, 'progress', progress)
   from lessor.jobs where tenant_id = t.id) as job`

export interface NewTenant {
  readonly id: string
  readonly name: Name
  readonly namespaceId: string
  readonly placement: PlacementName
  readonly server: string
  readonly quota: Quota
}

/** insertTenant reserves a row in status `provisioning`; false when the name is taken. */
export async function insertTenant(db: Db, tenant: NewTenant): Promise<boolean> {
  const { id, name, namespaceId, placement, server, quota } = tenant
  const rows = await db.query(sql`
    insert into lessor.tenants (id, namespace_id, name, name_key, placement, server, status, quota)
    values (${id}, ${namespaceId}, ${name.text}, ${name.key}, ${placement}, ${server}, 'provisioning',
      ${{ ...quota }})
    on conflict (namespace_id, name_key) where status <> 'deleted' do nothing
    returning id`)
  return rows.length > 0
}

export async function findTenant(db: Db, id: string): Promise<Tenant | undefined> {
  const [row] = await db.query<Tenant>(sql`
    select ${COLUMNS}
    from lessor.tenants t join lessor.namespaces n on n.id = t.namespace_id
    where t.id = ${id}`)
  return row
}

/** findTenants reads many tenants at once, in any order; unknown ids are left out. */
export async function findTenants(db: Db, ids: readonly string[]): Promise<readonly Tenant[]> {
  return db.query<Tenant>(sql`
    select ${COLUMNS}
    from lessor.tenants t join lessor.namespaces n on n.id = t.namespace_id
    where t.id = any(${ids}::uuid[])`)
}

/** findTenantRefs reads the little that a request needs of its tenant, for many at once; unknown ids are left out. */
export async function findTenantRefs(db: Db, ids: readonly string[]): Promise<readonly TenantRef[]> {
  const rows = await db.query<TenantRef>(sql`
    select t.id as "tenantId", t.generation, t.namespace_id as "namespaceId", t.status, ${BLOCK} as block
    from lessor.tenants t
    where t.id = any(${ids}::uuid[])`)
  return rows.map(({ block, ...ref }) => (block ? { ...ref, block } : ref))
}

export interface TenantFilter {
  readonly namespaceId: string | undefined
  /** Without a status, deleted tenants are left out. */
  readonly status: TenantStatus | undefined
  /** Key of the whole name. */
  readonly nameKey: string | undefined
  readonly limit: number
  /** `position` and id of the last tenant of the page before. */
  readonly after: readonly [position: string, id: string] | undefined
}

/** ListedTenant has its time of creation in microseconds since the epoch as well, which a Date cannot hold. */
export interface ListedTenant extends Tenant {
  readonly position: string
}

/** listTenants resolves with tenants, newest first; those that the service tries its walls with only where their namespace is asked for. */
export async function listTenants(db: Db, filter: TenantFilter): Promise<readonly ListedTenant[]> {
  const { namespaceId, status, nameKey, limit, after } = filter
  return db.query<ListedTenant>(sql`
    select ${COLUMNS}, (extract(epoch from t.created_at) * 1000000)::bigint as position
    from lessor.tenants t join lessor.namespaces n on n.id = t.namespace_id
    where ${hasStatus(status)}
      ${namespaceId === undefined ? sql`and n.name_key <> ${CANARY_NAMESPACE}` : sql`and t.namespace_id = ${namespaceId}`}
      ${nameKey === undefined ? sql`` : sql`and t.name_key = ${nameKey}`}
      ${after === undefined ? sql`` : sql`and ${isAfter(after)}`}
    order by t.created_at desc, t.id desc
    limit ${limit}`)
}

/** Says what the indexes of 000008-batch.sql say, since a parameter's value is not known when a plan is made. */
function hasStatus(status: TenantStatus | undefined): Statement {
  if (status === undefined) return sql`t.status <> 'deleted'`
  if (status === 'active') return sql`t.status = 'active' and t.status <> 'deleted'`
  if (status === 'deleted') return sql`t.status = 'deleted' and t.status <> 'active'`
  return sql`t.status = ${status} and t.status not in ('active', 'deleted')`
}

function isAfter([position, id]: readonly [position: string, id: string]): Statement {
  return sql`(t.created_at, t.id)
    < (timestamptz 'epoch' + ${position}::bigint * interval '1 microsecond', ${id}::uuid)`
}

/**
 * moveTenant is the only statement that changes a status; false when the tenant was not in one that
 * the move starts from.
 */
export async function moveTenant(db: Db, id: string, name: MoveName): Promise<boolean> {
  const move = MOVES[name]
  return changed(
    db,
    sql`
    update lessor.tenants
    set status = ${move.to}, generation = generation + ${move.newGeneration ? 1 : 0}, updated_at = now()
    where id = ${id} and status = any(${move.from})
    returning id`,
  )
}

/** renameTenant changes the name of a tenant that lives. @throws SQLSTATE 23505 when it is taken */
export async function renameTenant(db: Db, id: string, name: Name): Promise<boolean> {
  return changed(
    db,
    sql`
    update lessor.tenants
    set name = ${name.text}, name_key = ${name.key}, updated_at = now()
    where id = ${id} and status in ('active', 'suspended')
    returning id`,
  )
}

/** changeQuota sets the quota of a tenant that lives; a quota that differs starts a new generation. */
export async function changeQuota(db: Db, id: string, quota: Quota): Promise<boolean> {
  const value = { ...quota }
  return changed(
    db,
    sql`
    update lessor.tenants
    set quota = ${value}, generation = generation + (quota is distinct from ${value})::integer,
        updated_at = now()
    where id = ${id} and status in ('active', 'suspended')
    returning id`,
  )
}

/**
 * flipColour puts the login of this colour into use, which starts a new generation; false when the
 * tenant does not live, or has no such login, or uses it already.
 */
export async function flipColour(db: Db, id: string, to: Colour): Promise<boolean> {
  return changed(
    db,
    sql`
    update lessor.tenants t
    set colour = ${to}, generation = generation + 1, updated_at = now()
    where id = ${id} and status in ('active', 'suspended') and colour <> ${to}
      and exists (select from lessor.credentials where tenant_id = t.id and colour = ${to})
    returning id`,
  )
}

/** setSchemaVersion notes what a tenant's own tables have been made at. */
export async function setSchemaVersion(db: Db, id: string, version: number): Promise<void> {
  await db.query(sql`update lessor.tenants set schema_version = ${version} where id = ${id}`)
}

/** setPartition notes that a tenant has partitions of its own, in this tablespace, or with undefined that it has none. */
export async function setPartition(
  db: Db,
  id: string,
  partition: { readonly tablespace: string | null } | undefined,
): Promise<void> {
  await db.query(sql`
    update lessor.tenants
    set promoted_at = ${partition === undefined ? sql`null` : sql`coalesce(promoted_at, now())`},
      tablespace = ${partition?.tablespace ?? null}, updated_at = now()
    where id = ${id}`)
}

/** removeReservation takes back what insertTenant made, with all that refers to it. */
export async function removeReservation(db: Db, id: string): Promise<void> {
  await db.query(sql`delete from lessor.tenants where id = ${id} and status = 'provisioning'`)
}

async function changed(db: Db, statement: Statement): Promise<boolean> {
  return (await db.query(statement)).length > 0
}
