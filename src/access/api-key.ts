import { randomBytes } from 'node:crypto'
import { Secret } from '../secret.ts'

/** ApiKey is the two parts of `lsr_<key id>_<secret>`: the id is public, the secret is not. */
export interface ApiKey {
  readonly keyId: string
  readonly secret: Secret
}

const ID_BYTES = 8
const SECRET_BYTES = 32
// Both parts have a fixed length, since base64url may itself hold an underscore.
const API_KEY = /^lsr_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/

/** KEY_ID is the form of a key's id. */
export const KEY_ID = /^[0-9a-f]{16}$/

/** makeApiKey makes a key with a random id and a secret of 256 random bits. */
export function makeApiKey(): ApiKey {
  return {
    keyId: randomBytes(ID_BYTES).toString('hex'),
    secret: new Secret(randomBytes(SECRET_BYTES).toString('base64url')),
  }
}

/** formatApiKey is the text that a caller sends. */
export function formatApiKey(key: ApiKey): Secret {
  return new Secret(`lsr_${key.keyId}_${key.secret.reveal()}`)
}

/** parseApiKey reads `lsr_<key id>_<secret>`, or returns undefined when the text has not that form. */
export function parseApiKey(text: string): ApiKey | undefined {
  const [, keyId, secret] = API_KEY.exec(text) ?? []
  if (keyId === undefined || secret === undefined) return undefined
  return { keyId, secret: new Secret(secret) }
}
