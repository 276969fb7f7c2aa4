import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import { Secret } from '../secret.ts'

/**
 * SCRAM_ITERATIONS is how often a tenant's password is hashed when it logs in. Stretching makes
 * guessing a human's password dear; a password of {@link randomPassword} has 256 random bits and
 * cannot be guessed at any price per try, while the driver pays for each round on the event loop at
 * every connect: 4096 rounds take 0.8 ms, one takes 7 µs. RFC 7677, section 4, only says SHOULD for
 * its 4096. PostgreSQL allows 1 (setting `scram_iterations`, from 16 on; 15 takes such a verifier
 * too) and libpq refuses only what is below 1 (fe-auth-scram.c), as does our driver. Other clients
 * may ask for more: Go's lib/pq for 1000 (https://github.com/lib/pq/pull/1296), Bun and older JDBC
 * drivers for 4096 (https://github.com/ongres/scram/issues/20).
 */
export const SCRAM_ITERATIONS = 1

const SALT_BYTES = 16
const PASSWORD_BYTES = 32

/** VERIFIER is the form that PostgreSQL stores; whatever does not have it, the server takes for a plain password. */
const VERIFIER = /^SCRAM-SHA-256\$[1-9]\d*:[A-Za-z0-9+/]+={0,2}\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/

/** SASLprep (RFC 4013) leaves these characters as they are, so that it need not be done here. */
const PRINTABLE_ASCII = /^[\x20-\x7e]+$/

export interface ScramOptions {
  /** Take 4096 for a password that is not of {@link randomPassword}. */
  readonly iterations?: number
  readonly salt?: Uint8Array
}

/** randomPassword makes a password of 256 random bits, in 43 characters that no URL has to escape. */
export function randomPassword(): Secret {
  return new Secret(randomBytes(PASSWORD_BYTES).toString('base64url'))
}

/**
 * scramVerifier returns what PostgreSQL stores of a password (RFC 5803 with SHA-256):
 * `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, in base64. It proves a login and
 * does not allow one.
 * @throws TypeError when the password is empty or not printable ASCII
 */
export function scramVerifier(password: Secret, options: ScramOptions = {}): string {
  const iterations = options.iterations ?? SCRAM_ITERATIONS
  const salt = options.salt ?? randomBytes(SALT_BYTES)
  const plain = password.reveal()
  if (!PRINTABLE_ASCII.test(plain)) throw new TypeError('a password must be of printable ASCII characters')
  const salted = pbkdf2Sync(plain, salt, iterations, 32, 'sha256')
  const storedKey = createHash('sha256').update(hmac(salted, 'Client Key')).digest('base64')
  const serverKey = hmac(salted, 'Server Key').toString('base64')
  return `SCRAM-SHA-256$${iterations}:${Buffer.from(salt).toString('base64')}$${storedKey}:${serverKey}`
}

/** isScramVerifier tells a verifier from a plain password. */
export function isScramVerifier(text: string): boolean {
  return VERIFIER.test(text)
}

function hmac(key: Buffer, data: string): Buffer {
  return createHmac('sha256', key).update(data).digest()
}
