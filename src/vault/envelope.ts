import { NONCE_BYTES, type Sealed, TAG_BYTES } from './gcm.ts'

/**
 * Envelope is a sealed credential as it lies in the database:
 *
 *     version (1 byte) | length of key id (1) | key id | nonce (12) | ciphertext | tag (16)
 */
export interface Envelope extends Sealed {
  readonly keyId: string
}

/** ENVELOPE_VERSION is the one layout there is; it is part of the additional data. */
export const ENVELOPE_VERSION = 1

const KEY_ID = /^[A-Za-z0-9_-]{1,32}$/
const HEADER_BYTES = 2

/** isKeyId says whether a text can name a vault key: 1 to 32 letters, digits, `_` and `-`. */
export function isKeyId(text: string): boolean {
  return KEY_ID.test(text)
}

/**
 * encodeEnvelope lays an envelope out as bytes.
 * @throws TypeError when a key provider made up a key id that decodeEnvelope would refuse
 */
export function encodeEnvelope(envelope: Envelope): Buffer {
  if (!isKeyId(envelope.keyId)) {
    throw new TypeError('a vault key id must be 1 to 32 letters, digits, "_" or "-"')
  }
  const keyId = Buffer.from(envelope.keyId, 'latin1')
  return Buffer.concat([
    Uint8Array.of(ENVELOPE_VERSION, keyId.length),
    keyId,
    envelope.nonce,
    envelope.ciphertext,
    envelope.tag,
  ])
}

/** decodeEnvelope reads an envelope, or returns undefined when the bytes are none. It copies nothing. */
export function decodeEnvelope(bytes: Uint8Array): Envelope | undefined {
  const [version, keyIdLength] = bytes
  if (version !== ENVELOPE_VERSION || keyIdLength === undefined) return undefined
  const nonceAt = HEADER_BYTES + keyIdLength
  const ciphertextAt = nonceAt + NONCE_BYTES
  const tagAt = bytes.length - TAG_BYTES
  if (tagAt < ciphertextAt) return undefined
  // latin1 keeps every byte distinct; node's `ascii` would drop the highest bit.
  const keyId = Buffer.from(bytes.subarray(HEADER_BYTES, nonceAt)).toString('latin1')
  if (!isKeyId(keyId)) return undefined
  return {
    keyId,
    nonce: bytes.subarray(nonceAt, ciphertextAt),
    ciphertext: bytes.subarray(ciphertextAt, tagAt),
    tag: bytes.subarray(tagAt),
  }
}
