import { type Db, sql } from '../pool/statement.ts'
import { SYSTEM_SCHEMA } from './rule.ts'

/** ObjectKind is what an object of the catalog is. */
export type ObjectKind =
  | 'table'
  | 'partition'
  | 'view'
  | 'materialized view'
  | 'foreign table'
  | 'sequence'
  | 'function'
  | 'procedure'
  | 'type'
  | 'schema'
  | 'large object'
  | 'system relation'

/** CatalogObject is something in a database that a session could try. */
export interface CatalogObject {
  readonly kind: ObjectKind
  readonly schema: string
  /** As it stands in SQL, quoted and with its schema. */
  readonly name: string
  /** The owner's name. */
  readonly owner: string
  /** Arguments of a call, all null; empty for what is no function. */
  readonly call: string
  readonly hasTenantId: boolean
  /** Whether other tables refer to it. */
  readonly isReferenced: boolean
  readonly isPartitioned: boolean
}

/** readObjects reads every object of a database that is not PostgreSQL's own, and the system's relations. */
export async function readObjects(db: Db): Promise<readonly CatalogObject[]> {
  return db.query<CatalogObject>(sql`
    select case when c.relispartition then 'partition' else case c.relkind
        when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table'
        when 'S' then 'sequence' else 'table' end end as kind,
      n.nspname as schema, format('%I.%I', n.nspname, c.relname) as name, pg_get_userbyid(c.relowner) as owner, '' as call,
      exists (select from pg_attribute a
        where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped) as "hasTenantId",
      exists (select from pg_constraint k where k.confrelid = c.oid and k.contype = 'f') as "isReferenced",
      c.relkind = 'p' as "isPartitioned"
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where not ${SYSTEM_SCHEMA} and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    union all
    select case p.prokind when 'p' then 'procedure' else 'function' end, n.nspname,
      format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), pg_get_userbyid(p.proowner),
      format('%I.%I(%s)', n.nspname, p.proname, (
        select string_agg(case when variadic_type <> 0 and place = p.pronargs then 'variadic ' else '' end
          || format('null::%s', format_type(type, null)), ', ' order by place)
        from unnest(p.proargtypes) with ordinality as args (type, place), (select p.provariadic) v (variadic_type))),
      false, false, false
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    -- An aggregate or a window function runs its parts, which are functions as well.
    where not ${SYSTEM_SCHEMA} and p.prokind in ('f', 'p')
    union all
    select 'type', n.nspname, format('%I.%I', n.nspname, t.typname), pg_get_userbyid(t.typowner), '', false, false, false
    from pg_type t join pg_namespace n on n.oid = t.typnamespace
    where not ${SYSTEM_SCHEMA} and t.typtype in ('d', 'e', 'r', 'm')
      or not ${SYSTEM_SCHEMA} and t.typtype = 'c' and exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c')
    union all
    select 'schema', n.nspname, format('%I', n.nspname), pg_get_userbyid(n.nspowner), '', false, false, false
    from pg_namespace n where n.nspname !~ '^pg_(toast|temp)'
    union all
    select 'large object', '', l.oid::text, pg_get_userbyid(l.lomowner), '', false, false, false from pg_largeobject_metadata l
    union all
    select 'system relation', n.nspname, format('%I.%I', n.nspname, c.relname), pg_get_userbyid(c.relowner), '', false, false, false
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('pg_catalog', 'information_schema') and c.relkind in ('r', 'p', 'v')
    order by kind, name`)
}

/** Column is a column that a row of a table needs a value for. */
export interface Column {
  readonly name: string
  readonly type: string
  /** Category of pg_type, of the base type for a domain. */
  readonly category: string
  readonly isText: boolean
  readonly isRequired: boolean
  readonly hasDefault: boolean
  /** First label of an enum. */
  readonly label: string | null
  /** Table and column that it must have a partner in, and the key's columns there. */
  readonly parent: string | null
  readonly parentColumn: string | null
  readonly isKey: boolean
}

/** readColumns reads the columns of a table that can be written, but tenant_id. `table` is quoted. */
export async function readColumns(db: Db, table: string): Promise<readonly Column[]> {
  return db.query<Column>(sql`
    select quote_ident(a.attname) as name, format_type(a.atttypid, a.atttypmod) as type,
      base.typcategory as category, base.typcategory = 'S' as "isText",
      a.attnotnull and not a.atthasdef and a.attidentity = '' as "isRequired",
      a.atthasdef or a.attidentity <> '' as "hasDefault",
      (select enumlabel from pg_enum where enumtypid = base.oid order by enumsortorder limit 1) as label,
      k.parent, k."parentColumn",
      exists (select from pg_index i
        where i.indrelid = a.attrelid and i.indisunique and a.attnum = any (i.indkey)) as "isKey"
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    join pg_type base on base.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
    left join lateral (
      select format('%I.%I', n.nspname, f.relname) as parent, quote_ident(p.attname) as "parentColumn"
      from pg_constraint k
      cross join lateral unnest(k.conkey, k.confkey) as pair (own, other)
      join pg_class f on f.oid = k.confrelid join pg_namespace n on n.oid = f.relnamespace
      join pg_attribute p on p.attrelid = k.confrelid and p.attnum = pair.other
      where k.contype = 'f' and k.conrelid = a.attrelid and pair.own = a.attnum and k.confrelid <> k.conrelid
      limit 1) k on true
    where a.attrelid = ${table}::regclass and a.attnum > 0 and not a.attisdropped
      and a.attgenerated = '' and a.attidentity <> 'a' and a.attname <> 'tenant_id'
    order by a.attnum`)
}

/** Right is whether the asking role may do something with a table, as PostgreSQL sees it. */
export type Right = 'select' | 'insert' | 'update' | 'delete'

/** readRights asks which verbs a role was granted on a table. */
export async function readRights(db: Db, table: string): Promise<ReadonlySet<Right>> {
  const rows = await db.query<{ verb: Right }>(sql`
    select verb from unnest(array['select', 'insert', 'update', 'delete']) as verb
    where has_table_privilege(${table}, verb)`)
  return new Set(rows.map(({ verb }) => verb))
}
