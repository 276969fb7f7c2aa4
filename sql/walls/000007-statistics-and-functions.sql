-- Two things that one tenant's login could still do to others:
--
-- - Read values out of the planner. What ANALYZE keeps of a shared table (pg_statistic) holds values of all tenants, and
--   row level security does not stand before estimates: with an operator that is leakproof (=, <, a LIKE with a
--   prefix) EXPLAIN tells whether a value is there, and how often. So no column of a shared table has statistics but
--   tenant_id, and those that a team has named as no secret (lessor.tenant_statistics).
-- - Call functions of PostgreSQL that are not needed to store and read rows, and that fill what the whole cluster
--   shares.
set local lock_timeout = '5s';

-- lessor.shown_columns lists the columns that were named as no secret: those that have a statistics object together
-- with tenant_id and nothing else. The object is the mark, so that it goes along with a dump and with a partition.
create function lessor.shown_columns(target regclass) returns setof name
language sql stable set search_path = pg_catalog, pg_temp as $$
  select distinct a.attname
  from pg_statistic_ext s
  join pg_attribute t on t.attrelid = s.stxrelid and t.attname = 'tenant_id'
  join pg_attribute a on a.attrelid = s.stxrelid and a.attname <> 'tenant_id'
  where s.stxrelid in (
      select target union select relid from pg_partition_tree(coalesce(pg_partition_root(target), target)))
    and s.stxexprs is null and cardinality(s.stxkeys::smallint[]) = 2
    and s.stxkeys::smallint[] @> array[t.attnum, a.attnum]
$$;

-- lessor.is_distributed says whether Citus spreads a table over workers, which keep statistics of their own.
create function lessor.is_distributed(target regclass) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  found_there boolean;
begin
  if to_regclass('pg_catalog.pg_dist_partition') is null then return false; end if;
  execute 'select exists (select from pg_dist_partition where logicalrelid = $1)' into found_there using target;
  return found_there;
end $$;

-- lessor.indexes_of_values lists the indexes of a table that have an expression or a predicate, with the columns in them.
create function lessor.indexes_of_values(target regclass) returns table (index regclass, columns name[])
language sql stable set search_path = pg_catalog, pg_temp as $$
  select i.indexrelid, array(
    select a.attname from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
      and d.refclassid = 'pg_class'::regclass and d.refobjid = target and d.refobjsubid > 0)
  from pg_index i
  where i.indrelid = target and (i.indexprs is not null or i.indpred is not null)
$$;

-- lessor.retype_column gives a column the type that it has, of which PostgreSQL makes nothing but the end of what it
-- knew of the values: the only way before PostgreSQL 18 for an administrator who is no superuser. False where that is not
-- possible (a view or a trigger on the column), or has to wait, or would read a large table: for a check on the column, or
-- for an index that is built again, which is one of an expression or with a predicate, and any of a parent.
create function lessor.retype_column(target regclass, column_name name) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  self record;
  before text := current_setting('lock_timeout');
begin
  -- A parent that was never analyzed does not say how many rows its partitions have.
  select a.*, t.typcollation, t.typstorage, (
      select sum(greatest(c.reltuples, 0)) from pg_class c
      where c.relkind = 'r' and c.oid in (select target union select relid from pg_partition_tree(target))) as stored
  into self
  from pg_attribute a join pg_type t on t.oid = a.atttypid
  where a.attrelid = target and a.attname = column_name;
  if self.stored > 100000 and (
    exists (select from pg_constraint where conrelid = target and contype = 'c' and self.attnum = any (conkey))
    or exists (select from lessor.indexes_of_values(target) where column_name = any (columns))
    or exists (
      select from pg_index i join pg_class c on c.oid = i.indrelid
      where i.indrelid = target and c.relkind = 'p' and self.attnum = any (i.indkey::smallint[]))
  ) then return false; end if;
  perform set_config('lock_timeout', '300ms', true);
  execute concat_ws(' ', format('alter table %s alter column %I type %s', target, column_name,
      format_type(self.atttypid, self.atttypmod)),
    case when self.attcollation <> self.typcollation then (
      select format('collate %I.%I', n.nspname, o.collname)
      from pg_collation o join pg_namespace n on n.oid = o.collnamespace where o.oid = self.attcollation) end);
  if self.attstorage <> self.typstorage then
    execute format('alter table %s alter column %I set storage %s', target, column_name,
      case self.attstorage when 'p' then 'plain' when 'e' then 'external' when 'm' then 'main' else 'extended' end);
  end if;
  if self.attcompression <> '' then
    execute format('alter table %s alter column %I set compression %s', target, column_name,
      case self.attcompression when 'p' then 'pglz' else 'lz4' end);
  end if;
  perform set_config('lock_timeout', before, true);
  return true;
exception when lock_not_available or feature_not_supported or dependent_objects_still_exist or invalid_table_definition
    or object_in_use or insufficient_privilege then
  return false;
end $$;

-- lessor.note_distinct has the planner know how many different values a foreign key's column has, where it would take 200:
-- as many as the other table has rows, of which everybody is told (pg_class.reltuples). No value is in it, and ANALYZE
-- leaves it as it is. Not before PostgreSQL 18 by an administrator who is no superuser.
create function lessor.note_distinct(stored regclass, place smallint) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  self record;
begin
  select n.nspname as schema_name, c.relname, c.relkind = 'p' as is_parent, a.attname,
    case when a.attlen > 0 then a.attlen else 16 end as width,
    case when own.reltuples > 0 and other.reltuples > 0 then - least(1, other.reltuples / own.reltuples) else -0.1 end::real as part
  into self
  from pg_constraint k
  join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = k.conrelid and a.attnum = place
  join pg_class own on own.oid = coalesce(pg_partition_root(k.conrelid), k.conrelid)
  join pg_class other on other.oid = coalesce(pg_partition_root(k.confrelid), k.confrelid)
  where k.conrelid = stored and k.contype = 'f' and k.conkey[2] = place and cardinality(k.conkey) = 2
  limit 1;
  if not found then return; end if;
  if (select rolsuper from pg_roles where rolname = current_user) then
    insert into pg_statistic (starelid, staattnum, stainherit, stanullfrac, stawidth, stadistinct,
      stakind1, stakind2, stakind3, stakind4, stakind5, staop1, staop2, staop3, staop4, staop5,
      stacoll1, stacoll2, stacoll3, stacoll4, stacoll5)
    values (stored, place, self.is_parent, 0, self.width, self.part, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  elsif current_setting('server_version_num')::integer >= 180000 then
    execute $restore$select pg_restore_attribute_stats('schemaname', $1, 'relname', $2, 'attname', $3, 'inherited', $4,
      'null_frac', 0::real, 'avg_width', $5, 'n_distinct', $6)$restore$
    using self.schema_name::text, self.relname::text, self.attname::text, self.is_parent, self.width::integer, self.part;
  end if;
end $$;

-- lessor.hide_statistics has PostgreSQL keep nothing of the values of a shared table's columns, its partitions' and its
-- expression indexes', and forget what it has kept; but of tenant_id, and of the columns that were named as no secret.
-- `columns` takes that name from some. Called by lessor.protect. It locks as ANALYZE does, so that all who read and
-- write go on; before PostgreSQL 18 an administrator who is no superuser has to lock them out for a moment
-- (lessor.retype_column). Where even that is not possible a column keeps a target of 1, and the proof of
-- isolation says so.
create function lessor.hide_statistics(target regclass, columns text[] default '{}') returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  relations regclass[] := array(select target union select relid from pg_partition_tree(target));
  is_superuser boolean := (select rolsuper from pg_roles where rolname = current_user);
  has_clear boolean := current_setting('server_version_num')::integer >= 180000;
  shown name[];
  retyped name[] := '{}';
  stuck name[] := '{}';
  step text;
  item record;
begin
  -- A tenant's own table tells a tenant of itself.
  if exists (
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = target and lessor.tenant_of_schema(n.nspname) is not null
  ) then return; end if;
  if not exists (select from pg_policy where polrelid = target and polname = 'tenant_by_setting') then
    raise exception 'table % is not shared between tenants; call lessor.protect first', target
      using errcode = 'invalid_table_definition';
  end if;
  if lessor.is_distributed(target) then
    raise notice 'table % is distributed: its workers keep statistics of its columns', target;
    return;
  end if;
  shown := array(select shown_column from lessor.shown_columns(target) shown_column where shown_column <> all (columns));
  for step in
    select format('drop statistics %I.%I', n.nspname, s.stxname)
    from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
    where s.stxrelid = any (relations) and (s.stxexprs is not null or exists (
      select from pg_attribute a where a.attrelid = s.stxrelid and a.attnum = any (s.stxkeys::smallint[])
        and a.attname <> 'tenant_id' and a.attname <> all (shown)))
  loop
    execute step;
  end loop;

  for item in
    select a.attrelid::regclass as relation, a.attname as name, a.attnum as position, c.relname, n.nspname as schema_name,
      coalesce(a.attstattarget, -1) <> 0 as is_kept, c.reltuples >= 0 as is_analyzed
    from unnest(relations) relation join pg_class c on c.oid = relation join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid
    where a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'
      and a.attname <> 'tenant_id' and a.attname <> all (shown)
    order by c.relkind = 'p' desc, a.attrelid, a.attnum
  loop
    if item.is_kept and item.is_analyzed and not is_superuser and not has_clear
      and item.name <> all (retyped || stuck) then
      if lessor.retype_column(target, item.name) then
        retyped := retyped || item.name;
      else
        stuck := stuck || item.name;
      end if;
    end if;
    if item.is_kept then
      execute format('alter table only %s alter column %I set statistics %s', item.relation, item.name,
        case when item.name = any (stuck) then 1 else 0 end);
    end if;
    -- Not before the lock of the statement above, which keeps ANALYZE out.
    if is_superuser then
      delete from pg_statistic where starelid = item.relation and staattnum = item.position;
    elsif has_clear then
      execute 'select pg_clear_attribute_stats($1, $2, $3, inherited) from unnest(array[false, true]) inherited'
      using item.schema_name::text, item.relname::text, item.name::text;
    end if;
    perform lessor.note_distinct(item.relation, item.position);
  end loop;

  -- An index is built again along with a column of its expression.
  if not is_superuser and not has_clear then
    for item in
      select distinct on (i.index) i.index, a.attname as name
      from lessor.indexes_of_values(target) i join pg_attribute x on x.attrelid = i.index
      join pg_index p on p.indexrelid = i.index
      join pg_attribute a on a.attrelid = target and a.attname = any (i.columns)
      where p.indkey[x.attnum - 1] = 0 and coalesce(x.attstattarget, -1) <> 0
        and a.attname <> 'tenant_id' and not i.columns && retyped
      order by i.index, a.attnum
    loop
      if item.name = any (retyped || stuck) then continue; end if;
      if lessor.retype_column(target, item.name) then
        retyped := retyped || item.name;
      else
        stuck := stuck || item.name;
      end if;
    end loop;
  end if;

  for item in
    select i.indexrelid::regclass as relation, a.attnum as position, a.attname as name, c.relname, n.nspname as schema_name,
      coalesce(a.attstattarget, -1) <> 0 as is_kept
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = i.indexrelid
    where i.indrelid = any (relations) and i.indkey[a.attnum - 1] = 0
    order by i.indexrelid, a.attnum
  loop
    if item.is_kept then
      execute format('alter index %s alter column %s set statistics %s', item.relation, item.position,
        case when stuck = '{}' then 0 else 1 end);
    end if;
    if is_superuser then
      delete from pg_statistic where starelid = item.relation and staattnum = item.position;
    elsif has_clear then
      execute 'select pg_clear_attribute_stats($1, $2, $3, false)'
      using item.schema_name::text, item.relname::text, item.name::text;
    end if;
  end loop;
  if stuck <> '{}' then
    raise notice 'what PostgreSQL has kept of columns % of table % stays: only a superuser may clear it', stuck, target;
  end if;
end $$;

-- lessor.protect, and what makes partitions, go on as before and hide the statistics of what they have made.
alter function lessor.protect(regclass, text[]) rename to protect_rows;
alter function lessor.partition(regclass) rename to make_parent;
alter function lessor.begin_move(regclass, uuid, text) rename to make_partition;

create function lessor.protect(
  target regclass,
  verbs text[] default array['select', 'insert', 'update', 'delete']
) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform lessor.protect_rows(target, verbs);
  perform lessor.hide_statistics(target);
end $$;

create function lessor.partition(target regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  name text := target::text;
begin
  if lessor.is_partitioned(target) then return; end if;
  perform lessor.make_parent(target);
  -- The name is the parent's now.
  perform lessor.hide_statistics(name::regclass);
end $$;

create function lessor.begin_move(target regclass, tenant uuid, tablespace_name text default null) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform lessor.make_partition(target, tenant, tablespace_name);
  perform lessor.hide_statistics(lessor.partition_name(target, tenant)::regclass);
end $$;

-- lessor.tenant_statistics has ANALYZE remember more tenants (up to `detail` of the most frequent ones). Columns that are
-- named have statistics, and for each how it goes together with the tenant: how many values (ndistinct), which follow
-- from each other (dependencies) and which are frequent (mcv). To name a column is to say that its values are no secret:
-- EXPLAIN then tells every tenant which of them there are, and how often each other tenant has one. Takes
-- effect with the next ANALYZE. Can be run again, for further columns; lessor.hide_statistics takes a name back.
create or replace function lessor.tenant_statistics(
  target regclass,
  columns text[] default null,
  detail integer default 1000
) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  missing text;
  stored regclass;
  schema_name name;
  stored_name name;
  item text;
  statistics_name text;
begin
  select nspname into schema_name from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = target;
  if lessor.tenant_of_schema(schema_name) is not null then return; end if;
  if not exists (select from pg_policy where polrelid = target and polname = 'tenant_by_setting') then
    raise exception 'table % is not shared between tenants; call lessor.protect first', target
      using errcode = 'invalid_table_definition';
  end if;
  if detail not between 1 and 10000 then
    raise exception 'detail must be from 1 to 10000, not %', detail using errcode = 'invalid_parameter_value';
  end if;
  select string_agg(quote_ident(named), ', ') into missing from unnest(columns) named
  where not exists (
    select from pg_attribute where attrelid = target and attname = named and attnum > 0 and not attisdropped
      and attname <> 'tenant_id');
  if missing is not null then
    raise exception 'table % has no column %', target, missing using errcode = 'undefined_column';
  end if;
  execute format('alter table %s alter column tenant_id set statistics %s', target, detail);
  foreach item in array coalesce(columns, '{}') loop
    for stored in select lessor.stored_tables(target) loop
      select nspname, relname into schema_name, stored_name
      from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = stored;
      if exists (
        select from pg_statistic_ext s
        join pg_attribute t on t.attrelid = s.stxrelid and t.attname = 'tenant_id'
        join pg_attribute c on c.attrelid = s.stxrelid and c.attname = item
        where s.stxrelid = stored and s.stxexprs is null and s.stxkeys::smallint[] <@ array[t.attnum, c.attnum]
          and array[t.attnum, c.attnum] <@ s.stxkeys::smallint[]
      ) then continue; end if;
      statistics_name := format('%I.%I', schema_name,
        left(stored_name::text, 40) || '_' || left(md5(stored_name::text || '.' || item), 16));
      execute format('create statistics %s (ndistinct, dependencies, mcv) on tenant_id, %I from %s',
        statistics_name, item, stored);
      execute format('alter statistics %s owner to %I', statistics_name,
        (select pg_get_userbyid(relowner) from pg_class where oid = stored));
    end loop;
    execute format('alter table %s alter column %I set statistics -1', target, item);
  end loop;
end $$;

revoke all on function
  lessor.shown_columns(regclass), lessor.is_distributed(regclass), lessor.retype_column(regclass, name),
  lessor.indexes_of_values(regclass),
  lessor.note_distinct(regclass, smallint),
  lessor.hide_statistics(regclass, text[]), lessor.protect(regclass, text[]), lessor.partition(regclass),
  lessor.begin_move(regclass, uuid, text)
from public;
grant execute on function lessor.protect(regclass, text[]), lessor.hide_statistics(regclass, text[]) to lessor_ddl;

-- The tables that are there. No column has been named as no secret so far.
do $$
declare
  target regclass;
  step text;
begin
  for target in
    select c.oid from pg_class c join pg_policy p on p.polrelid = c.oid and p.polname = 'tenant_by_setting'
    where c.relkind in ('r', 'p') and not c.relispartition
    order by c.oid
  loop
    for step in
      select format('drop statistics %I.%I', n.nspname, s.stxname)
      from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
      where s.stxrelid in (select target union select relid from pg_partition_tree(target))
    loop
      raise notice 'it told of other tenants: %', step;
      execute step;
    end loop;
    perform lessor.hide_statistics(target);
  end loop;
end $$;

-- lessor.close_functions takes from everybody those functions of PostgreSQL that are of no use to programs that store and
-- read rows, and fill what the whole server shares:
-- - pg_logical_emit_message writes to the log of the cluster as fast as it is called, and needs no table.
-- - pg_export_snapshot makes a file at each call.
-- - Advisory locks and large objects where tenants share tables (sql/walls/000005-catalog.sql): each is an entry of the
--   table of locks, of an object when it is removed. Tenants with a schema or a database of their own keep both.
-- Who needs more gets it by GRANT EXECUTE. Only a superuser can do it; anybody else is told so. A superuser calls it where
-- another administrator has made the walls, or after a restore that left out rights. Run again it changes nothing.
create function lessor.close_functions() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  target record;
begin
  for target in
    select p.oid::regprocedure as name, p.proname ~ '^(lo_|pg_(try_)?advisory_)' as is_kept_for_owners
    from pg_proc p
    where p.pronamespace = 'pg_catalog'::regnamespace
      and (p.proname in ('pg_logical_emit_message', 'pg_export_snapshot')
        or current_database() !~ '^t_[0-9a-f]{32}$' and (
          p.proname in ('lo_create', 'lo_creat', 'lo_from_bytea')
          or p.proname ~ '^pg_(try_)?advisory_(xact_)?(lock|unlock)'))
      and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0)
  loop
    if not (select rolsuper from pg_roles where rolname = current_user) then
      raise notice 'functions that hurt other tenants stay open: only a superuser may close them';
      return;
    end if;
    execute format('revoke execute on function %s from public', target.name);
    if target.is_kept_for_owners then
      execute format('grant execute on function %s to lessor_schema, lessor_ddl', target.name);
    end if;
  end loop;
end $$;
revoke all on function lessor.close_functions() from public;

-- The logins of placement `role` make no large objects any more. Those that are there can be read, written and dropped.
do $$
declare
  target record;
begin
  perform lessor.close_functions();
  if current_database() ~ '^t_[0-9a-f]{32}$' or not (select rolsuper from pg_roles where rolname = current_user) then
    return;
  end if;
  for target in
    select oid::regprocedure as name from pg_proc
    where pronamespace = 'pg_catalog'::regnamespace and proname in ('lo_create', 'lo_creat', 'lo_from_bytea')
  loop
    execute format('revoke execute on function %s from lessor_tenant', target.name);
  end loop;
end $$;
