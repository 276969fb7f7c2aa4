import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import type { Secret } from '../../secret.ts'

const derive = promisify(pbkdf2)

export const MECHANISM = 'SCRAM-SHA-256'

/**
 * A server names the number of rounds, and a tenant may set it for its own login. 4096 is PostgreSQL's default;
 * 100,000 take a few hundredths of a second of a thread that is not the event loop's.
 */
const MAX_ITERATIONS = 100_000
const NONCE_BYTES = 18
/** Without channel binding (RFC 5802, section 7: gs2-header). */
const GS2_HEADER = 'n,,'
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const PRINTABLE_ASCII = /^[\x20-\x7e]*$/

/**
 * ScramClient is the client's side of one SCRAM-SHA-256 exchange (RFC 5802, RFC 7677). Nothing that the server
 * says is used before it was checked, and the hashing runs in a thread of its own.
 */
export class ScramClient {
  readonly #password: Secret
  readonly #nonce: string
  #serverSignature: Buffer | undefined

  constructor(password: Secret, nonce = randomBytes(NONCE_BYTES).toString('base64')) {
    this.#password = password
    this.#nonce = nonce
  }

  /** first is the client-first-message. PostgreSQL takes the user from the start-up packet and ignores the name. */
  first(): string {
    return `${GS2_HEADER}n=*,r=${this.#nonce}`
  }

  /**
   * final answers the server-first-message with the client-final-message.
   * @throws Error when the server's message has no valid nonce, salt or number of iterations (1 to 100,000)
   */
  async final(serverFirst: string): Promise<string> {
    const { r: nonce = '', s: salt = '', i: rounds = '' } = attributes(serverFirst)
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length) {
      throw scramError('its nonce does not continue ours')
    }
    if (salt === '' || !BASE64.test(salt)) throw scramError('its salt is not base64')
    const iterations = /^[1-9]\d{0,9}$/.test(rounds) ? Number(rounds) : 0
    if (iterations < 1 || iterations > MAX_ITERATIONS) {
      throw scramError(`the number of iterations must be from 1 to ${MAX_ITERATIONS}`)
    }
    const password = prepared(this.#password.reveal())
    const salted = await derive(password, Buffer.from(salt, 'base64'), iterations, 32, 'sha256')
    const withoutProof = `c=${Buffer.from(GS2_HEADER).toString('base64')},r=${nonce}`
    const signed = `${this.first().slice(GS2_HEADER.length)},${serverFirst},${withoutProof}`
    const clientKey = hmac(salted, 'Client Key')
    const signature = hmac(createHash('sha256').update(clientKey).digest(), signed)
    this.#serverSignature = hmac(hmac(salted, 'Server Key'), signed)
    return `${withoutProof},p=${xor(clientKey, signature).toString('base64')}`
  }

  /** verify checks the server-final-message: only who knows the verifier can sign. @throws Error */
  verify(serverFinal: string): void {
    const { v = '' } = attributes(serverFinal)
    const signature = Buffer.from(BASE64.test(v) ? v : '', 'base64')
    const expected = this.#serverSignature
    if (
      expected === undefined ||
      signature.length !== expected.length ||
      !timingSafeEqual(signature, expected)
    ) {
      throw scramError('its signature is not right')
    }
  }
}

/** Attributes of a message: `r=...,s=...`, a value may have `=` in it. */
function attributes(message: string): Readonly<Record<string, string>> {
  return Object.fromEntries(message.split(',').map((each) => [each.slice(0, 1), each.slice(2)]))
}

function scramError(why: string): Error {
  return Object.assign(new Error(`The server's part of the SCRAM login was refused: ${why}.`), {
    code: 'SCRAM_REFUSED',
  })
}

/**
 * prepared is SASLprep (RFC 4013) as far as passwords of real use need it: other spaces become a space, what is
 * mapped to nothing goes, and the rest is normalised. ASCII stays as it is.
 */
function prepared(password: string): string {
  if (PRINTABLE_ASCII.test(password)) return password
  return password.replace(OTHER_SPACE, ' ').replace(NOTHING, '').normalize('NFKC')
}

/** RFC 3454, tables C.1.2 and B.1. */
const OTHER_SPACE = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g
const NOTHING = /\u00ad|\u034f|\u1806|\u180b|\u180c|\u180d|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/g

function hmac(key: Buffer, data: string): Buffer {
  return createHmac('sha256', key).update(data).digest()
}

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, i) => byte ^ (b[i] ?? 0)))
}
