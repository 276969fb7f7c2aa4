import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { isKeyId } from './envelope.ts'
import { KEY_BYTES } from './gcm.ts'

/** VaultKey is one AES-256 key. A KeyObject keeps its bytes out of `util.inspect` and JSON. */
export interface VaultKey {
  readonly id: string
  readonly key: KeyObject
}

/**
 * KeyProvider hands out the keys of the vault. It is asynchronous so that a key management service
 * can stand behind it: such a provider has the service unwrap data keys and keeps them in memory.
 */
export interface KeyProvider {
  /** sealingKey is the one key that seals. */
  sealingKey(): Promise<VaultKey>
  /** find resolves with a key that opens, or with undefined when there is none of this id. */
  find(id: string): Promise<VaultKey | undefined>
  /** ids are all keys that open; the sealing key's stands first. */
  ids(): Promise<readonly string[]>
}

const ENTRY = /^([^:]*):([^:]*)$/
const HEX = new RegExp(`^[0-9a-f]{${KEY_BYTES * 2}}$`, 'i')

/** KeyRing is a KeyProvider over keys in memory: the first seals, all open. */
export class KeyRing implements KeyProvider {
  readonly #sealing: VaultKey
  readonly #keys: ReadonlyMap<string, VaultKey>

  /** @throws Error when there is no key, or two share an id or their bytes; no key is in the message */
  constructor(keys: readonly VaultKey[]) {
    const [sealing] = keys
    if (sealing === undefined) throw new Error('there must be at least one vault key')
    for (const [index, { id, key }] of keys.entries()) {
      const twin = keys.findIndex((other) => other.id === id || other.key.equals(key))
      if (twin === index) continue
      const what = keys[twin]?.id === id ? 'id' : 'key'
      throw new Error(`entries ${twin + 1} and ${index + 1} have the same ${what}`)
    }
    this.#sealing = sealing
    this.#keys = new Map(keys.map((key) => [key.id, key]))
  }

  async sealingKey(): Promise<VaultKey> {
    return this.#sealing
  }

  async find(id: string): Promise<VaultKey | undefined> {
    return this.#keys.get(id)
  }

  async ids(): Promise<readonly string[]> {
    return [...this.#keys.keys()]
  }
}

/**
 * parseVaultKeys reads `<id>:<64 hex>,<id>:<64 hex>,...`; white space around entries does not count.
 * @throws Error that names the entry by its place, since an entry gone wrong may be a bare key
 */
export function parseVaultKeys(text: string): KeyRing {
  if (text.trim() === '') throw new Error('there must be at least one vault key, as in <id>:<64 hex digits>')
  return new KeyRing(text.split(',').map((entry, index) => parseEntry(entry.trim(), index + 1)))
}

/** generateVaultKeys makes a ring of one fresh random key, in the form that parseVaultKeys reads. */
export function generateVaultKeys(): string {
  return `${randomBytes(4).toString('hex')}:${randomBytes(KEY_BYTES).toString('hex')}`
}

function parseEntry(entry: string, place: number): VaultKey {
  const [, id, hex] = ENTRY.exec(entry) ?? []
  if (id === undefined || hex === undefined) {
    throw new Error(`entry ${place} must have the form <id>:<64 hex digits>`)
  }
  if (!isKeyId(id)) {
    throw new Error(`the id of entry ${place} must be 1 to 32 letters, digits, "_" or "-"`)
  }
  if (!HEX.test(hex)) {
    throw new Error(
      `the key of entry ${place} must be ${KEY_BYTES * 2} hex digits, not ${hex.length} characters`,
    )
  }
  const bytes = Buffer.from(hex, 'hex')
  const key = createSecretKey(bytes)
  bytes.fill(0)
  return { id, key }
}
