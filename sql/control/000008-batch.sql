-- What a million tenants need of the control database, and logins for people.

-- By the name first, so that a name is found without its namespace as well.
drop index lessor.tenants_name_key;
create unique index tenants_name_key on lessor.tenants (name_key, namespace_id) where status <> 'deleted';

-- The lists go from the newest tenant backwards: all that live, those of a namespace, and those of a status
-- that few have. Active ones are found among all that live.
drop index lessor.tenants_created_at;
drop index lessor.tenants_status;
create index tenants_listed on lessor.tenants (created_at, id) where status <> 'deleted';
create index tenants_of_namespace on lessor.tenants (namespace_id, created_at, id) where status <> 'deleted';
create index tenants_not_active on lessor.tenants (status, created_at, id) where status <> 'active';

-- How many tenants there are, without reading them: the sum of all rows with the same server, placement
-- and status. Every change adds rows, so that nobody waits for anybody; now and then rows are summed up.
create table lessor.tenant_counts (
  server text not null,
  placement text not null,
  status text not null,
  tenants bigint not null
);

insert into lessor.tenant_counts (server, placement, status, tenants)
select server, placement, status, count(*) from lessor.tenants group by 1, 2, 3;

create function lessor.count_tenants() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    insert into lessor.tenant_counts select server, placement, status, count(*) from added group by 1, 2, 3;
  elsif tg_op = 'DELETE' then
    insert into lessor.tenant_counts select server, placement, status, -count(*) from removed group by 1, 2, 3;
  else
    insert into lessor.tenant_counts
    select server, placement, status, sum(change)
    from (
      select server, placement, status, 1 as change from added
      union all
      select server, placement, status, -1 from removed
    ) as change
    group by 1, 2, 3
    having sum(change) <> 0;
  end if;
  return null;
end $$;

create trigger count_added after insert on lessor.tenants
  referencing new table as added for each statement execute function lessor.count_tenants();
create trigger count_removed after delete on lessor.tenants
  referencing old table as removed for each statement execute function lessor.count_tenants();
create trigger count_changed after update on lessor.tenants
  referencing old table as removed new table as added
  for each statement execute function lessor.count_tenants();

-- The answer to a batch of tenants belongs to none of them.
alter table lessor.idempotency_keys alter column tenant_id drop not null;

-- Logins made for people (lessor connect): which role, for whom, and until when. A row is here from before
-- the role is made until after it is dropped.
create table lessor.visits (
  role text primary key,
  tenant_id uuid not null references lessor.tenants (id) on delete cascade,
  server text not null references lessor.servers (name),
  visitor text not null,
  valid_until timestamptz not null,
  created_at timestamptz not null default now()
);

create index visits_valid_until on lessor.visits (valid_until);
create index visits_tenant_id on lessor.visits (tenant_id);

revoke all on all tables in schema lessor from public;
revoke all on function lessor.count_tenants() from public;
