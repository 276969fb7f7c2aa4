-- What is left to do on data servers so that tenants' logins can log in, or cannot, as their tenant's status says
-- (src/tenants/suspension.ts). Each suspension and resumption has a line of its own until it has found its tenant's
-- logins as they are to be.
create table lessor.login_settlements (
  id uuid primary key,
  tenant_id uuid not null references lessor.tenants (id) on delete cascade,
  attempts integer not null default 0,
  -- Code of the last attempt's failure.
  error text,
  retry_at timestamptz not null,
  created_at timestamptz not null default now()
);

create index login_settlements_tenant_id on lessor.login_settlements (tenant_id);
create index login_settlements_retry_at on lessor.login_settlements (retry_at);

-- Their logins have been left open until now.
insert into lessor.login_settlements (id, tenant_id, retry_at)
select gen_random_uuid(), id, now() from lessor.tenants where status = 'suspended';

revoke all on lessor.login_settlements from public;
