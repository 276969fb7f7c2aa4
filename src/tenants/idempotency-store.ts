import { type Db, sql } from '../pool/statement.ts'

/** IdempotentRequest is a request with an Idempotency-Key, known by hashes. */
export interface IdempotentRequest {
  /** Who the key belongs to: two callers may choose the same one. */
  readonly scope: string
  readonly keyHash: Uint8Array
  readonly requestHash: Uint8Array
}

/** StoredAnswer is what an earlier request with the same key left; without an answer it is under way. */
export interface StoredAnswer {
  readonly requestHash: Uint8Array
  /** Null where the answer is about many. */
  readonly tenantId: string | null
  readonly response: Uint8Array | null
}

/**
 * claimKey reserves a key for the request that makes this tenant; false when it is in use. It waits
 * for a request that reserves the same key at this moment.
 */
export async function claimKey(
  db: Db,
  request: IdempotentRequest,
  claim: { readonly tenantId: string | null; readonly ttlMs: number },
): Promise<boolean> {
  const rows = await db.query(sql`
    insert into lessor.idempotency_keys as k (scope, key_hash, request_hash, tenant_id, expires_at)
    values (${request.scope}, ${request.keyHash}, ${request.requestHash}, ${claim.tenantId},
      now() + ${claim.ttlMs}::integer * interval '1 millisecond')
    on conflict (scope, key_hash) do update
    set request_hash = excluded.request_hash, tenant_id = excluded.tenant_id, response = null,
      key_id = null, expires_at = excluded.expires_at
    where k.expires_at < now() and k.response is not null
    returning tenant_id`)
  return rows.length > 0
}

export async function findAnswer(db: Db, request: IdempotentRequest): Promise<StoredAnswer | undefined> {
  const [row] = await db.query<StoredAnswer>(sql`
    select request_hash as "requestHash", tenant_id as "tenantId", response
    from lessor.idempotency_keys
    where scope = ${request.scope} and key_hash = ${request.keyHash}`)
  return row
}

/** saveAnswer stores the sealed answer to the request that made this tenant, or many. */
export async function saveAnswer(
  db: Db,
  request: IdempotentRequest,
  answer: { readonly tenantId: string | null; readonly response: Uint8Array; readonly keyId: string },
): Promise<void> {
  await db.query(sql`
    update lessor.idempotency_keys set response = ${answer.response}, key_id = ${answer.keyId}
    where scope = ${request.scope} and key_hash = ${request.keyHash} 
      and tenant_id is not distinct from ${answer.tenantId}::uuid`)
}

/** purgeAnswers forgets answers that have expired. */
export async function purgeAnswers(db: Db): Promise<void> {
  await db.query(sql`delete from lessor.idempotency_keys where expires_at < now() and response is not null`)
}

/** SealedAnswer is a stored answer as it lies sealed. */
export interface SealedAnswer {
  readonly keyHash: Uint8Array
  readonly tenantId: string | null
  readonly response: Uint8Array
}

/** sampleAnswers resolves with a few answers that lie sealed with a vault key. */
export async function sampleAnswers(db: Db, keyId: string, limit: number): Promise<readonly SealedAnswer[]> {
  return db.query<SealedAnswer>(sql`
    select key_hash as "keyHash", tenant_id as "tenantId", response from lessor.idempotency_keys
    where key_id = ${keyId} limit ${limit}`)
}
