-- What keeps tenants apart in a database: schema lessor, which the tenants' logins cannot use, with the
-- ledgers and with what makes a table safe. The group roles are there already (src/placement/group-roles.ts).
-- Earlier releases had these functions in sql/app, so they may be there as well.

-- Of the shared tables, or of the tenant's own where the database is its own.
create table if not exists lessor.app_migrations (
  version integer primary key,
  name text not null,
  checksum text not null,
  applied_at timestamptz not null default now()
);

-- Of the tables in each tenant's own schema.
create table lessor.schema_migrations (
  schema_name text,
  version integer,
  name text not null,
  checksum text not null,
  applied_at timestamptz not null default now(),
  primary key (schema_name, version)
);

revoke all on lessor.app_migrations, lessor.schema_migrations from public;
grant select, insert on lessor.app_migrations, lessor.schema_migrations to lessor_owner;
grant usage on schema lessor to lessor_owner, lessor_ddl;

-- lessor.tenant_of_schema returns the hexadecimal digits of the tenant whose own schema this is; null
-- for a shared one. A tenant's own are schema t_<32 hex digits> and all of a database of such a name.
create or replace function lessor.tenant_of_schema(schema_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    substring(schema_name from '^t_([0-9a-f]{32})$'),
    substring(current_database() from '^t_([0-9a-f]{32})$'))
$$;

-- lessor.unsafe_reasons says, a sentence each, why a table cannot be shared between tenants.
create or replace function lessor.unsafe_reasons(target regclass) returns setof text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  tenant_column smallint := (
    select attnum from pg_attribute
    where attrelid = target and attname = 'tenant_id' and atttypid = 'uuid'::regtype and not attisdropped);
begin
  if (select relkind not in ('r', 'p') from pg_class where oid = target) then
    return next 'it is not a table';
    return;
  end if;
  -- A parent's grants and policies would show rows that the child's own hide.
  if exists (select from pg_inherits where inhrelid = target or (inhparent = target
    and (select relkind <> 'p' from pg_class where oid = target))) then
    return next 'it is a partition, or inherits or is inherited from';
  end if;
  if tenant_column is null then
    return next 'it has no column tenant_id of type uuid';
    return;
  end if;
  if not exists (select from pg_index where indrelid = target and indisprimary) then
    return next 'it has no primary key';
  end if;
  return query
    select format('the index %s does not start with tenant_id', indexrelid::regclass)
    from pg_index where indrelid = target and indkey[0] <> tenant_column;
  -- Without tenant_id in it, a foreign key tells one tenant which keys another one has.
  return query
    select format('the foreign key %I does not pair tenant_id with tenant_id first', c.conname)
    from pg_constraint c
    left join pg_attribute other
      on other.attrelid = c.confrelid and other.attnum = c.confkey[1] and other.attname = 'tenant_id'
    where c.conrelid = target and c.contype = 'f' and (c.conkey[1] <> tenant_column or other.attnum is null);
end $$;

-- lessor.protect makes a table safe: owner, default of tenant_id, row level security that binds the
-- owner too, policies, and grants of the named verbs. The same for all placements: a table is shared, or
-- lies in a tenant's own schema and is for that tenant alone. Can be run again.
-- Policies hold no subquery: it would hide the tenant's own statistics from the planner.
create or replace function lessor.protect(
  target regclass,
  verbs text[] default array['select', 'insert', 'update', 'delete']
) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  reasons text := (select string_agg(reason, '; ') from lessor.unsafe_reasons(target) reason);
  tenant text := (
    select lessor.tenant_of_schema(n.nspname)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = target);
  owner_role text := coalesce('to_' || tenant, 'lessor_owner');
  own_role text := $own$tenant_id = "right"(current_user::text, 32)::uuid$own$;
  -- Raises when the setting is missing, and when it is '', which it is after SET LOCAL has ended.
  named text := $named$tenant_id = current_setting('rls.tenant_id')::uuid$named$;
begin
  if reasons is not null then
    raise exception 'table % cannot be shared between tenants: %', target, reasons
      using errcode = 'invalid_table_definition';
  end if;
  if cardinality(verbs) is distinct from (
    select count(distinct verb) from unnest(verbs) verb where verb in ('select', 'insert', 'update', 'delete'))
    or cardinality(verbs) = 0 then
    raise exception 'verbs must be some of select, insert, update, delete, each once, not %', verbs
      using errcode = 'invalid_parameter_value';
  end if;

  execute format('alter table %s owner to %I', target, owner_role);
  -- Only where it is not so yet: Citus refuses to alter the column by which a table is distributed.
  if not exists (
    select from pg_attribute a join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = target and a.attname = 'tenant_id' and a.attnotnull
      and pg_get_expr(d.adbin, d.adrelid) = $now$(current_setting('rls.tenant_id'::text))::uuid$now$
  ) then
    execute format($sql$
      alter table %s
        alter column tenant_id set not null,
        alter column tenant_id set default current_setting('rls.tenant_id')::uuid$sql$, target);
  end if;
  execute format('alter table %s enable row level security, force row level security', target);
  execute format('drop policy if exists tenant_by_role on %s', target);
  execute format('drop policy if exists tenant_by_setting on %s', target);

  if tenant is not null then
    execute format('create policy tenant_by_role on %s to %I, %I using (%s) with check (%s)',
      target, 'tu_' || tenant, owner_role, own_role, own_role);
    execute format('revoke all on %s from public, %I', target, 'tu_' || tenant);
    execute format('grant %s on %s to %I', array_to_string(verbs, ', '), target, 'tu_' || tenant);
    return;
  end if;

  execute format('create policy tenant_by_role on %s to lessor_tenant using (%s) with check (%s)',
    target, own_role, own_role);
  execute format('create policy tenant_by_setting on %s to lessor_row, lessor_keeper using (%s) with check (%s)',
    target, named, named);
  execute format('revoke all on %s from public, lessor_tenant, lessor_row, lessor_keeper', target);
  execute format('grant %s on %s to lessor_tenant, lessor_row', array_to_string(verbs, ', '), target);
  execute format('grant select, delete on %s to lessor_keeper', target);
end $$;

-- The ledger of a tenant's own tables, for the session that migrates them: it is logged in as
-- tm_<32 hex digits>_<digits>, which may nothing but be the tenant's owner role, since code of the tenant's
-- may run in it (a trigger, a policy). What it writes here is about this tenant alone.

create or replace function lessor.migrating_tenant() returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select substring(session_user from '^tm_([0-9a-f]{32})_[0-9a-f]+$')
$$;

-- lessor.own_migrations lists what has been applied to the migrating tenant's own tables.
create or replace function lessor.own_migrations()
returns table (version integer, name text, checksum text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select l.version, l.name, l.checksum from lessor.app_migrations l
  where current_database() = 't_' || lessor.migrating_tenant()
  union all
  select l.version, l.name, l.checksum from lessor.schema_migrations l
  where l.schema_name = 't_' || lessor.migrating_tenant()
    and current_database() <> 't_' || lessor.migrating_tenant()
  order by version
$$;

-- lessor.claim_own_migration enters a file into that ledger; false when it is there. Whoever asks at the same
-- time waits for the first one's transaction.
create or replace function lessor.claim_own_migration(file_version integer, file_name text, file_checksum text)
returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  own_schema text := 't_' || lessor.migrating_tenant();
begin
  if own_schema is null then
    raise exception 'only a session that migrates a tenant enters what it has run'
      using errcode = 'insufficient_privilege';
  end if;
  if current_database() = own_schema then
    insert into lessor.app_migrations (version, name, checksum)
    values (file_version, file_name, file_checksum) on conflict do nothing;
  else
    insert into lessor.schema_migrations (schema_name, version, name, checksum)
    values (own_schema, file_version, file_name, file_checksum) on conflict do nothing;
  end if;
  return found;
end $$;

-- They run with their owner's rights, which are not to be an administrator's. Whoever is no superuser may give
-- a function only to a role that may create it.
grant create on schema lessor to lessor_owner;
alter function lessor.own_migrations() owner to lessor_owner;
alter function lessor.claim_own_migration(integer, text, text) owner to lessor_owner;
revoke create on schema lessor from lessor_owner;

revoke all on function
  lessor.tenant_of_schema(text), lessor.unsafe_reasons(regclass), lessor.protect(regclass, text[]),
  lessor.migrating_tenant(), lessor.own_migrations(), lessor.claim_own_migration(integer, text, text)
from public;
grant execute on function lessor.migrating_tenant() to lessor_owner;
-- None of these has rights of its own but the last two, which serve a migrating session alone.
grant execute on function
  lessor.tenant_of_schema(text), lessor.unsafe_reasons(regclass), lessor.protect(regclass, text[]),
  lessor.own_migrations(), lessor.claim_own_migration(integer, text, text)
to lessor_ddl;
