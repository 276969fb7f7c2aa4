import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { ControlDb } from '../control/control-database.ts'
import type { KeyProvider } from '../vault/key-ring.ts'
import type { SealContext, Vault } from '../vault/vault.ts'
import { doAllRead, lockHashKeys, readHashKeys, type StoredHashKey, saveHashKey } from './hash-key-store.ts'

export interface HashKeysOptions {
  readonly db: ControlDb
  readonly vault: Pick<Vault, 'keyId' | 'open' | 'reseal' | 'seal'>
  /** The keys that the vault seals with. */
  readonly keys: Pick<KeyProvider, 'sealingKey'>
  readonly clock: Clock
}

/** HashKey is one key of HMAC-SHA-256, of 256 bits. */
export interface HashKey {
  readonly id: string
  readonly key: KeyObject
}

const ID_BYTES = 4
/** As many as the hash has: RFC 2104, section 3. */
const KEY_BYTES = 32
/** How soon it is looked again whether nodes of an older version have ended. */
const LOOK_AGAIN_MS = 5_000
/** After such a silence a node is not believed to come back; after a shorter one, as in an outage, it may. */
const GONE_MS = 600_000

/** hashKeyContext binds a sealed hash key to its id; no tenant's id looks like this. */
export function hashKeyContext(id: string): SealContext {
  return { tenantId: `hash-key:${id}`, purpose: 'api-key-hash' }
}

/**
 * HashKeys holds the keys under which API keys are hashed. They are made once, by the first process that needs one, and
 * lie sealed in the control database, so that a vault key can be given up without anybody's API key.
 */
export class HashKeys {
  readonly #options: HashKeysOptions
  #keys = new Map<string, HashKey>()
  #newest: HashKey | undefined
  #reading: Promise<void> | undefined
  #mayWrite = false
  #lookAt = Number.NEGATIVE_INFINITY

  constructor(options: HashKeysOptions) {
    this.#options = options
  }

  /**
   * start makes the first key where there is none, and seals those with the vault's key that are sealed with another. Call it
   * when it was said that this process seals with that.
   * @throws LessorError VAULT_OPEN_FAILED, CONTROL_UNAVAILABLE
   */
  async start(): Promise<void> {
    const { db, keys } = this.#options
    const { id: sealing } = await keys.sealingKey()
    await db.transaction(async (tx) => {
      await lockHashKeys(tx)
      const stored = await readHashKeys(tx)
      if (stored.length === 0) await saveHashKey(tx, await this.#make())
      for (const each of stored) if (each.keyId !== sealing) await saveHashKey(tx, await this.#reseal(each))
    })
    await this.#read()
  }

  /**
   * current resolves with the key to hash with; undefined while a node of a version that cannot read what it hashes may be
   * there, and before `start`.
   * @throws LessorError CONTROL_UNAVAILABLE
   */
  async current(): Promise<HashKey | undefined> {
    const { clock, db } = this.#options
    if (this.#newest === undefined) return undefined
    if (clock.now() >= this.#lookAt) {
      this.#mayWrite = await doAllRead(db, GONE_MS)
      this.#lookAt = clock.now() + LOOK_AGAIN_MS
    }
    return this.#mayWrite ? this.#newest : undefined
  }

  /**
   * find resolves with the key of an id; one that is not known is looked for in the control database, since another process may
   * have made it. Undefined when there is none.
   * @throws LessorError VAULT_OPEN_FAILED, CONTROL_UNAVAILABLE
   */
  async find(id: string): Promise<HashKey | undefined> {
    if (!this.#keys.has(id)) await this.#read()
    return this.#keys.get(id)
  }

  #read(): Promise<void> {
    this.#reading ??= this.#readAll().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #readAll(): Promise<void> {
    const { db, vault } = this.#options
    const keys = new Map<string, HashKey>()
    for (const { id, envelope } of await readHashKeys(db)) {
      const bytes = await vault.open(envelope, hashKeyContext(id))
      keys.set(id, { id, key: createSecretKey(bytes) })
      bytes.fill(0)
    }
    this.#keys = keys
    this.#newest = keys.values().next().value
  }

  async #make(): Promise<StoredHashKey> {
    const { vault } = this.#options
    const id = randomBytes(ID_BYTES).toString('hex')
    const bytes = randomBytes(KEY_BYTES)
    const envelope = await vault.seal(bytes, hashKeyContext(id))
    bytes.fill(0)
    return { id, keyId: vault.keyId(envelope), envelope }
  }

  async #reseal({ id, envelope: before }: StoredHashKey): Promise<StoredHashKey> {
    const { vault } = this.#options
    const envelope = await vault.reseal(before, hashKeyContext(id))
    return { id, keyId: vault.keyId(envelope), envelope }
  }
}
