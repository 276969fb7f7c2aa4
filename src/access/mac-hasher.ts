import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto'
import type { ApiKey } from './api-key.ts'
import type { HashKeys } from './hash-keys.ts'
import { argon2idHasher, type SecretHasher } from './secret-hasher.ts'

const SCHEME = 'hmac-sha-256'
/** `hmac-sha-256$<id of the hash key>$<base64url of 32 bytes>` */
const MAC = /^hmac-sha-256\$([0-9a-f]{8})\$([A-Za-z0-9_-]{43})$/

/**
 * MacHasher hashes with HMAC-SHA-256 under a key of `HashKeys`: a secret of 256 random bits needs no slow hash, since no one can
 * try them all. What is hashed is the id as well, so that a hash copied to another key's row fits nothing. Hashes of
 * argon2id, as earlier versions made, are verified as before; and made while a node is there that knows no others.
 */
export class MacHasher implements SecretHasher {
  readonly #keys: Pick<HashKeys, 'current' | 'find'>

  constructor(keys: Pick<HashKeys, 'current' | 'find'>) {
    this.#keys = keys
  }

  isSlow(hash: string): boolean {
    return !hash.startsWith(SCHEME)
  }

  async hash(key: ApiKey): Promise<string> {
    return (await this.faster(key)) ?? argon2idHasher.hash(key)
  }

  async faster(key: ApiKey): Promise<string | undefined> {
    const current = await this.#keys.current()
    if (current === undefined) return undefined
    return `${SCHEME}$${current.id}$${macOf(current.key, key).toString('base64url')}`
  }

  async verify(hash: string, key: ApiKey): Promise<boolean> {
    if (this.isSlow(hash)) return argon2idHasher.verify(hash, key)
    const [, id = '', mac = ''] = MAC.exec(hash) ?? []
    const found = await this.#keys.find(id)
    if (found === undefined) return false
    return timingSafeEqual(macOf(found.key, key), Buffer.from(mac, 'base64url'))
  }
}

function macOf(hashKey: KeyObject, { keyId, secret }: ApiKey): Buffer {
  // Both parts have a fixed length.
  return createHmac('sha256', hashKey).update(keyId).update(secret.reveal()).digest()
}
