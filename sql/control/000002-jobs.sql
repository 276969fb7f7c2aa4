-- Work on a tenant that takes several steps and survives the process that began it.

-- A job is here as long as there is something left to do. `step` is written before the step runs.
-- Only the holder of the claim works on a job; once a claim has run out, anyone may take the job
-- over with a claim of his own. Times are this database's, so that all processes agree about them.
create table lessor.jobs (
  id uuid primary key,
  kind text not null check (kind in ('onboard', 'delete')),
  tenant_id uuid not null references lessor.tenants (id) on delete cascade,
  step text not null,
  -- An onboarding that failed or was cut is undone; a deletion is always finished.
  state text not null default 'running' check (state in ('running', 'undoing')),
  attempts integer not null default 1,
  -- Code of the last failure; never a message.
  error text,
  claimed_by uuid not null,
  claimed_until timestamptz not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint jobs_tenant_id_key unique (tenant_id)
);

create index jobs_claimed_until on lessor.jobs (claimed_until);

-- Answers to requests with an Idempotency-Key. Without a response the first request is under way;
-- when its tenant is removed, the key is free again. The foreign key waits for the end of the
-- transaction, since the key is claimed before the tenant's row is made.
create table lessor.idempotency_keys (
  scope text not null,
  key_hash bytea not null,
  request_hash bytea not null,
  tenant_id uuid not null references lessor.tenants (id) on delete cascade deferrable initially deferred,
  -- Sealed by the vault, since it holds an API key; key_id as in lessor.credentials.
  response bytea,
  key_id text,
  expires_at timestamptz not null,
  primary key (scope, key_hash),
  constraint idempotency_keys_answered check (num_nulls(response, key_id) in (0, 2))
);

create index idempotency_keys_expires_at on lessor.idempotency_keys (expires_at);
create index idempotency_keys_tenant_id on lessor.idempotency_keys (tenant_id);

revoke all on all tables in schema lessor from public;
