-- lessor.tenant_view makes a view of a protected table without tenant_id, for programs that know nothing of
-- tenants: all other columns, rows as the table's policies show them to whoever asks, granted as the table is.
-- Rows can be written through it; tenant_id takes its default. For shared tables and for a tenant's own alike.
-- Run again after a change of columns it makes the view anew.
-- Not a security barrier: the view leaves out a column and no row. Rows are left out by the policies, which
-- PostgreSQL applies before any function of the query that could tell, and a barrier would keep indexes from
-- being used.
create or replace function lessor.tenant_view(target regclass, name text default null) returns regclass
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  self pg_class;
  schema_name name;
  view_name text;
  definition text;
  step text;
begin
  select * into self from pg_class where oid = target;
  select nspname into schema_name from pg_namespace where oid = self.relnamespace;
  if self.relkind not in ('r', 'p') or self.relispartition or not self.relforcerowsecurity
    or not exists (select from pg_policy where polrelid = target and polname = 'tenant_by_role') then
    raise exception 'table % has no walls that a view could rely on; call lessor.protect first', target
      using errcode = 'invalid_table_definition';
  end if;
  view_name := format('%I.%I', schema_name, coalesce(name, 'my_' || self.relname));
  definition := format('with (security_invoker = true) as select %s from %s',
    (select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
     where attrelid = target and attnum > 0 and not attisdropped and attname <> 'tenant_id'), target);
  begin
    execute format('create or replace view %s %s', view_name, definition);
  exception when invalid_table_definition then
    execute format('drop view %s', view_name);
    execute format('create view %s %s', view_name, definition);
  end;
  execute format('alter view %s owner to %I', view_name, pg_get_userbyid(self.relowner));
  execute format('revoke all on %s from public', view_name);
  for step in
    select format('grant %s on %s to %I', string_agg(privilege_type, ', '), view_name, pg_get_userbyid(grantee))
    from aclexplode(self.relacl)
    where privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
      and grantee not in (0, self.relowner, to_regrole('lessor_keeper'))
    group by grantee
  loop
    execute step;
  end loop;
  return view_name::regclass;
end $$;

revoke all on function lessor.tenant_view(regclass, text) from public;
grant execute on function lessor.tenant_view(regclass, text) to lessor_ddl;
