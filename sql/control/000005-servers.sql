-- Data servers that operators register, beside the one of the configuration.

alter table lessor.servers
  add column labels jsonb not null default '{}' check (jsonb_typeof(labels) = 'object'),
  -- Connections over all nodes; null stands for SERVER_MAX_CONNECTIONS.
  add column max_connections integer check (max_connections > 0),
  -- What the probe found, and when; see src/servers/capabilities.ts. Null until the first probe.
  add column capabilities jsonb,
  add column probed_at timestamptz,
  -- Goes up with every change of the address or of a login, so that nodes make their connections anew.
  add column generation integer not null default 1 check (generation > 0);

-- Sealed logins of the service itself (see src/vault); key_id as in lessor.credentials. The first data
-- server's administrator is not here, since his login comes from the configuration.
create table lessor.server_credentials (
  server text not null references lessor.servers (name) on delete cascade,
  -- `admin` is the administrator; `row` the one login of all tenants of the placement row.
  purpose text not null check (purpose in ('admin', 'row')),
  login text not null,
  envelope bytea not null,
  key_id text not null,
  created_at timestamptz not null default now(),
  primary key (server, purpose)
);

create index server_credentials_key_id on lessor.server_credentials (key_id);

-- A change that is told of as `server` means all data servers.
alter table lessor.changes drop constraint changes_kind_check;
alter table lessor.changes add constraint changes_kind_check
  check (kind in ('status', 'deletion', 'rotation', 'quota', 'key', 'server'));

revoke all on all tables in schema lessor from public;
