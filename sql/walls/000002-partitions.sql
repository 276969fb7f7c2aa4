-- Large tenants in shared tables. A table stays plain until a first tenant is promoted; then it becomes a parent
-- that is partitioned by tenant_id, with the old table as its default partition, which keeps every row and index
-- it has. A promoted tenant has a partition of its own. All of this is for an administrator; the service runs
-- it step by step (src/placement/partitions.ts, docs/sql.md), with a lock_timeout that each step can be tried
-- again after.

-- lessor.stays is what the default partition's check asks of each row: true for every tenant there is. To attach
-- a partition, PostgreSQL reads the whole default partition under an ACCESS EXCLUSIVE lock, for rows that belong
-- into the new one, unless a check proves that there are none. No such check can be made beforehand, since the
-- rows are there until the switch. So the switch, which has just deleted them and keeps all writers out, has this
-- function speak of the tenant that leaves, for as long as its own transaction lasts.
create or replace function lessor.stays(tenant uuid) returns boolean
language sql immutable parallel safe as $$ select $1 <> '00000000-0000-0000-0000-000000000000'::uuid $$;

create or replace function lessor.set_leaving(tenant uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  execute format(
    'create or replace function lessor.stays(tenant uuid) returns boolean '
    'language sql immutable parallel safe as $body$ select $1 <> %L::uuid $body$', tenant);
end $$;

-- lessor.is_partitioned says whether a table has been partitioned by lessor.partition.
create or replace function lessor.is_partitioned(target regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from pg_partitioned_table p
    join pg_attribute a on a.attrelid = p.partrelid and a.attname = 'tenant_id'
    where p.partrelid = target and p.partstrat = 'l' and p.partnatts = 1 and p.partattrs[0] = a.attnum
      and p.partdefid <> 0)
$$;

-- lessor.partition_of returns a tenant's own partition; null when its rows are with everybody else's.
create or replace function lessor.partition_of(target regclass, tenant uuid) returns regclass
language sql stable set search_path = pg_catalog, pg_temp as $$
  select i.inhrelid::regclass
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
  where i.inhparent = target and pg_get_expr(c.relpartbound, c.oid) = format('FOR VALUES IN (%L)', tenant)
$$;

-- lessor.partition_name is what a tenant's partition is called, quoted, with its schema.
create or replace function lessor.partition_name(target regclass, tenant uuid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('lessor_partitions.%I',
    case when octet_length(relname::text) <= 30 then relname::text
      else left(relname::text, 5) || '_' || left(md5(relname::text), 16) end
    || '_' || replace(tenant::text, '-', ''))
  from pg_class where oid = target
$$;

-- lessor.primary_key lists the columns of the primary key in order, quoted.
create or replace function lessor.primary_key(target regclass) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select array_agg(quote_ident(a.attname) order by k.position)
  from pg_index i, unnest(i.indkey::smallint[]) with ordinality k (attnum, position)
  join pg_attribute a on a.attnum = k.attnum
  where i.indrelid = target and i.indisprimary and a.attrelid = target and k.position <= i.indnkeyatts
$$;

-- lessor.written_columns lists the columns that an insert gives values for, quoted.
create or replace function lessor.written_columns(target regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select string_agg(quote_ident(attname), ', ' order by attnum)
  from pg_attribute where attrelid = target and attnum > 0 and not attisdropped and attgenerated = ''
$$;

-- lessor.become_keeper binds the session to one tenant, as the keeper, until the transaction ends or the role is
-- given up: rows are moved behind row level security, so that no mistake here touches another tenant's.
create or replace function lessor.become_keeper(tenant uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('rls.tenant_id', tenant::text, true);
  perform set_config('role', 'lessor_keeper', true);
end $$;

-- lessor.silence_triggers keeps triggers and foreign keys from taking a move for a change, where the
-- administrator may do so; false where not. Until the end of the transaction, or lessor.restore_triggers.
create or replace function lessor.silence_triggers() returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if not has_parameter_privilege('session_replication_role', 'set') then return false; end if;
  perform set_config('session_replication_role', 'replica', true);
  return true;
end $$;

-- lessor.partition_problems says, a sentence each, why a table cannot be partitioned by tenant.
create or replace function lessor.partition_problems(target regclass) returns setof text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  version integer := current_setting('server_version_num')::integer;
  self pg_class;
begin
  select * into self from pg_class where oid = target;
  return query select lessor.unsafe_reasons(target);
  if found or lessor.is_partitioned(target) then return; end if;
  if (select lessor.tenant_of_schema(nspname) from pg_namespace where oid = self.relnamespace) is not null then
    return next 'it belongs to one tenant';
    return;
  end if;
  if not self.relforcerowsecurity or pg_get_userbyid(self.relowner) <> 'lessor_owner' then
    return next 'lessor.protect has not been called for it';
  end if;
  if self.relkind = 'p' then return next 'it is partitioned in another way'; return; end if;
  if self.relpersistence <> 'p' then return next 'it is not a permanent table'; end if;
  if self.reloftype <> 0 then return next 'it is a table of a type'; end if;
  if self.relreplident <> 'd' then return next 'its replica identity is not the default'; end if;
  return query
    select format('there are grants on its column %I', attname)
    from pg_attribute where attrelid = target and attacl is not null and not attisdropped;
  return query
    select format('the index %I is not valid', indexrelid::regclass::text)
    from pg_index where indrelid = target and not (indisvalid and indisready);
  return query
    select case
      when conrelid = confrelid then format('the foreign key %I refers to the table itself', conname)
      when confrelid = target then format('the foreign key %I of %s, which is partitioned, refers to it', conname, conrelid::regclass)
      when contype = 'x' then format('PostgreSQL %s has no exclusion constraints for partitioned tables, as %I is', version / 10000, conname)
      when contype in ('p', 'u') then format('the constraint %I can be deferred', conname)
      when contype = 't' then format('the constraint trigger %I cannot be on a partitioned table', conname)
      else format('the constraint %I is not valid', conname) end
    from pg_constraint
    where (conrelid = target or confrelid = target) and conparentid = 0 and (
      contype = 'f' and conrelid = confrelid
      or contype = 'f' and confrelid = target
        and (select relkind = 'p' or relispartition from pg_class where oid = conrelid)
      or contype = 'x' and version < 170000
      or contype in ('p', 'u') and condeferrable
      or contype = 't'
      or conrelid = target and not convalidated and conname <> 'lessor_stays');
  return query
    select format('the trigger %I has transition tables', tgname)
    from pg_trigger where tgrelid = target and not tgisinternal and tgtype & 1 = 1
      and coalesce(tgoldtable, tgnewtable) is not null;
  -- What refers to a table refers to it by its number, which the default partition keeps.
  return query
    select distinct pg_describe_object(d.classid, d.objid, 0) || ' depends on it'
    from pg_depend d
    left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
    left join pg_class v on v.oid = r.ev_class
    left join pg_constraint c on d.classid = 'pg_constraint'::regclass and c.oid = d.objid
    left join pg_trigger t on d.classid = 'pg_trigger'::regclass and t.oid = d.objid
    left join pg_policy p on d.classid = 'pg_policy'::regclass and p.oid = d.objid
    left join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
    left join pg_class i on d.classid = 'pg_class'::regclass and i.oid = d.objid
    where (d.refclassid, d.refobjid) in (('pg_class'::regclass, target), ('pg_type'::regclass, self.reltype))
      and d.deptype <> 'i'
      and not coalesce(v.relkind = 'v' and r.rulename = '_RETURN', false)
      and not coalesce(c.conrelid = target or c.confrelid = target, false)
      and not coalesce(t.tgrelid = target, false)
      and not coalesce(p.polrelid = target, false)
      and not coalesce(f.adrelid = target, false)
      and not coalesce(i.relkind in ('i', 't') or (i.relkind = 'S' and d.deptype = 'a'), false)
      and d.classid <> 'pg_statistic_ext'::regclass;
  if not has_parameter_privilege('session_replication_role', 'set') then
    return query
      select format('the administrator may not set session_replication_role, so that the trigger %I would take a move for a change', tgname)
      from pg_trigger where tgrelid = target and not tgisinternal and tgname not like 'lessor\_%'
      union all
      select format('the administrator may not set session_replication_role, so that the foreign key %I would take a move for a change', conname)
      from pg_constraint where confrelid = target and contype = 'f';
  end if;
end $$;

-- lessor.fit_partition adds the check that lessor.stays is for. It is validated apart, which lets everybody
-- go on: `alter table ... validate constraint lessor_stays`.
create or replace function lessor.fit_partition(target regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from pg_constraint where conrelid = target and conname = 'lessor_stays') then return; end if;
  execute format('alter table %s add constraint lessor_stays check (lessor.stays(tenant_id)) not valid', target);
end $$;

-- lessor.lock_linked locks the tables at the other ends of foreign keys, before the table itself: whoever writes
-- a row here goes on to them, and must not wait for us there.
create or replace function lessor.lock_linked(target regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  step text;
begin
  for step in
    select format('lock table only %s in access exclusive mode', conrelid::regclass) from pg_constraint
    where confrelid = target and contype = 'f' and conrelid <> target
    union
    select format('lock table only %s in share row exclusive mode', confrelid::regclass) from pg_constraint
    where conrelid = target and contype = 'f' and confrelid <> target
  loop
    execute step;
  end loop;
end $$;

-- lessor.partition turns a protected table into a parent that is partitioned by tenant_id, with the old table as
-- its default partition: no row is moved. Grants, policies, keys, indexes, triggers, defaults, sequences, views
-- and comments are the parent's afterwards, under their names; the default partition keeps no grant.
-- Foreign keys of other tables are left NOT VALID for this moment; validate them. Can be run again.
create or replace function lessor.partition(target regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  problems text;
  self pg_class;
  parent text;
  rest text;
  before text[];
  after text[];
  last text[];
  step text;
  identity record;
begin
  if lessor.is_partitioned(target) then return; end if;
  perform lessor.lock_linked(target);
  execute format('lock table %s in access exclusive mode', target);
  if lessor.is_partitioned(target) then return; end if;
  problems := (select string_agg(problem, '; ') from lessor.partition_problems(target) problem);
  if problems is not null then
    raise exception 'table % cannot be partitioned: %', target, problems using errcode = 'invalid_table_definition';
  end if;
  perform lessor.fit_partition(target);
  execute format('alter table %s validate constraint lessor_stays', target);

  if to_regnamespace('lessor_partitions') is null then
    create schema lessor_partitions authorization lessor_owner;
    revoke all on schema lessor_partitions from public;
    grant usage on schema lessor_partitions to lessor_keeper;
  end if;
  select * into self from pg_class where oid = target;
  parent := format('%I.%I', (select nspname from pg_namespace where oid = self.relnamespace), self.relname);
  rest := format('lessor_partitions.%I', self.relname);

  -- All of these are text that names the table, and so means the parent once that has the name.
  select array_agg(line order by position, line) into after from (
    select 1 as position, format('alter table %s add constraint %I %s', parent, conname, pg_get_constraintdef(oid)) as line
    from pg_constraint where conrelid = target and contype in ('p', 'u', 'x', 'f') and conparentid = 0
    union all
    select 2, pg_get_indexdef(i.indexrelid)
    from pg_index i
    where i.indrelid = target
      and not exists (select from pg_constraint where conindid = i.indexrelid and conrelid = target and contype in ('p', 'u', 'x'))
    union all
    select 3, format('create policy %I on %s as %s for %s to %s', polname, parent,
        case when polpermissive then 'permissive' else 'restrictive' end,
        case polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
        (select string_agg(case role when 0 then 'public' else quote_ident(pg_get_userbyid(role)) end, ', ') from unnest(polroles) role))
      || coalesce(' using (' || pg_get_expr(polqual, polrelid) || ')', '')
      || coalesce(' with check (' || pg_get_expr(polwithcheck, polrelid) || ')', '')
    from pg_policy where polrelid = target
    union all
    select 4, format('grant %s on %s to %s%s', privilege_type, parent,
      case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end,
      case when is_grantable then ' with grant option' else '' end)
    from aclexplode(self.relacl) where grantee <> self.relowner
    union all
    select 5, pg_get_triggerdef(oid) from pg_trigger where tgrelid = target and not tgisinternal
    union all
    select 6, format('alter table %s %s trigger %I', parent,
      case tgenabled when 'D' then 'disable' when 'A' then 'enable always' else 'enable replica' end, tgname)
    from pg_trigger where tgrelid = target and not tgisinternal and tgenabled <> 'O'
    union all
    select 7, format('alter sequence %s owned by %s.%I', d.objid::regclass, parent, a.attname)
    from pg_depend d join pg_attribute a on a.attrelid = target and a.attnum = d.refobjsubid
    where d.refobjid = target and d.refclassid = 'pg_class'::regclass and d.classid = 'pg_class'::regclass
      and d.deptype = 'a' and (select relkind = 'S' from pg_class where oid = d.objid)
    union all
    select 8, format('comment on %s is %L', what, text) from (
      select format('table %s', parent) as what, obj_description(target, 'pg_class') as text
      union all
      select format('constraint %I on %s', conname, parent), obj_description(oid, 'pg_constraint')
      from pg_constraint where conrelid = target and contype in ('p', 'u', 'x', 'f') and conparentid = 0
      union all
      select format('index %s', indexrelid::regclass), obj_description(indexrelid, 'pg_class')
      from pg_index where indrelid = target
      union all
      select format('trigger %I on %s', tgname, parent), obj_description(oid, 'pg_trigger')
      from pg_trigger where tgrelid = target and not tgisinternal
      union all
      select format('policy %I on %s', polname, parent), obj_description(oid, 'pg_policy')
      from pg_policy where polrelid = target
    ) comment where text is not null
  ) line;
  -- After the default partition has been attached.
  select array_agg(line order by position) into last from (
    select 1 as position, format('alter table %s add constraint %I %s not valid', conrelid::regclass, conname, pg_get_constraintdef(oid)) as line
    from pg_constraint where confrelid = target and contype = 'f' and conrelid <> target and conparentid = 0
    union all
    select 2, format('create or replace view %s%s as %s', v.oid::regclass,
      ' with (' || (select string_agg(format('%I = %L', option_name, option_value), ', ') from pg_options_to_table(v.reloptions)) || ')',
      pg_get_viewdef(v.oid))
    from (
      select distinct r.ev_class from pg_depend d join pg_rewrite r on r.oid = d.objid
      where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = target
    ) view join pg_class v on v.oid = view.ev_class
    where v.oid <> target
    union all
    select 3, format('revoke all on %s from %s', rest,
      case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end)
    from aclexplode(self.relacl) where grantee <> self.relowner group by grantee
  ) line;
  select array_agg(line order by position) into before from (
    select 1 as position, format('alter table %s drop constraint %I', conrelid::regclass, conname) as line
    from pg_constraint where confrelid = target and contype = 'f' and conrelid <> target and conparentid = 0
    union all
    select 2, format('drop trigger %I on %s', tgname, parent) from pg_trigger where tgrelid = target and not tgisinternal
    union all
    select 3, format('alter sequence %s owned by none', d.objid::regclass)
    from pg_depend d
    where d.refobjid = target and d.refclassid = 'pg_class'::regclass and d.classid = 'pg_class'::regclass
      and d.deptype = 'a' and (select relkind = 'S' from pg_class where oid = d.objid)
    union all
    select 4, format('alter table %s set schema lessor_partitions', parent)
    union all
    select 5, format('create table %s (like %s including all excluding indexes excluding statistics) partition by list (tenant_id)',
      parent, rest)
    union all
    select 6, format('alter table %s drop constraint lessor_stays', parent)
    union all
    select 7, format('alter table %s owner to %I', parent, pg_get_userbyid(self.relowner))
    union all
    select 8, format('alter table %s enable row level security', parent)
    union all
    select 9, format('alter table %s force row level security', parent)
  ) line;

  foreach step in array before loop execute step; end loop;
  for identity in
    select attname, pg_get_serial_sequence(parent, attname) as theirs, pg_get_serial_sequence(rest, attname) as ours
    from pg_attribute where attrelid = target and attidentity <> '' and not attisdropped
  loop
    execute format('select setval(%L, last_value, is_called) from %s', identity.theirs, identity.ours);
    execute format('alter table %s alter column %I drop identity', rest, identity.attname);
  end loop;
  foreach step in array after loop execute step; end loop;
  execute format('alter table %s attach partition %s default', parent, rest);
  foreach step in array last loop execute step; end loop;

  -- A statement with tenant_id = $1 has the partition in its plan only when it is planned for that tenant.
  begin
    execute format('alter database %I set plan_cache_mode = force_custom_plan', current_database());
  exception when insufficient_privilege then
    raise notice 'plan_cache_mode of database % could not be set', current_database();
  end;
end $$;

-- lessor.abandon_move removes what an unfinished move has left: a partition that is not attached, with its log.
create or replace function lessor.abandon_move(target regclass, tenant uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  rest regclass := (select partdefid::regclass from pg_partitioned_table where partrelid = target);
  move text := format('lessor_partitions.%I', format('move_%s_%s', target::oid, replace(tenant::text, '-', '')));
  leaf text := lessor.partition_name(target, tenant);
  name text;
begin
  for name in
    select tgname from pg_trigger where tgrelid = rest and tgfoid = to_regproc(move)
  loop
    execute format('drop trigger %I on %s', name, rest);
  end loop;
  if to_regproc(move) is not null then execute format('drop function %s()', move); end if;
  execute format('drop table if exists %s', move);
  if to_regclass(leaf) is not null and lessor.partition_of(target, tenant) is null then
    execute format('drop table %s', leaf);
  end if;
end $$;

-- lessor.begin_move makes the partition that a tenant will have, not attached yet, and has every change of the
-- tenant's rows noted from now on. What an earlier try has left is removed first.
create or replace function lessor.begin_move(target regclass, tenant uuid, tablespace_name text default null) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  rest regclass := (select partdefid::regclass from pg_partitioned_table where partrelid = target);
  move_name text := format('move_%s_%s', target::oid, replace(tenant::text, '-', ''));
  move text := format('lessor_partitions.%I', move_name);
  leaf text := lessor.partition_name(target, tenant);
  key_columns text[] := lessor.primary_key(target);
  named text := $named$tenant_id = current_setting('rls.tenant_id')::uuid$named$;
  step text;
  event record;
begin
  perform lessor.abandon_move(target, tenant);
  perform set_config('default_tablespace', coalesce(tablespace_name, ''), true);
  execute format('create table %s (like %s including all excluding identity)', leaf, rest);
  for step in
    select format('alter table %s alter column %I set statistics %s', leaf, attname, attstattarget)
    from pg_attribute where attrelid = rest and attnum > 0 and not attisdropped and attstattarget >= 0
    union all
    select format('alter table %s alter column %I set (%s)', leaf, attname, array_to_string(attoptions, ', '))
    from pg_attribute where attrelid = rest and attoptions is not null and not attisdropped
    union all
    select format('alter table %s set (%s)', leaf, array_to_string(reloptions, ', '))
    from pg_class where oid = rest and reloptions is not null
    union all
    select format('alter table %s add constraint %I %s', leaf, conname, pg_get_constraintdef(oid))
    from pg_constraint where conrelid = target and contype = 'f' and conparentid = 0
  loop
    execute step;
  end loop;
  execute format('alter table %s drop constraint lessor_stays', leaf);
  -- Spares the attachment a look at every row.
  execute format('alter table %s add constraint lessor_only check (tenant_id = %L)', leaf, tenant);
  execute format('alter table %s owner to lessor_owner', leaf);
  execute format('alter table %s enable row level security, force row level security', leaf);
  execute format('create policy tenant_by_setting on %s to lessor_keeper using (%s) with check (%s)', leaf, named, named);
  execute format('grant select, insert, delete on %s to lessor_keeper', leaf);

  perform set_config('default_tablespace', '', true);
  execute format('create table %s as select %s from only %s with no data', move, array_to_string(key_columns, ', '), rest);
  execute format('grant select, delete on %s to lessor_keeper', move);
  execute format($body$
    create function %1$s() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $trigger$
    begin
      if tg_op <> 'INSERT' then insert into %1$s values (%2$s); end if;
      if tg_op <> 'DELETE' then insert into %1$s values (%3$s); end if;
      return null;
    end $trigger$ $body$, move,
    (select string_agg('old.' || name, ', ' order by position) from unnest(key_columns) with ordinality k (name, position)),
    (select string_agg('new.' || name, ', ' order by position) from unnest(key_columns) with ordinality k (name, position)));
  execute format('revoke all on function %s() from public', move);
  -- The switch itself deletes as the keeper. ALWAYS: also what is written with triggers silenced.
  for event in
    select * from (values
      ('insert', format('new.tenant_id = %L', tenant)),
      ('update', format('(old.tenant_id = %1$L or new.tenant_id = %1$L)', tenant)),
      ('delete', format('old.tenant_id = %L', tenant))) e (verb, concerns)
  loop
    execute format($sql$create trigger %I after %s on %s for each row
      when (%s and current_user <> 'lessor_keeper') execute function %s()$sql$,
      format('lessor_%s_%s', event.verb, replace(tenant::text, '-', '')), event.verb, rest, event.concerns, move);
    execute format('alter table %s enable always trigger %I', rest,
      format('lessor_%s_%s', event.verb, replace(tenant::text, '-', '')));
  end loop;
end $$;

-- lessor.copy_rows copies the tenant's next rows in the order of the primary key; false when there are no more.
create or replace function lessor.copy_rows(target regclass, tenant uuid, batch integer) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  leaf text := lessor.partition_name(target, tenant);
  key_columns text[] := (lessor.primary_key(target))[2:];
  named text := lessor.written_columns(target);
  copied_to text;
  picked bigint;
  added bigint;
begin
  perform lessor.silence_triggers();
  perform lessor.become_keeper(tenant);
  if key_columns <> '{}' then
    execute format('select concat_ws('', '', %s) from %s order by %s limit 1',
      (select string_agg(format('quote_literal(%s)', name), ', ' order by position) from unnest(key_columns) with ordinality k (name, position)),
      leaf,
      (select string_agg(name || ' desc', ', ' order by position) from unnest(key_columns) with ordinality k (name, position)))
    into copied_to;
  end if;
  execute format($sql$
    with picked as (
      select %1$s from %2$s where tenant_id = %3$L%4$s order by %5$s limit %6$s
    ), added as (
      insert into %7$s (%1$s) overriding system value select %1$s from picked on conflict do nothing returning 1
    )
    select (select count(*) from picked), (select count(*) from added)$sql$,
    named, target, tenant,
    case when copied_to is null then '' else format(' and (%s) > (%s)', array_to_string(key_columns, ', '), copied_to) end,
    case when key_columns = '{}' then '1' else array_to_string(key_columns, ', ') end,
    batch, leaf)
  into picked, added;
  perform set_config('role', 'none', true);
  -- A row that clashes with one that has changed since is noted, and comes with the changes.
  return picked = batch and added > 0;
end $$;

-- lessor.checksum_of is a query for the number of a tenant's rows in a table, and a sum over their hashes that
-- does not depend on their order.
create or replace function lessor.checksum_of(source text, named text, tenant uuid) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select format($sql$
    select count(*) as rows, coalesce(sum(hashtextextended(row_of::text, 0)::numeric), 0) as checksum
    from (select %s from %s where tenant_id = %L) row_of$sql$, named, source, tenant)
$$;

-- lessor.apply_changes brings the partition to the tenant's rows as this transaction sees them, which has to be
-- one of REPEATABLE READ, and returns how many changes there were. Count and checksum of what it wrote are
-- compared; with `everything`, of all rows of the tenant.
create or replace function lessor.apply_changes(target regclass, tenant uuid, everything boolean default false) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  leaf text := lessor.partition_name(target, tenant);
  move text := format('lessor_partitions.%I', format('move_%s_%s', target::oid, replace(tenant::text, '-', '')));
  key_columns text := array_to_string(lessor.primary_key(target), ', ');
  named text := lessor.written_columns(target);
  qualified text := 'row_of.' || replace(named, ', ', ', row_of.');
  all_there text := lessor.checksum_of(target::text, named, tenant);
  all_here text := lessor.checksum_of(leaf, named, tenant);
  changes bigint;
  there record;
  here record;
begin
  if current_setting('transaction_isolation') not in ('repeatable read', 'serializable') then
    raise exception 'changes are applied in one snapshot' using errcode = 'active_sql_transaction';
  end if;
  perform lessor.silence_triggers();
  -- Few rows of many: by their keys.
  perform set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true);
  perform lessor.become_keeper(tenant);
  execute format('delete from %s where (%s) in (select distinct %s from %s)', leaf, key_columns, key_columns, move);
  execute format($sql$
    insert into %1$s (%2$s) overriding system value
    select %3$s from (select distinct %4$s from %5$s) noted
    join %6$s row_of using (%4$s) where row_of.tenant_id = %7$L$sql$,
    leaf, named, qualified, key_columns, move, target, tenant);
  execute format($sql$
    select count(*) as rows, coalesce(sum(hashtextextended(row_of::text, 0)::numeric), 0) as checksum
    from (select distinct %1$s from %2$s) noted
    join (select %3$s from %4$s where tenant_id = %5$L) row_of using (%1$s)$sql$,
    key_columns, move, named, target, tenant) into there;
  execute format($sql$
    select count(*) as rows, coalesce(sum(hashtextextended(row_of::text, 0)::numeric), 0) as checksum
    from (select distinct %1$s from %2$s) noted join (select %3$s from %4$s) row_of using (%1$s)$sql$,
    key_columns, move, named, leaf) into here;
  if here is distinct from there then
    raise exception 'of table %, % changed rows of tenant % are % in its partition, or differ', target, there.rows, tenant, here.rows
      using errcode = 'integrity_constraint_violation';
  end if;
  execute format('delete from %s', move);
  get diagnostics changes = row_count;
  perform set_config('enable_hashjoin', 'on', true), set_config('enable_mergejoin', 'on', true);
  if everything then
    execute all_there into there;
    execute all_here into here;
    if here is distinct from there then
      raise exception 'of table %, % rows of tenant % are % in its partition, or differ', target, there.rows, tenant, here.rows
        using errcode = 'integrity_constraint_violation';
    end if;
  end if;
  perform set_config('role', 'none', true);
  return changes;
end $$;

-- lessor.switch_locks is a script that keeps the writers of a table out until the transaction ends; readers go on.
-- With a partition PostgreSQL makes triggers on the tables at the other ends of foreign keys; they are locked first
-- and less, so that whoever has written a row here can look there and end.
create or replace function lessor.switch_locks(target regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select string_agg(format('lock table only %s in %s mode', locked, strength), '; ' order by position, locked)
  from (
    select 1 as position, conrelid::regclass::text as locked, 'share row exclusive' as strength
    from pg_constraint where confrelid = target and contype = 'f' and conrelid <> target
    union
    select 2, confrelid::regclass::text, 'share row exclusive'
    from pg_constraint where conrelid = target and contype = 'f' and confrelid <> target
    union
    select 3, partrelid::regclass::text, 'exclusive' from pg_partitioned_table where partrelid = target
    union
    select 4, partdefid::regclass::text, 'exclusive' from pg_partitioned_table where partrelid = target
  ) lock
$$;

-- lessor.finish_move is the switch, in a transaction that keeps all writers of the table out already and after
-- the last changes have been applied in another: deletes the tenant's rows from the default partition, which
-- readers go on to see, then waits until nobody reads the table, and attaches the new one.
create or replace function lessor.finish_move(target regclass, tenant uuid) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  rest regclass := (select partdefid::regclass from pg_partitioned_table where partrelid = target);
  move text := format('lessor_partitions.%I', format('move_%s_%s', target::oid, replace(tenant::text, '-', '')));
  leaf text := lessor.partition_name(target, tenant);
  noted boolean;
  copied bigint;
  moved bigint;
  tries integer := 0;
begin
  perform lessor.silence_triggers();
  perform lessor.become_keeper(tenant);
  execute format('select exists (select from %s)', move) into noted;
  execute format('select count(*) from %s', leaf) into copied;
  execute format('delete from %s where tenant_id = %L', target, tenant);
  get diagnostics moved = row_count;
  perform set_config('role', 'none', true);
  if noted or moved <> copied then
    raise exception 'of table %, % rows of tenant % are % in its partition, or have changed', target, moved, tenant, copied
      using errcode = 'integrity_constraint_violation';
  end if;
  loop
    -- Who has read the table in a transaction and now waits for us to write will not end before we do. Whoever
    -- comes to wait after this look is told of the deadlock only after a second, and we wait for less.
    if exists (
      select from pg_locks reader join pg_locks writer using (virtualtransaction)
      where reader.relation in (target, rest) and reader.granted and reader.pid <> pg_backend_pid()
        and not writer.granted and writer.relation in (target, rest)
    ) then
      raise exception 'a transaction that has read table % waits for it', target using errcode = 'lock_not_available';
    end if;
    begin
      -- The parent too, and first: a reader who has looked up its partitions already, and waits for the default
      -- one alone, would find the rows nowhere.
      execute format('lock table only %s, only %s in access exclusive mode', target, rest);
      exit;
    exception when lock_not_available then
      tries := tries + 1;
      if tries = 5 then raise; end if;
    end;
  end loop;
  perform lessor.set_leaving(tenant);
  execute format('alter table %s attach partition %s for values in (%L)', target, leaf, tenant);
  perform lessor.set_leaving('00000000-0000-0000-0000-000000000000');
  execute format('revoke all on %s from lessor_keeper', leaf);
  perform lessor.abandon_move(target, tenant);
  return moved;
end $$;

-- lessor.count_rows counts a tenant's rows, up to a limit.
create or replace function lessor.count_rows(target regclass, tenant uuid, row_limit bigint) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  found_rows bigint;
begin
  perform lessor.become_keeper(tenant);
  execute format('select count(*) from (select from %s where tenant_id = %L limit %s) few', target, tenant, row_limit)
  into found_rows;
  perform set_config('role', 'none', true);
  return found_rows;
end $$;

-- lessor.return_rows puts a tenant's rows back to everybody else's, compares count and checksum, and drops its
-- partition. The table stands still meanwhile, for readers too, so there is a limit to the number of rows.
create or replace function lessor.return_rows(target regclass, tenant uuid, row_limit bigint) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  rest regclass := (select partdefid::regclass from pg_partitioned_table where partrelid = target);
  leaf regclass;
  named text := lessor.written_columns(target);
  all_here text := lessor.checksum_of(rest::text, named, tenant);
  all_there text;
  source text;
  found_rows bigint;
  there record;
  here record;
begin
  perform lessor.lock_linked(target);
  execute format('lock table only %s in access exclusive mode', target);
  leaf := lessor.partition_of(target, tenant);
  if leaf is null then return 0; end if;
  execute format('lock table only %s, only %s in access exclusive mode', rest, leaf);
  source := leaf::text;
  execute format('grant select, delete on %s to lessor_keeper', leaf);
  execute format('grant select, insert on %s to lessor_keeper', rest);
  all_there := lessor.checksum_of(leaf::text, named, tenant);
  perform lessor.become_keeper(tenant);
  execute format('select count(*) from (select from %s limit %s) few', leaf, row_limit + 1) into found_rows;
  if found_rows > row_limit then
    raise exception 'table % holds more than % rows of the tenant, and would stand still for too long', target, row_limit
      using errcode = 'program_limit_exceeded';
  end if;
  execute all_there into there;
  perform set_config('role', 'none', true);
  -- No partition goes whose rows other tables refer to; they are out of it for this moment.
  if exists (select from pg_constraint where confrelid = target and contype = 'f') then
    source := format('lessor_partitions.%I', format('back_%s_%s', target::oid, replace(tenant::text, '-', '')));
    execute format('create table %s (like %s including generated)', source, leaf);
    execute format('grant select, insert on %s to lessor_keeper', source);
    perform lessor.silence_triggers();
    perform lessor.become_keeper(tenant);
    execute format('insert into %1$s (%2$s) select %2$s from %3$s', source, named, leaf);
    execute format('delete from %s', leaf);
    perform set_config('role', 'none', true);
  end if;
  execute format('alter table %s detach partition %s', target, leaf);
  perform lessor.silence_triggers();
  perform lessor.become_keeper(tenant);
  execute format('insert into %1$s (%2$s) overriding system value select %2$s from %3$s', rest, named, source);
  execute all_here into here;
  perform set_config('role', 'none', true);
  if here is distinct from there then
    raise exception 'of table %, % rows of tenant % came back as %, or differ', target, there.rows, tenant, here.rows
      using errcode = 'integrity_constraint_violation';
  end if;
  execute format('revoke all on %s from lessor_keeper', rest);
  if source <> leaf::text then execute format('drop table %s', source); end if;
  execute format('drop table %s', leaf);
  return here.rows;
end $$;

-- lessor.drop_partition drops the partition of a tenant whose rows are gone.
create or replace function lessor.drop_partition(target regclass, tenant uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  leaf regclass;
  has_rows boolean;
begin
  perform lessor.lock_linked(target);
  execute format('lock table only %s in access exclusive mode', target);
  perform lessor.abandon_move(target, tenant);
  leaf := lessor.partition_of(target, tenant);
  if leaf is null then return; end if;
  perform lessor.become_keeper(tenant);
  execute format('select exists (select from %s where tenant_id = %L)', target, tenant) into has_rows;
  perform set_config('role', 'none', true);
  if has_rows then
    raise exception 'table % still holds rows of tenant %', target, tenant using errcode = 'object_not_in_prerequisite_state';
  end if;
  execute format('drop table %s', leaf);
end $$;

revoke all on function
  lessor.stays(uuid), lessor.set_leaving(uuid), lessor.is_partitioned(regclass), lessor.partition_of(regclass, uuid),
  lessor.partition_name(regclass, uuid), lessor.primary_key(regclass), lessor.written_columns(regclass),
  lessor.become_keeper(uuid), lessor.silence_triggers(),
  lessor.partition_problems(regclass), lessor.fit_partition(regclass),
  lessor.lock_linked(regclass), lessor.partition(regclass),
  lessor.abandon_move(regclass, uuid), lessor.begin_move(regclass, uuid, text),
  lessor.copy_rows(regclass, uuid, integer), lessor.apply_changes(regclass, uuid, boolean),
  lessor.checksum_of(text, text, uuid), lessor.switch_locks(regclass), lessor.finish_move(regclass, uuid),
  lessor.count_rows(regclass, uuid, bigint), lessor.return_rows(regclass, uuid, bigint), lessor.drop_partition(regclass, uuid)
from public;
-- Whoever writes a row of a shared table is asked by its check. None of them can name the function.
grant execute on function lessor.stays(uuid) to lessor_owner, lessor_tenant, lessor_row, lessor_keeper;
