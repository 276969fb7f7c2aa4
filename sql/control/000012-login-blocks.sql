-- Logins that the watchdog of a data server has closed (src/servers/watchdog). A block hangs on the login's
-- credential: it is gone when a rotation has withdrawn the login.
create table lessor.login_blocks (
  tenant_id uuid not null,
  colour text not null,
  reason text not null,
  blocked_at timestamptz not null default now(),
  primary key (tenant_id, colour),
  foreign key (tenant_id, colour) references lessor.credentials (tenant_id, colour) on delete cascade
);

revoke all on lessor.login_blocks from public;

-- Whether the node watches the data server: of those that do, the oldest live one is the watcher.
alter table lessor.server_shares add column watches boolean not null default false;
