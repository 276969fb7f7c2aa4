import { hash, randomBytes, timingSafeEqual } from 'node:crypto'

/** SHA-256 works on blocks of 64 bytes; a key fills one, here as the text of 32 random bytes. */
const KEY_BYTES = 32
const DIGEST_LENGTH = 64

/**
 * KeyedDigest names secrets in this process's memory without holding them: NMAC with SHA-256, which
 * is HMAC with two keys of its own instead of two made from one (Bellare, Canetti, Krawczyk 1996).
 * The keys are random and never leave the process. Written with `hash`, which takes a third of the
 * time of `createHmac`: a digest is made for every request.
 */
export class KeyedDigest {
  readonly #inner = randomBytes(KEY_BYTES).toString('hex')
  readonly #outer = randomBytes(KEY_BYTES).toString('hex')
  readonly #left = Buffer.alloc(DIGEST_LENGTH)
  readonly #right = Buffer.alloc(DIGEST_LENGTH)

  /** digest is 64 hexadecimal digits. */
  digest(secret: string): string {
    return hash('sha256', this.#outer + hash('sha256', this.#inner + secret, 'hex'), 'hex')
  }

  /** equal compares two digests in constant time. */
  equal(one: string, other: string): boolean {
    this.#left.write(one, 'latin1')
    this.#right.write(other, 'latin1')
    return timingSafeEqual(this.#left, this.#right)
  }
}
