-- Keys of HMAC-SHA-256 under which API keys are stored from now on (lessor.api_keys.hash), each sealed with a vault key:
-- the vault keys change, and what was hashed cannot be hashed again by who has not the API key.

create table lessor.hash_keys (
  id text primary key check (id ~ '^[0-9a-f]{8}$'),
  key_id text not null,
  envelope bytea not null,
  created_at timestamptz not null default now()
);

create trigger note_vault_key after insert or update of key_id on lessor.hash_keys
  for each row execute function lessor.note_vault_key();

-- Whether the node can read such hashes: none is written before all can.
alter table lessor.nodes add column reads_hash_keys boolean not null default false;

revoke all on lessor.hash_keys from public;
