-- Schema app holds the application's tables. Schema lessor, which tenants cannot see, holds what
-- makes a table of app safe to share between tenants. The group roles are there already (see
-- src/placement/group-roles.ts): lessor_owner owns the tables and cannot log in, lessor_tenant is
-- what every tenant's login is a member of, lessor_keeper removes one tenant's rows.

create schema app authorization lessor_owner;
revoke all on schema app from public;
grant usage on schema app to lessor_tenant, lessor_keeper;

-- lessor.unsafe_reasons says, a sentence each, why a table cannot be shared between tenants.
create function lessor.unsafe_reasons(target regclass) returns setof text
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

-- lessor.protect makes a table of schema app safe to share: owner, default of tenant_id, row level
-- security that binds the owner too, policies, and grants of the named verbs. Can be run again.
-- Policies hold no subquery: it would hide the tenant's own statistics from the planner.
create function lessor.protect(
  target regclass,
  verbs text[] default array['select', 'insert', 'update', 'delete']
) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  reasons text := (select string_agg(reason, '; ') from lessor.unsafe_reasons(target) reason);
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

  execute format('alter table %s owner to lessor_owner', target);
  execute format($sql$
    alter table %s
      alter column tenant_id set not null,
      alter column tenant_id set default current_setting('rls.tenant_id')::uuid,
      enable row level security,
      force row level security$sql$, target);

  execute format('drop policy if exists tenant_by_role on %s', target);
  execute format('create policy tenant_by_role on %s to lessor_tenant using (%s) with check (%s)',
    target, own_role, own_role);
  execute format('drop policy if exists tenant_by_setting on %s', target);
  execute format('create policy tenant_by_setting on %s to lessor_keeper using (%s) with check (%s)',
    target, named, named);

  execute format('revoke all on %s from public, lessor_tenant, lessor_keeper', target);
  execute format('grant %s on %s to lessor_tenant', array_to_string(verbs, ', '), target);
  execute format('grant select, delete on %s to lessor_keeper', target);
end $$;

revoke all on function lessor.unsafe_reasons(regclass), lessor.protect(regclass, text[]) from public;
