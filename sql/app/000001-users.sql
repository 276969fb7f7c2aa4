-- The sample resource. Names stand without a schema: the same file makes the shared table, the one in a
-- tenant's own schema and the one in a tenant's own database.
-- Times are kept in milliseconds, as they are shown, so that a time read from an answer and sent
-- back as a filter means the same row.

create table users (
  tenant_id uuid not null default current_setting('rls.tenant_id')::uuid,
  id uuid not null default gen_random_uuid(),
  first_name text not null check (char_length(first_name) between 1 and 200),
  last_name text not null check (char_length(last_name) between 1 and 200),
  confirmed boolean not null default false,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  primary key (tenant_id, id)
);

-- Serves the list's default sort in both directions, and its count without touching the table.
create index users_created_at on users (tenant_id, created_at, id);

select lessor.protect('users');
