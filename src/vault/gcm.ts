import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto'

/** KEY_BYTES, NONCE_BYTES and TAG_BYTES are the sizes of AES-256-GCM as Lessor uses it (NIST SP 800-38D, section 5.2). */
export const KEY_BYTES = 32
export const NONCE_BYTES = 12
export const TAG_BYTES = 16

const CIPHER = 'aes-256-gcm'

/** Sealed is what AES-256-GCM makes of a plaintext. */
export interface Sealed {
  readonly nonce: Uint8Array
  readonly ciphertext: Uint8Array
  readonly tag: Uint8Array
}

/** gcmSeal encrypts and authenticates. A nonce must never serve twice under one key. */
export function gcmSeal(
  key: KeyObject,
  nonce: Uint8Array,
  additionalData: Uint8Array,
  plaintext: Uint8Array,
): Sealed {
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(additionalData)
  // GCM is a stream mode: `update` yields all of the ciphertext, `final` only ends the tag.
  const ciphertext = cipher.update(plaintext)
  cipher.final()
  return { nonce, ciphertext, tag: cipher.getAuthTag() }
}

/**
 * gcmOpen returns the plaintext.
 * @throws Error when key, nonce, additional data, ciphertext and tag do not belong together
 */
export function gcmOpen(key: KeyObject, sealed: Sealed, additionalData: Uint8Array): Buffer {
  const decipher = createDecipheriv(CIPHER, key, sealed.nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(additionalData)
  decipher.setAuthTag(sealed.tag)
  const plaintext = decipher.update(sealed.ciphertext)
  try {
    decipher.final()
  } catch (error) {
    // Until `final` accepts the tag, this is plaintext that nobody vouches for.
    plaintext.fill(0)
    throw error
  }
  return plaintext
}
