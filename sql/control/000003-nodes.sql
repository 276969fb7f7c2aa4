-- What processes (nodes) that share this database must tell each other: changes, and who is there.

-- The last version given out. Whoever publishes a change raises it in his own transaction, so that
-- the lock on this row puts publishers in the order in which they commit: who has read version n has
-- seen all before it. A sequence would not do, since a lower number may be committed later.
create table lessor.change_counter (
  the_only boolean primary key default true check (the_only),
  version bigint not null default 0 check (version >= 0)
);

insert into lessor.change_counter default values;

-- tenant_id and key_id refer to rows that may be gone by now. Old changes are removed from the low end;
-- a node that finds a gap forgets all that it remembers.
create table lessor.changes (
  version bigint primary key,
  kind text not null check (kind in ('status', 'deletion', 'rotation', 'quota', 'key')),
  tenant_id uuid,
  key_id text,
  created_at timestamptz not null default now()
);

create index changes_created_at on lessor.changes (created_at);

-- A node is a running process. Its lease is a heartbeat of late, by this database's clock; all nodes
-- that share a database are configured with the same time of lease.
create table lessor.nodes (
  id uuid primary key,
  name text not null,
  -- Its process id, and where that means something: so that who starts after a crash on the same machine
  -- need not wait for the lease to run out.
  pid integer not null,
  process_space text,
  -- All changes up to this version have done their work in the node.
  applied bigint not null,
  started_at timestamptz not null default clock_timestamp(),
  heartbeat_at timestamptz not null default clock_timestamp()
);

-- What each node may have of a data server's connections. Written only under the lock on the
-- server's row, so that the shares of live nodes never come to more than the budget.
create table lessor.server_shares (
  server text not null references lessor.servers (name),
  node_id uuid not null references lessor.nodes (id) on delete cascade,
  -- SERVER_MAX_CONNECTIONS of this node; where nodes differ, the least counts.
  budget integer not null check (budget > 0),
  granted integer not null check (granted >= 0),
  used integer not null check (used >= 0),
  primary key (server, node_id)
);

create index server_shares_node_id on lessor.server_shares (node_id);

revoke all on all tables in schema lessor from public;
