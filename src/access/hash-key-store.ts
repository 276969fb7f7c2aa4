import { type Db, sql } from '../pool/statement.ts'

/** StoredHashKey is a key of HMAC-SHA-256 as it is stored: sealed with the vault key `keyId`. */
export interface StoredHashKey {
  readonly id: string
  readonly keyId: string
  readonly envelope: Uint8Array
}

/** lockHashKeys lets one process at a time make or seal hash keys, until the transaction ends; those who read go on. */
export async function lockHashKeys(tx: Db): Promise<void> {
  await tx.query(sql`lock table lessor.hash_keys in share row exclusive mode`)
}

/** readHashKeys resolves with all of them, the newest first. */
export async function readHashKeys(db: Db): Promise<readonly StoredHashKey[]> {
  return db.query<StoredHashKey>(sql`
    select id, key_id as "keyId", envelope from lessor.hash_keys order by created_at desc, id`)
}

/** saveHashKey stores a new key, or one that was sealed with another vault key. */
export async function saveHashKey(tx: Db, { id, keyId, envelope }: StoredHashKey): Promise<void> {
  await tx.query(sql`
    insert into lessor.hash_keys (id, key_id, envelope) values (${id}, ${keyId}, ${envelope})
    on conflict (id) do update set key_id = excluded.key_id, envelope = excluded.envelope`)
}

/** sampleHashKeys resolves with a few keys that are sealed with a vault key. */
export async function sampleHashKeys(
  db: Db,
  keyId: string,
  count: number,
): Promise<readonly StoredHashKey[]> {
  return db.query<StoredHashKey>(sql`
    select id, key_id as "keyId", envelope from lessor.hash_keys where key_id = ${keyId} limit ${count}`)
}

/** doAllRead says whether every node that was heard of in this time can read what is hashed under such a key. */
export async function doAllRead(db: Db, goneMs: number): Promise<boolean> {
  const older = await db.query(sql`
    select from lessor.nodes
    where not reads_hash_keys and heartbeat_at > clock_timestamp() - ${goneMs} * interval '1 millisecond'
    limit 1`)
  return older.length === 0
}
