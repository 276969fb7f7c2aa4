import { type Db, sql } from '../pool/statement.ts'
import type { PlacementName } from '../tenants/tenant.ts'

/** Use is a placement that has tenants on a data server. */
export interface Use {
  readonly server: string
  readonly placement: PlacementName
}

/** listUses finds which placements have tenants where; one look into the index for each, however many tenants there are. */
export async function listUses(db: Db): Promise<readonly Use[]> {
  return db.query<Use>(sql`
    select s.name as server, p.placement
    from lessor.servers s cross join unnest(array['row', 'role', 'schema', 'database']) as p (placement)
    where exists (
      select from lessor.tenants t
      where t.server = s.name and t.placement = p.placement and t.status in ('active', 'suspended'))
    order by s.name, p.placement`)
}

/** Canary is a tenant of ours in a placement. */
export interface Canary {
  readonly id: string
  readonly generation: number
}

/** findCanary finds an active tenant by its name in a namespace. */
export async function findCanary(db: Db, namespace: string, name: string): Promise<Canary | undefined> {
  const [row] = await db.query<Canary>(sql`
    select t.id, t.generation
    from lessor.tenants t join lessor.namespaces n on n.id = t.namespace_id
    where n.name_key = ${namespace} and t.name_key = ${name} and t.status = 'active'`)
  return row
}
