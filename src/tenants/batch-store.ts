import { type Db, sql } from '../pool/statement.ts'
import type { Name } from './name.ts'
import type { PlacementName, Quota } from './tenant.ts'

/** NewTenants is many tenants that differ in id and name alone. */
export interface NewTenants {
  readonly items: readonly { readonly id: string; readonly name: Name }[]
  readonly namespaceId: string
  readonly placement: PlacementName
  readonly server: string
  readonly quota: Quota
}

/**
 * insertActive makes tenants that are active from the start and resolves with the ids of those whose name
 * and id were free; of two with one name the first. In the order of their names, so that two batches with
 * the same ones wait for each other and do not deadlock.
 */
export async function insertActive(tx: Db, tenants: NewTenants): Promise<ReadonlySet<string>> {
  const { items, namespaceId, placement, server, quota } = tenants
  const rows = await tx.query<{ id: string }>(sql`
    insert into lessor.tenants (id, namespace_id, name, name_key, placement, server, status, quota)
    select item.id, ${namespaceId}::uuid, item.name, item.name_key, ${placement}::text, ${server}::text, 'active',
      ${{ ...quota }}::jsonb
    from unnest(
      ${items.map(({ id }) => id)}::uuid[],
      ${items.map(({ name }) => name.text)}::text[],
      ${items.map(({ name }) => name.key)}::text[]
    ) with ordinality as item (id, name, name_key, position)
    order by item.name_key, item.position
    on conflict do nothing
    returning id`)
  return new Set(rows.map(({ id }) => id))
}

/** findTakenIds resolves with those of the ids that a tenant has, or had. */
export async function findTakenIds(db: Db, ids: readonly string[]): Promise<ReadonlySet<string>> {
  const rows = await db.query<{ id: string }>(sql`
    select id from lessor.tenants where id = any(${ids}::uuid[])`)
  return new Set(rows.map(({ id }) => id))
}
