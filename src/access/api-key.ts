import { randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { Secret } from '../secret.ts'

/** ApiKey is the two parts of a key that count: the id is public, the secret is not. */
export interface ApiKey {
  readonly keyId: string
  readonly secret: Secret
}

const ID_BYTES = 8
const SECRET_BYTES = 32
// All parts have a fixed length, since base64url may itself hold an underscore. No part of one form has the other's.
const API_KEY = /^lsr_v2_([0-9a-f]{16})_([A-Za-z0-9_-]{43})([0-9A-Za-z]{6})$/
/** Keys that were made before there was a checksum. */
const UNCHECKED = /^lsr_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/
const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const CHECKSUM_LENGTH = 6

/** KEY_ID is the form of a key's id. */
export const KEY_ID = /^[0-9a-f]{16}$/

/** makeApiKey makes a key with a random id and a secret of 256 random bits. */
export function makeApiKey(): ApiKey {
  return {
    keyId: randomBytes(ID_BYTES).toString('hex'),
    secret: new Secret(randomBytes(SECRET_BYTES).toString('base64url')),
  }
}

/**
 * formatApiKey is the text that a caller sends: `lsr_v2_<key id>_<secret><checksum>`, the last of which is the CRC-32 of all
 * before it, in six digits of base 62, so that a scanner for secrets need not ask the service.
 */
export function formatApiKey({ keyId, secret }: ApiKey): Secret {
  const text = `lsr_v2_${keyId}_${secret.reveal()}`
  return new Secret(text + checksumOf(text))
}

/** formatUncheckedKey is the form of earlier versions, `lsr_<key id>_<secret>`, for as long as nodes of them have to read new keys. */
export function formatUncheckedKey({ keyId, secret }: ApiKey): Secret {
  return new Secret(`lsr_${keyId}_${secret.reveal()}`)
}

/**
 * parseApiKey reads a key; undefined when the text is none. A key with a wrong checksum, as one mistyped or cut off has, is none;
 * one without, `lsr_<key id>_<secret>`, was made by an earlier version.
 */
export function parseApiKey(text: string): ApiKey | undefined {
  const [, keyId, secret, checksum] = API_KEY.exec(text) ?? UNCHECKED.exec(text) ?? []
  if (keyId === undefined || secret === undefined) return undefined
  if (checksum !== undefined && checksum !== checksumOf(text.slice(0, -CHECKSUM_LENGTH))) return undefined
  return { keyId, secret: new Secret(secret) }
}

/** Six digits: 62^6 is more than 2^32. */
function checksumOf(text: string): string {
  let rest = crc32(text)
  let digits = ''
  for (let place = 0; place < CHECKSUM_LENGTH; place++) {
    digits = DIGITS.charAt(rest % DIGITS.length) + digits
    rest = Math.floor(rest / DIGITS.length)
  }
  return digits
}
