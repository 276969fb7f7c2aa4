-- What the planner knows of tenants in shared tables. A tenant's own tables hold one tenant, of which there is
-- nothing to know, so these functions leave them as they are: the same file of sql/app calls them for all
-- placements. What is collected holds values of all tenants; a tenant's login is shown nothing of a table on
-- which row level security is active for it (pg_stats, pg_stats_ext).

-- lessor.stored_tables lists what holds the rows of a table: itself, or its partitions.
create or replace function lessor.stored_tables(target regclass) returns setof regclass
language sql stable set search_path = pg_catalog, pg_temp as $$
  select relid from pg_partition_tree(target) where isleaf
  union
  select target where (select relkind = 'r' from pg_class where oid = target)
$$;

-- lessor.tenant_statistics has ANALYZE remember more tenants (up to `detail` of the most frequent ones), and for
-- each column how it goes together with the tenant: how many values (ndistinct), which follow from each other
-- (dependencies) and which are frequent (mcv). Columns are those of indexes, unless they are named. Takes effect
-- with the next ANALYZE. Can be run again; partitions that are made later have the same.
create or replace function lessor.tenant_statistics(
  target regclass,
  columns text[] default null,
  detail integer default 1000
) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  wanted text[];
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
  -- Of a key's last column nothing can be said: with the tenant it is unique.
  wanted := coalesce(columns, (
    select array_agg(distinct a.attname::text order by a.attname::text)
    from pg_index i, unnest(i.indkey::smallint[]) with ordinality k (attnum, position)
    join pg_attribute a on a.attnum = k.attnum
    where i.indrelid = target and a.attrelid = target and a.attname <> 'tenant_id' and k.position <= i.indnkeyatts
      and not exists (
        select from pg_index u where u.indrelid = target and u.indisunique and u.indnkeyatts = 2
          and u.indkey[1] = a.attnum)));
  execute format('alter table %s alter column tenant_id set statistics %s', target, detail);
  foreach item in array coalesce(wanted, '{}') loop
    for stored in select lessor.stored_tables(target) loop
      select nspname, relname into schema_name, stored_name
      from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = stored;
      if exists (
        select from pg_statistic_ext s
        join pg_attribute t on t.attrelid = s.stxrelid and t.attname = 'tenant_id'
        join pg_attribute c on c.attrelid = s.stxrelid and c.attname = item
        where s.stxrelid = stored and s.stxkeys::smallint[] <@ array[t.attnum, c.attnum]
          and array[t.attnum, c.attnum] <@ s.stxkeys::smallint[]
      ) then continue; end if;
      statistics_name := format('%I.%I', schema_name,
        left(stored_name::text, 40) || '_' || left(md5(stored_name::text || '.' || item), 16));
      execute format('create statistics %s (ndistinct, dependencies, mcv) on tenant_id, %I from %s',
        statistics_name, item, stored);
      execute format('alter statistics %s owner to %I', statistics_name,
        (select pg_get_userbyid(relowner) from pg_class where oid = stored));
    end loop;
  end loop;
end $$;

-- lessor.analyze_policy has autovacuum analyze a table after a part of its rows that gets smaller as the table
-- grows: of a table of 100 million rows the default would be 10 million, which is all rows of many tenants.
-- `part` sets it for all sizes. Run it again when tables have grown; it takes the number of rows that the last
-- ANALYZE has found.
create or replace function lessor.analyze_policy(target regclass, part real default null) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  stored record;
begin
  if part is not null and (part <= 0 or part > 1) then
    raise exception 'part must be above 0 and at most 1, not %', part using errcode = 'invalid_parameter_value';
  end if;
  for stored in
    select oid::regclass as name, reltuples from pg_class where oid in (select lessor.stored_tables(target))
  loop
    execute format('alter table %s set (autovacuum_analyze_threshold = 500, autovacuum_analyze_scale_factor = %s)',
      stored.name,
      coalesce(part::text, case
        when stored.reltuples < 100000 then '0.1'
        when stored.reltuples < 1000000 then '0.05'
        when stored.reltuples < 10000000 then '0.01'
        else '0.002' end));
  end loop;
end $$;

-- lessor.analyze_state says of each shared table, and each partition, what has changed since the last ANALYZE and
-- whether it is due. Autovacuum analyzes partitions and never their parents, so a parent is due by the changes of
-- its partitions, and is for a maintenance job: `analyze <table>`.
create or replace function lessor.analyze_state()
returns table (name regclass, rows bigint, changes bigint, analyzed_at timestamptz, is_due boolean, reason text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with shared as (
    select c.oid, c.relkind from pg_class c
    where exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'tenant_by_setting')
      and c.relkind in ('r', 'p')
  ), counted as (
    select s.oid, s.relkind,
      sum(greatest(c.reltuples, 0)) as rows,
      sum(coalesce(pg_stat_get_mod_since_analyze(c.oid), 0)) as changes,
      sum(coalesce(
        (select option_value::real from pg_options_to_table(c.reloptions) where option_name = 'autovacuum_analyze_threshold'),
        current_setting('autovacuum_analyze_threshold')::real)
        + greatest(c.reltuples, 0) * coalesce(
        (select option_value::real from pg_options_to_table(c.reloptions) where option_name = 'autovacuum_analyze_scale_factor'),
        current_setting('autovacuum_analyze_scale_factor')::real)) as allowed,
      greatest(pg_stat_get_last_analyze_time(s.oid), pg_stat_get_last_autoanalyze_time(s.oid)) as analyzed_at,
      max(greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid))) as stored_at
    from shared s
    cross join lateral lessor.stored_tables(s.oid) stored
    join pg_class c on c.oid = stored
    group by s.oid, s.relkind
  ), judged as (
    select *, case
      when rows + changes = 0 then null
      when analyzed_at is null then 'it was never analyzed'
      when changes > allowed then 'more rows have changed than its policy allows'
      when relkind = 'p' and stored_at > analyzed_at + interval '1 day' then 'its partitions were analyzed, and it was not'
    end as reason
    from counted
  )
  select oid::regclass, rows::bigint, changes::bigint, analyzed_at, reason is not null, reason
  from judged order by oid::regclass::text
$$;

revoke all on function
  lessor.stored_tables(regclass), lessor.tenant_statistics(regclass, text[], integer),
  lessor.analyze_policy(regclass, real), lessor.analyze_state()
from public;
grant execute on function
  lessor.stored_tables(regclass), lessor.tenant_statistics(regclass, text[], integer),
  lessor.analyze_policy(regclass, real)
to lessor_ddl;
