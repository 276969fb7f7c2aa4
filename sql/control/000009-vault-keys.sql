-- The ids of the keys that seal (VAULT_KEYS; see src/vault), so that a process whose keys are others is found out.

create table lessor.vault_keys (
  id text primary key check (id ~ '^[A-Za-z0-9_-]{1,32}$'),
  -- A text that is no secret, sealed with the key: whether other bytes go by the same id. Null until a process that
  -- has the key starts.
  proof bytea,
  -- When a process last said that it seals with this key. Null for a key that only opens.
  sealing_at timestamptz,
  created_at timestamptz not null default now()
);

-- Every id that seals something is in the table, also one of a process of an older version.
create function lessor.note_vault_key() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from lessor.vault_keys where id = new.key_id) then
    insert into lessor.vault_keys (id) values (new.key_id) on conflict do nothing;
  end if;
  return null;
end $$;

create trigger note_vault_key after insert or update of key_id on lessor.credentials
  for each row when (new.key_id is not null) execute function lessor.note_vault_key();
create trigger note_vault_key after insert or update of key_id on lessor.server_credentials
  for each row when (new.key_id is not null) execute function lessor.note_vault_key();
create trigger note_vault_key after insert or update of key_id on lessor.idempotency_keys
  for each row when (new.key_id is not null) execute function lessor.note_vault_key();

-- After the triggers, whose locks have waited for all who were sealing.
insert into lessor.vault_keys (id)
select key_id from lessor.credentials
union select key_id from lessor.server_credentials
union select key_id from lessor.idempotency_keys where key_id is not null;

create index idempotency_keys_key_id on lessor.idempotency_keys (key_id) where key_id is not null;

revoke all on all tables in schema lessor from public;
revoke all on function lessor.note_vault_key() from public;
