/**
 * FIXTURE is what an application may have besides its tables: the kinds of objects that a proof meets. Run as an
 * administrator with schema app in front.
 */
export const FIXTURE = `
  set search_path = app;
  create type mood as enum ('calm', 'cross');
  create domain short as text check (char_length(value) < 60);
  create table notes (
    tenant_id uuid,
    id uuid default gen_random_uuid(),
    author uuid not null,
    number bigint generated always as identity,
    body short not null,
    mood mood not null,
    tags text[] not null,
    details jsonb not null,
    due date not null,
    amount numeric(10, 2) not null,
    primary key (tenant_id, id),
    unique (tenant_id, number),
    foreign key (tenant_id, author) references users (tenant_id, id)
  );
  select lessor.protect('notes');

  -- Tenants read it, an administrator writes it.
  create table plans (tenant_id uuid, name text, primary key (tenant_id, name));
  select lessor.protect('plans', array['select']);

  create table events (
    tenant_id uuid, at timestamptz not null default now(), id uuid default gen_random_uuid(), what text,
    primary key (tenant_id, at, id)
  ) partition by range (at);
  create table events_all partition of events default;
  select lessor.protect('events');

  create view people with (security_invoker) as select tenant_id, first_name || ' ' || last_name as name from users;
  alter view people owner to lessor_owner;
  grant select on people to lessor_tenant, lessor_row;
  create view names with (security_invoker) as select first_name from users;
  alter view names owner to lessor_owner;
  grant select on names to lessor_tenant, lessor_row;
  create materialized view totals as select tenant_id, count(*) as users from users group by tenant_id;
  alter materialized view totals owner to lessor_owner;
  create sequence tickets;
  alter sequence tickets owner to lessor_owner;
  create function greet(name text) returns text language sql immutable return 'hello ' || name;
  create function all_names() returns setof text language sql stable as 'select first_name from app.users';
  create procedure noted() language sql as 'select 1';
  reset search_path;
  do $$ begin perform lo_from_bytea(0, 'not yours'); end $$;
`
