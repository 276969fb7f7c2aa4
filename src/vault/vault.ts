import { randomBytes } from 'node:crypto'
import { LessorError } from '../errors.ts'
import { decodeEnvelope, encodeEnvelope } from './envelope.ts'
import { gcmOpen, gcmSeal, NONCE_BYTES } from './gcm.ts'
import type { KeyProvider } from './key-ring.ts'
import { additionalData, type SealContext } from './seal-context.ts'

export type { SealContext } from './seal-context.ts'

export type VaultOperation = 'seal' | 'open' | 'reseal'

/** VaultObserver hears of every operation, for metrics. Must not throw. */
export interface VaultObserver {
  operation(operation: VaultOperation, outcome: 'ok' | 'failed'): void
}

/**
 * Vault seals credentials with AES-256-GCM, bound to their tenant, purpose and key id. Nonces are
 * random, so one key may seal 2^32 values (NIST SP 800-38D, section 8.3).
 */
export class Vault {
  readonly #keys: KeyProvider
  readonly #observer: VaultObserver | undefined

  constructor(keys: KeyProvider, observer?: VaultObserver) {
    this.#keys = keys
    this.#observer = observer
  }

  /**
   * seal resolves with an envelope under the ring's sealing key.
   * @throws TypeError when the context has an empty or ill-formed part, and what the key provider throws
   */
  async seal(plaintext: string | Uint8Array, context: SealContext): Promise<Buffer> {
    return this.#observed('seal', () => this.#seal(plaintext, context))
  }

  /**
   * open resolves with the plaintext. The caller zeroes it when it is done with it.
   * @throws LessorError VAULT_OPEN_FAILED, the same one for every reason
   */
  async open(envelope: Uint8Array, context: SealContext): Promise<Buffer> {
    return this.#observed('open', () => this.#open(envelope, context))
  }

  /**
   * reseal opens an envelope and seals its content afresh under the ring's sealing key.
   * @throws LessorError VAULT_OPEN_FAILED when it does not open, and what the key provider throws
   */
  async reseal(envelope: Uint8Array, context: SealContext): Promise<Buffer> {
    return this.#observed('reseal', async () => {
      const plaintext = await this.#open(envelope, context)
      try {
        return await this.#seal(plaintext, context)
      } finally {
        plaintext.fill(0)
      }
    })
  }

  /**
   * keyId names the key that an envelope says it was sealed under. Only `open` proves it.
   * @throws LessorError VAULT_OPEN_FAILED when the bytes are no envelope
   */
  keyId(envelope: Uint8Array): string {
    const decoded = decodeEnvelope(envelope)
    if (decoded === undefined) throw openFailed()
    return decoded.keyId
  }

  async #seal(plaintext: string | Uint8Array, context: SealContext): Promise<Buffer> {
    const { id, key } = await this.#keys.sealingKey()
    const bound = additionalData(context, id)
    const bytes = Buffer.from(plaintext)
    try {
      return encodeEnvelope({ keyId: id, ...gcmSeal(key, randomBytes(NONCE_BYTES), bound, bytes) })
    } finally {
      bytes.fill(0)
    }
  }

  async #open(envelope: Uint8Array, context: SealContext): Promise<Buffer> {
    try {
      const decoded = decodeEnvelope(envelope)
      if (decoded === undefined) throw openFailed()
      const found = await this.#keys.find(decoded.keyId)
      if (found === undefined) throw openFailed()
      return gcmOpen(found.key, decoded, additionalData(context, decoded.keyId))
    } catch {
      // Why it failed would tell an attacker which of his guesses came closer.
      throw openFailed()
    }
  }

  async #observed(operation: VaultOperation, work: () => Promise<Buffer>): Promise<Buffer> {
    let outcome: 'ok' | 'failed' = 'failed'
    try {
      const result = await work()
      outcome = 'ok'
      return result
    } finally {
      this.#observer?.operation(operation, outcome)
    }
  }
}

function openFailed(): LessorError {
  return new LessorError('VAULT_OPEN_FAILED')
}
