-- What is known here of the application's migrations (sql/app) in the tables that tenants have to
-- themselves (placements schema and database). The truth is the ledger beside the tables; this is how the
-- fleet finds who is behind without asking each.

-- Null for a tenant in shared tables, and until its first migration has been reported.
alter table lessor.tenants add column schema_version integer check (schema_version >= 0);

-- Holds nobody in shared tables, so a million of them do not lengthen it.
create index tenants_schema_version on lessor.tenants ((coalesce(schema_version, 0)))
  where placement in ('schema', 'database') and status in ('active', 'suspended');

-- A run of `lessor migrate`. Only the holder of the claim works on it; once the claim has run out, whoever
-- asks for the same takes it over, and goes on where it stopped.
create table lessor.fleet_runs (
  id uuid primary key,
  -- Number of the last file of sql/app that it knows.
  target integer not null check (target >= 0),
  -- Whom it is for, and how; see src/fleet/fleet.ts.
  filter jsonb not null,
  options jsonb not null,
  -- `stopped` waits to be resumed; `superseded` never will be, since another run was asked for.
  state text not null default 'running' check (state in ('running', 'stopped', 'finished', 'superseded')),
  -- Why it stopped.
  reason text,
  -- Waves that have ended; the next one is larger.
  waves integer not null default 0 check (waves >= 0),
  claimed_by uuid not null,
  claimed_until timestamptz not null,
  -- The holder, for people; and its process, as in lessor.nodes.
  holder text not null,
  pid integer not null,
  process_space text,
  started_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp()
);

-- One at a time.
create unique index fleet_runs_the_open_one on lessor.fleet_runs ((true)) where state in ('running', 'stopped');
create index fleet_runs_started_at on lessor.fleet_runs (started_at);

-- Whom a run is for, in the order of `position`. A tenant under way is `pending` until it is through.
create table lessor.fleet_tenants (
  run_id uuid not null references lessor.fleet_runs (id) on delete cascade,
  tenant_id uuid not null references lessor.tenants (id) on delete cascade,
  position bigint not null,
  is_canary boolean not null default false,
  state text not null default 'pending' check (state in ('pending', 'done', 'failed', 'skipped')),
  attempts integer not null default 0 check (attempts >= 0),
  -- SQLSTATE or code of the last failure; never a message, which may hold data.
  error text,
  updated_at timestamptz not null default clock_timestamp(),
  primary key (run_id, tenant_id)
);

create index fleet_tenants_pending on lessor.fleet_tenants (run_id, position) where state = 'pending';
create index fleet_tenants_tenant_id on lessor.fleet_tenants (tenant_id);

revoke all on all tables in schema lessor from public;
