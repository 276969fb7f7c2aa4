-- Namespaces, data servers, tenants, and what belongs to a tenant.
-- Names are unique by their key: the name in NFKC and lower case, made by the service (src/tenants/name.ts),
-- so that uniqueness does not hang on the collation of this database.

create table lessor.namespaces (
  id uuid primary key default gen_random_uuid(),
  name text not null check (char_length(name) between 1 and 63),
  name_key text not null,
  created_at timestamptz not null default now(),
  constraint namespaces_name_key unique (name_key)
);

insert into lessor.namespaces (name, name_key) values ('default', 'default');

-- Administrators' passwords are not here: the first data server's comes from the configuration.
create table lessor.servers (
  name text primary key check (char_length(name) between 1 and 63),
  host text not null,
  port integer not null check (port between 1 and 65535),
  database text not null,
  tls text not null check (tls in ('disable', 'require', 'verify-full')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table lessor.tenants (
  id uuid primary key,
  namespace_id uuid not null references lessor.namespaces (id),
  name text not null check (char_length(name) between 1 and 200),
  name_key text not null,
  placement text not null check (placement in ('row', 'role', 'schema', 'database')),
  server text not null references lessor.servers (name),
  status text not null check (status in ('provisioning', 'active', 'suspended', 'deleting', 'deleted')),
  -- Goes up whenever older pools must drain.
  generation integer not null default 1 check (generation > 0),
  -- Which of the two logins is in use.
  colour text not null default 'blue' check (colour in ('blue', 'green')),
  quota jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

-- A deleted tenant stays as a tombstone and gives its name back.
create unique index tenants_name_key on lessor.tenants (namespace_id, name_key) where status <> 'deleted';
create index tenants_created_at on lessor.tenants (created_at, id);
create index tenants_status on lessor.tenants (status);
create index tenants_server on lessor.tenants (server);

-- Sealed logins (see src/vault). key_id tells which key sealed one, so that a key that is in use
-- cannot be dropped.
create table lessor.credentials (
  tenant_id uuid not null references lessor.tenants (id) on delete cascade,
  colour text not null check (colour in ('blue', 'green')),
  envelope bytea not null,
  key_id text not null,
  generation integer not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, colour)
);

create index credentials_key_id on lessor.credentials (key_id);

-- hash is an argon2id PHC string. A key with a tenant_id is limited to that tenant.
create table lessor.api_keys (
  id text primary key,
  namespace_id uuid not null references lessor.namespaces (id),
  tenant_id uuid references lessor.tenants (id) on delete cascade,
  name text,
  hash text not null,
  created_at timestamptz not null default now(),
  revoked_at timestamptz
);

create index api_keys_namespace_id on lessor.api_keys (namespace_id, created_at);
create index api_keys_tenant_id on lessor.api_keys (tenant_id) where tenant_id is not null;

revoke all on all tables in schema lessor from public;
