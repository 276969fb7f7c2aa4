-- By what a data server's database is known again; see sql/walls/000006-mark.sql.

-- This control database, and every copy of it.
create table lessor.installation (
  is_single boolean primary key default true check (is_single),
  id uuid not null default gen_random_uuid()
);

insert into lessor.installation default values;

-- The mark in the server's database. Null until it was read or written for the first time.
alter table lessor.servers add column mark uuid;
create unique index servers_mark on lessor.servers (mark);

revoke all on lessor.installation from public;
