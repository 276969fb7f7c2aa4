import { type Db, sql } from '../pool/statement.ts'
import type { ControlDb } from './control-database.ts'

/** VAULT_KEY_CHANNEL is where a process announces that it seals with a key that none sealed with before (NOTIFY). */
export const VAULT_KEY_CHANNEL = 'lessor_vault_keys'

/** KnownKey is a vault key as the control database knows it. */
export interface KnownKey {
  readonly id: string
  /** Null while no process that has the key has started. */
  readonly proof: Uint8Array | null
  /** Whether something is sealed with it, or a process has said within the time of a claim that it seals with it. */
  readonly isInUse: boolean
}

/** lockVaultKeys lets one process at a time register its keys, until the transaction ends; those that seal go on. */
export async function lockVaultKeys(tx: Db): Promise<void> {
  await tx.query(sql`lock table lessor.vault_keys in share row exclusive mode`)
}

/**
 * readVaultKeys resolves with all keys that were ever known, by id. It looks for the first row from an id on, since
 * for a plain EXISTS the planner, who knows how few ids there are, would read all rows.
 */
export async function readVaultKeys(db: Db, claimMs: number): Promise<readonly KnownKey[]> {
  return db.query<KnownKey>(sql`
    select k.id, k.proof,
      coalesce(k.sealing_at > clock_timestamp() - ${claimMs} * interval '1 millisecond', false)
      or k.id in (
        (select key_id from lessor.server_credentials where key_id >= k.id order by key_id limit 1),
        (select key_id from lessor.hash_keys where key_id >= k.id order by key_id limit 1),
        (select key_id from lessor.credentials where key_id >= k.id order by key_id limit 1),
        (select key_id from lessor.idempotency_keys where key_id >= k.id order by key_id limit 1)
      ) is true as "isInUse"
    from lessor.vault_keys k
    order by k.id`)
}

/** saveKeyProof stores the proof of a key that has none. */
export async function saveKeyProof(tx: Db, id: string, proof: Uint8Array): Promise<void> {
  await tx.query(sql`
    insert into lessor.vault_keys as k (id, proof) values (${id}, ${proof})
    on conflict (id) do update set proof = excluded.proof where k.proof is null`)
}

/** claimSealing says that this process seals with the key. */
export async function claimSealing(db: Db, id: string): Promise<void> {
  await db.query(sql`update lessor.vault_keys set sealing_at = clock_timestamp() where id = ${id}`)
}

/** announceSealing tells the others that a key seals from now on. */
export function announceSealing(tx: Pick<ControlDb, 'announce'>, id: string): void {
  tx.announce(VAULT_KEY_CHANNEL, id)
}
