import { createHash } from 'node:crypto'
import { LessorError } from '../errors.ts'
import type { Db } from '../pool/statement.ts'
import type { SealContext, Vault } from '../vault/vault.ts'
import { claimKey, findAnswer, type IdempotentRequest, saveAnswer } from './idempotency-store.ts'

/** IDEMPOTENCY_KEY_PATTERN is what the header may hold: 1 to 255 printable ASCII characters. */
export const IDEMPOTENCY_KEY_PATTERN = '^[ -~]{1,255}$'

/** Answers are replayed for a day. */
const TTL_MS = 24 * 60 * 60 * 1000
/** Seconds that a caller should wait whose first request is under way. */
const RETRY_AFTER_SECONDS = 1

/** idempotentRequest makes the hashes by which a request with a key is known. */
export function idempotentRequest(scope: string, key: string, request: unknown): IdempotentRequest {
  return { scope, keyHash: sha256(key), requestHash: sha256(JSON.stringify(request)) }
}

/**
 * Idempotency answers a repeated request like the first one (draft-ietf-httpapi-idempotency-key-header):
 * the answer is stored sealed, since it holds an API key.
 */
export class Idempotency {
  readonly #vault: Vault

  constructor(vault: Vault) {
    this.#vault = vault
  }

  /**
   * claim reserves the key for the request that makes this tenant, or resolves with the stored
   * answer to an earlier one.
   * @throws LessorError IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_IN_PROGRESS, VAULT_OPEN_FAILED
   */
  async claim(tx: Db, request: IdempotentRequest, tenantId: string): Promise<string | undefined> {
    return this.#claim(tx, request, tenantId)
  }

  /** claimBatch is claim for a request that makes many tenants; their transaction answers it as well. */
  async claimBatch(tx: Db, request: IdempotentRequest): Promise<string | undefined> {
    return this.#claim(tx, request, null)
  }

  /** answer stores the answer, in the transaction that makes the tenant active. */
  async answer(tx: Db, request: IdempotentRequest, tenantId: string, text: string): Promise<void> {
    await this.#answer(tx, request, tenantId, text)
  }

  async answerBatch(tx: Db, request: IdempotentRequest, text: string): Promise<void> {
    await this.#answer(tx, request, null, text)
  }

  async #claim(tx: Db, request: IdempotentRequest, tenantId: string | null): Promise<string | undefined> {
    if (await claimKey(tx, request, { tenantId, ttlMs: TTL_MS })) return undefined
    const stored = await findAnswer(tx, request)
    if (stored !== undefined && !Buffer.from(stored.requestHash).equals(request.requestHash)) {
      throw new LessorError('IDEMPOTENCY_KEY_REUSED')
    }
    // A key that has gone again meanwhile belonged to a request that failed; the next try takes it.
    if (stored === undefined || stored.response === null) {
      throw new LessorError('IDEMPOTENCY_IN_PROGRESS', undefined, { retryAfterSeconds: RETRY_AFTER_SECONDS })
    }
    return (
      await this.#vault.open(stored.response, answerContext(request.keyHash, stored.tenantId))
    ).toString('utf8')
  }

  async #answer(tx: Db, request: IdempotentRequest, tenantId: string | null, text: string): Promise<void> {
    const response = await this.#vault.seal(text, answerContext(request.keyHash, tenantId))
    await saveAnswer(tx, request, { tenantId, response, keyId: this.#vault.keyId(response) })
  }
}

/** answerContext binds a sealed answer to its tenant; one about many tenants is bound to its key instead. */
export function answerContext(keyHash: Uint8Array, tenantId: string | null): SealContext {
  if (tenantId !== null) return { tenantId, purpose: 'idempotent-answer' }
  return { tenantId: Buffer.from(keyHash).toString('hex'), purpose: 'idempotent-batch' }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
