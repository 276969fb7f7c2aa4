import type { ChangeLog } from '../control/changes.ts'
import type { ControlDb } from '../control/control-database.ts'
import type { Db } from '../pool/statement.ts'
import type { Secret } from '../secret.ts'
import { decodeCursor, type Page, toPage } from '../tenants/cursor.ts'
import { type ApiKey, formatApiKey, formatUncheckedKey, KEY_ID, makeApiKey } from './api-key.ts'
import { Gate } from './gate.ts'
import { insertKey, type KeyInfo, type KeyOwner, listKeys, removeTenantKeys, revokeKey } from './key-store.ts'
import { argon2idHasher, type SecretHasher } from './secret-hasher.ts'

export type { KeyInfo, KeyOwner } from './key-store.ts'

export interface IssueRequest extends KeyOwner {
  /** What people call the key. */
  readonly name?: string
}

/** IssuedKey is a new key; `key` is known now and never again. */
export interface IssuedKey extends KeyInfo {
  readonly key: Secret
}

/** PreparedKey is a key and its hash, not stored yet. */
export interface PreparedKey {
  readonly key: ApiKey
  readonly hash: string
}

export interface KeyServiceOptions {
  readonly hasher?: SecretHasher
  /** Where the other processes hear of revocations; without it there are none. */
  readonly changes?: Pick<ChangeLog, 'publish'>
}

/**
 * KeyService issues, lists and revokes API keys. Every method works on the caller's Db, so that a
 * key can be born in the transaction that makes its tenant. Whoever revokes a key tells the
 * Authenticator to forget it once that is committed.
 */
export class KeyService {
  readonly #hasher: SecretHasher
  readonly #changes: Pick<ChangeLog, 'publish'> | undefined
  // Apart from the Authenticator's, so that a flood of wrong keys does not keep operators waiting.
  readonly #gate = new Gate({ concurrency: 1, maxWaiting: 64 })

  constructor(options: KeyServiceOptions = {}) {
    this.#hasher = options.hasher ?? argon2idHasher
    this.#changes = options.changes
  }

  /**
   * prepare makes a key that `issue` can store at once, for work that cannot wait inside a transaction.
   * @throws LessorError AUTHENTICATION_BUSY when too many keys are being made
   */
  async prepare(): Promise<PreparedKey> {
    const key = makeApiKey()
    return { key, hash: await this.#gate.run(() => this.#hasher.hash(key)) }
  }

  /**
   * issue stores a key, and makes it if none is prepared.
   * @throws what `prepare` throws
   */
  async issue(db: Db, request: IssueRequest, prepared?: PreparedKey): Promise<IssuedKey> {
    const { key, hash } = prepared ?? (await this.prepare())
    const { namespaceId, tenantId, name = null } = request
    const info = await insertKey(db, { id: key.keyId, namespaceId, tenantId, name, hash })
    // Who hashes slowly still has nodes of an older version beside it, which know no other form.
    return { ...info, key: this.#hasher.isSlow(hash) ? formatUncheckedKey(key) : formatApiKey(key) }
  }

  /**
   * list resolves with one page of an owner's keys, newest first, revoked ones included.
   * @throws LessorError INVALID_REQUEST when the cursor is none of this list's
   */
  async list(
    db: Db,
    owner: KeyOwner,
    page: { readonly limit: number; readonly cursor?: string },
  ): Promise<Page<KeyInfo>> {
    const [after] = page.cursor === undefined ? [] : decodeCursor(page.cursor, [KEY_ID])
    const keys = await listKeys(db, owner, { limit: page.limit + 1, after })
    return toPage(keys, page.limit, (last) => [last.id])
  }

  /** revoke ends a key for good; false when the owner has none of this id. */
  async revoke(db: ControlDb, owner: KeyOwner, keyId: string): Promise<boolean> {
    return db.transaction(async (tx) => {
      if (!(await revokeKey(tx, owner, keyId))) return false
      await this.#changes?.publish(tx, { kind: 'key', tenantId: owner.tenantId, keyId })
      return true
    })
  }

  /** removeAll removes every key that is limited to the tenant; for the end of its life. Whoever calls tells the other processes. */
  async removeAll(db: Db, tenantId: string): Promise<void> {
    await removeTenantKeys(db, tenantId)
  }
}
