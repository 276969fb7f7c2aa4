import { type Statement, sql } from '../pool/statement.ts'
import { HOMES, type Rule, tablesOf } from './rule.ts'

/**
 * The protected shared tables and their partitions; what is not protected breaks other rules. Of a table that Citus
 * distributes no row is here: STATISTICS_NOTICES tells of it.
 */
const TABLES = sql`
  select c.oid, c.relname, c.relnamespace, coalesce(pg_partition_root(c.oid), c.oid) as root
  from (${tablesOf(sql`select * from (${HOMES}) each_home where each_home.shared`)}) c
  where exists (
    select from pg_policy p
    where p.polname = 'tenant_by_setting' and p.polrelid in (c.oid, pg_partition_root(c.oid)))
  and not exists (
    select from pg_trigger t join pg_proc p on p.oid = t.tgfoid
    where t.tgrelid = c.oid and p.proname = 'citus_truncate_trigger')`

/** The columns that a team has named as no secret: a statistics object over each and tenant_id says so (lessor.shown_columns). */
const SHOWN = sql`
  select coalesce(pg_partition_root(s.stxrelid), s.stxrelid) as root, a.attname
  from pg_statistic_ext s
  join pg_attribute t on t.attrelid = s.stxrelid and t.attname = 'tenant_id'
  join pg_attribute a on a.attrelid = s.stxrelid and a.attname <> 'tenant_id'
  where s.stxexprs is null and cardinality(s.stxkeys::smallint[]) = 2
    and s.stxkeys::smallint[] @> array[t.attnum, a.attnum]`

/** HIDDEN is the columns, of tables and of the expressions of indexes, of which nothing may be kept. */
const HIDDEN: Statement = sql`
  select c.oid, c.relname, c.relnamespace, a.attname, coalesce(a.attstattarget, -1) as target
  from (${TABLES}) c join pg_attribute a on a.attrelid = c.oid
  where a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v' and a.attname <> 'tenant_id'
    and (c.root, a.attname) not in (${SHOWN})
  union all
  select x.oid, x.relname, x.relnamespace, a.attname, coalesce(a.attstattarget, -1)
  from (${TABLES}) c join pg_index i on i.indrelid = c.oid join pg_class x on x.oid = i.indexrelid
  join pg_attribute a on a.attrelid = x.oid
  where i.indkey[a.attnum - 1] = 0`

/**
 * UNCLEARED is the target that lessor.hide_statistics leaves where it could not have older values forgotten. By the next
 * ANALYZE they come down to the most frequent value and the two ends of the others; with a target of 0 they would all stay.
 */
const UNCLEARED = 1

/** STATISTICS_RULES hold for what PostgreSQL keeps of shared tables: EXPLAIN tells it to every tenant. */
export const STATISTICS_RULES: readonly Rule[] = [
  {
    name: 'statistics of a shared table are of tenant_id and of columns that were named as no secret',
    broken: sql`
      select h.oid::regclass::text as object, format('PostgreSQL keeps values of column %I', h.attname) as problem
      from (${HIDDEN}) h where h.target not in (0, ${UNCLEARED})`,
  },
  {
    name: 'no values of a shared table’s other columns are left from before',
    broken: sql`
      select h.oid::regclass::text as object, format('values of column %I are there', h.attname) as problem
      from (${HIDDEN}) h join pg_namespace n on n.oid = h.relnamespace
      where exists (
        select from pg_stats s
        where s.schemaname = n.nspname and s.tablename = h.relname and s.attname = h.attname
          -- How many there are of a foreign key's is no value (lessor.note_distinct).
          and num_nonnulls(s.most_common_vals, s.histogram_bounds, s.correlation, s.most_common_elems) > 0)`,
  },
  {
    name: 'no statistics object of a shared table is over other columns',
    broken: sql`
      select format('%I.%I', n.nspname, s.stxname) as object, 'it is over columns that were not named as no secret' as problem
      from pg_statistic_ext s join (${TABLES}) c on c.oid = s.stxrelid join pg_namespace n on n.oid = s.stxnamespace
      where s.stxexprs is not null or exists (
        select from pg_attribute a
        where a.attrelid = c.oid and a.attnum = any (s.stxkeys::smallint[]) and a.attname <> 'tenant_id'
          and (c.root, a.attname) not in (${SHOWN}))`,
  },
]

/** STATISTICS_NOTICES say where values are left since the administrator could not clear them, or cannot see whether they are. */
export const STATISTICS_NOTICES: Statement = sql`
  select format('EXPLAIN tells values of %s, the most frequent and the two ends if not more: %s; a superuser clears them by lessor.hide_statistics(%L)',
    h.oid::regclass, string_agg(quote_ident(h.attname), ', ' order by h.attname),
    coalesce((select i.indrelid from pg_index i where i.indexrelid = h.oid), h.oid)::regclass) as notice
  from (${HIDDEN}) h where h.target = ${UNCLEARED}
  group by h.oid
  union all
  select 'whether values of shared tables are left from before they were hidden is not visible to this administrator, who is bound by row level security; run the proof as a superuser'
  where exists (select from (${TABLES}) c)
    and not (select rolsuper or rolbypassrls from pg_roles where rolname = current_user)
  union all
  select format('%s is distributed by Citus: EXPLAIN tells what its workers keep of its values', t.tgrelid::regclass)
  from pg_trigger t join pg_proc p on p.oid = t.tgfoid and p.proname = 'citus_truncate_trigger'`
