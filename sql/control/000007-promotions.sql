-- A promotion gives a tenant of shared tables a partition of its own in each of them, a demotion takes it back.
-- Both are jobs, and both are finished by whoever takes them over.

alter table lessor.jobs drop constraint jobs_kind_check;
alter table lessor.jobs add constraint jobs_kind_check
  check (kind in ('onboard', 'delete', 'rotate', 'promote', 'demote'));

alter table lessor.jobs
  -- The tablespace that was asked for.
  add column tablespace text,
  -- How far a long step has come, as operators see it.
  add column progress jsonb;

-- Since when the tenant has its own partitions, and in which tablespace; null is the database's own.
alter table lessor.tenants
  add column promoted_at timestamptz,
  add column tablespace text,
  add constraint tenants_tablespace check (promoted_at is not null or tablespace is null);
