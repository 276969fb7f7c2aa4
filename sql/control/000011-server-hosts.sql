-- The way to a data server: further hosts, and what its certificate is checked against.

alter table lessor.servers
  -- [{"host": ..., "port": ...}]: where the server may be besides host and port, as after a failover.
  add column alternates jsonb not null default '[]' check (jsonb_typeof(alternates) = 'array'),
  -- Certificates in PEM, or `system`; null stands for Node's own list. They are public.
  add column root_certificates text;

alter table lessor.servers drop constraint servers_tls_check;
alter table lessor.servers add constraint servers_tls_check
  check (tls in ('disable', 'require', 'verify-ca', 'verify-full'));
