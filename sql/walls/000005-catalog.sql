-- What PostgreSQL lets everybody do in a database that logins share, and that row level security knows nothing of:
-- - advisory locks: their numbers are one room for the whole database, so that a login can hold up another one
--   that uses the same number, and see which are taken. Tenants with a schema of their own keep them, since
--   programs that migrate a schema take such locks.
-- - large objects belong to the login that makes them. Logins of one tenant keep them; the login that all tenants
--   of placement `row` have in common makes none.
-- A tenant alone in its database keeps all of it. Who needs more gets it by GRANT EXECUTE. Only a superuser may take
-- away what belongs to PostgreSQL itself; anybody else leaves it, and the proof of isolation says so.
do $$
declare
  target record;
begin
  if current_database() ~ '^t_[0-9a-f]{32}$' then return; end if;
  if not (select rolsuper from pg_roles where rolname = current_user) then
    raise notice 'advisory locks and large objects stay open: only a superuser may close them';
    return;
  end if;
  for target in
    select oid::regprocedure as name, proname ~ '^lo_' as is_object
    from pg_proc
    where pronamespace = 'pg_catalog'::regnamespace
      and (proname in ('lo_create', 'lo_creat', 'lo_from_bytea')
        or proname ~ '^pg_(try_)?advisory_(xact_)?(lock|unlock)')
  loop
    execute format('revoke execute on function %s from public', target.name);
    execute format('grant execute on function %s to lessor_schema, lessor_ddl', target.name);
    if target.is_object then
      execute format('grant execute on function %s to lessor_tenant', target.name);
    end if;
  end loop;
end $$;
