-- A partition that another shared table refers to cannot be dropped as it is (2BP01): the foreign key has a part of its own
-- for each partition. Detaching takes that part away, and looks whether rows still refer to it.
set local lock_timeout = '5s';

-- lessor.drop_partition drops the partition of a tenant whose rows are gone, from all tables that refer to it as well.
create or replace function lessor.drop_partition(target regclass, tenant uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  leaf regclass;
  has_rows boolean;
begin
  perform lessor.lock_linked(target);
  execute format('lock table only %s in access exclusive mode', target);
  perform lessor.abandon_move(target, tenant);
  leaf := lessor.partition_of(target, tenant);
  if leaf is null then return; end if;
  perform lessor.become_keeper(tenant);
  execute format('select exists (select from %s where tenant_id = %L)', target, tenant) into has_rows;
  perform set_config('role', 'none', true);
  if has_rows then
    raise exception 'table % still holds rows of tenant %', target, tenant using errcode = 'object_not_in_prerequisite_state';
  end if;
  execute format('alter table %s detach partition %s', target, leaf);
  execute format('drop table %s', leaf);
end $$;
