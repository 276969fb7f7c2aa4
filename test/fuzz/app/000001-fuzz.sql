-- What the fuzz asks for, in place of sql/app. Names stand without a schema, as there.

-- A row for each tenant: what an answer must have in it, and no other tenant's answer may.
create table markers (
  tenant_id uuid not null default current_setting('rls.tenant_id')::uuid,
  marker text not null,
  primary key (tenant_id)
);
select lessor.protect('markers');

-- Its columns change while statements read it.
create table moving (
  tenant_id uuid not null default current_setting('rls.tenant_id')::uuid,
  amount integer not null,
  marker text not null,
  primary key (tenant_id)
);
select lessor.protect('moving');

-- What statements write.
create table kept (
  tenant_id uuid not null default current_setting('rls.tenant_id')::uuid,
  id integer not null,
  marker text not null,
  primary key (tenant_id, id)
);
select lessor.protect('kept');

create function raise_own(nonce integer, state text) returns integer language plpgsql as $$
begin
  raise exception using message = 'own error ' || nonce, errcode = state;
end $$;

create function notice_often(times integer) returns integer language plpgsql as $$
begin
  for i in 1 .. times loop
    raise notice 'notice % of %', i, times;
  end loop;
  return times;
end $$;

-- Leaves a setting behind without a trace in the command tag.
create function set_for_session(name text, value text) returns text language sql
  return set_config(name, value, false);

create procedure say_something(nonce integer) language plpgsql as $$
begin
  raise notice 'called with %', nonce;
end $$;
