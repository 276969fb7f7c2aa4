import { type Db, sql } from '../pool/statement.ts'

/** TenantTable is a table of schema app that holds tenants' rows. */
export interface TenantTable {
  readonly name: string
  /** Whether the asking role may read it. */
  readonly readable: boolean
}

/** tenantTables lists the tables of schema app that hold tenants' rows; partitions go by their parents. */
export async function tenantTables(db: Db): Promise<readonly TenantTable[]> {
  return db.query<TenantTable>(sql`
    select c.relname as name, has_table_privilege(c.oid, 'select') as readable
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
    where n.nspname = 'app' and c.relkind in ('r', 'p') and not c.relispartition
    order by c.relname`)
}
