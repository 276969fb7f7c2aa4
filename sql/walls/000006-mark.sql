-- By what Lessor knows a data server's database again, whatever address leads to it: one row, written when the
-- database is entered as a data server (src/servers/database-mark.ts). A copy of the whole database, as by a dump or
-- by replication, has it too. A tenant's own database has the table and no row.
create table lessor.database_mark (
  is_single boolean primary key default true check (is_single),
  id uuid not null,
  -- Of the control database that knows it (lessor.installation).
  installation uuid not null,
  created_at timestamptz not null default now()
);

revoke all on lessor.database_mark from public;
