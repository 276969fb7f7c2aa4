import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.ts'
import { answerWithin } from '../control/answer-within.ts'
import type { Outage } from '../control/outage.ts'
import { isLessorError, LessorError } from '../errors.ts'
import type { Db } from '../pool/statement.ts'
import type { Secret } from '../secret.ts'
import { type ApiKey, parseApiKey } from './api-key.ts'
import { Gate } from './gate.ts'
import { findKey, type KeyRecord } from './key-store.ts'
import { KeyedDigest } from './keyed-digest.ts'
import type { Principal } from './principal.ts'
import { argon2idHasher, type SecretHasher, UNMATCHABLE_HASH } from './secret-hasher.ts'

export interface AuthenticatorOptions {
  /** The control database. */
  readonly db: Db
  /** At least 32 visible ASCII characters. */
  readonly operatorKey: Secret
  readonly clock: Clock
  /** While there is one, verified keys are believed however old they are; see Outage. */
  readonly outage?: Pick<Outage, 'failed' | 'servesKnown' | 'orBegun'>
  /** How long a verified key is believed before its row is read again; 60 s by default. */
  readonly verifiedMs?: number
  /** How long a refused key is refused unseen; 10 s by default. */
  readonly refusedMs?: number
  /** Keys remembered of each sort; 10,000 by default. */
  readonly maxRemembered?: number
  /** argon2 verifications at once; 2 by default. */
  readonly concurrency?: number
  /** Keys that may wait for their verification; 64 by default. */
  readonly maxWaiting?: number
  readonly hasher?: SecretHasher
}

type ApiKeyPrincipal = Extract<Principal, { kind: 'api_key' }>

/** Verified is a key whose secret this process has checked against `hash`. */
interface Verified {
  /** Keyed hash of the whole key. */
  readonly digest: string
  readonly hash: string
  readonly principal: ApiKeyPrincipal
  /** Until when, by the clock, its row need not be read again. */
  readonly freshUntil: number
}

const OPERATOR: Principal = Object.freeze({ kind: 'operator' })
/** A control database that does not answer in this time is taken for away. */
const PATIENCE_MS = 5_000
const OPERATOR_KEY = /^[!-~]{32,}$/

/**
 * Authenticator finds out whose key a caller holds. Keys are compared and remembered by HMAC-SHA-256
 * under a random key of this process, so that neither the time a comparison takes nor a dump of the
 * heap tells about keys. argon2 runs once for a key and process: when a verified key has to be
 * looked at again, reading its row is enough, since the digest proves that it is the same secret.
 */
export class Authenticator {
  readonly #db: Db
  readonly #clock: Clock
  readonly #outage: AuthenticatorOptions['outage']
  readonly #hasher: SecretHasher
  readonly #verifiedMs: number
  readonly #refusedMs: number
  readonly #gate: Gate
  readonly #digester = new KeyedDigest()
  readonly #operator: string
  /** By key id. Only verified keys get in, so that a flood of wrong ones pushes nothing out. */
  readonly #verified: LRUCache<string, Verified>
  /** Digests of wrong keys, with the time until when they are refused unseen. */
  readonly #refused: LRUCache<string, number>
  /** Verifications under way, by digest. */
  readonly #flights = new Map<string, Promise<Principal>>()
  /** Goes up with every `forget`: what was read from the database before that does not count. */
  #revision = 0

  /** @throws Error when the operator key is too short or not visible ASCII */
  constructor(options: AuthenticatorOptions) {
    if (!OPERATOR_KEY.test(options.operatorKey.reveal())) {
      throw new Error('"operatorKey" option must be at least 32 visible ASCII characters')
    }
    const max = options.maxRemembered ?? 10_000
    this.#db = options.db
    this.#clock = options.clock
    this.#outage = options.outage
    this.#hasher = options.hasher ?? argon2idHasher
    this.#verifiedMs = options.verifiedMs ?? 60_000
    this.#refusedMs = options.refusedMs ?? 10_000
    this.#gate = new Gate({ concurrency: options.concurrency ?? 2, maxWaiting: options.maxWaiting ?? 64 })
    this.#operator = this.#digester.digest(options.operatorKey.reveal())
    this.#verified = new LRUCache({ max })
    this.#refused = new LRUCache({ max })
  }

  /**
   * authenticate returns the principal of a key at once when the key is the operator's or was
   * verified a short time ago, else a promise of it.
   * @throws LessorError UNAUTHENTICATED, the same one for a malformed, unknown, wrong or revoked key;
   *   AUTHENTICATION_BUSY when too many keys wait to be verified; what the control database throws.
   *   Thrown at once or as a rejection.
   */
  authenticate(token: string): Principal | Promise<Principal> {
    const digest = this.#digester.digest(token)
    if (this.#digester.equal(digest, this.#operator)) return OPERATOR
    const key = parseApiKey(token)
    if (key === undefined) throw unauthenticated()
    const known = this.#verified.get(key.keyId)
    if (known !== undefined && this.#digester.equal(digest, known.digest)) {
      if (this.#clock.now() < known.freshUntil || this.#outage?.servesKnown()) return known.principal
      return this.#renewed(key, digest, known)
    }
    if (this.#isRefused(digest)) throw unauthenticated()
    return this.#once(digest, () => this.#gate.run(() => this.#verify(key, digest)))
  }

  /** forget makes the next request with this key read it again. Call it when a revocation is committed. */
  forget(keyId: string): void {
    this.#revision++
    this.#verified.delete(keyId)
  }

  /** forgetTenant does the same for every key that is limited to a tenant. */
  forgetTenant(tenantId: string): void {
    this.#revision++
    for (const [keyId, { principal }] of this.#verified.entries()) {
      if (principal.tenantId === tenantId) this.#verified.delete(keyId)
    }
  }

  /** forgetAll does the same for every key. */
  forgetAll(): void {
    this.#revision++
    this.#verified.clear()
  }

  /** Waits for a verified key's row, but not past the beginning of an outage. */
  async #renewed(key: ApiKey, digest: string, known: Verified): Promise<Principal> {
    const renewal = this.#once(digest, () => this.#renew(key, digest, known))
    if (this.#outage === undefined) return renewal
    try {
      await this.#outage.orBegun(renewal)
    } catch (error) {
      if (!isLessorError(error, 'CONTROL_UNAVAILABLE')) throw error
      this.#outage.failed(error)
    }
    const isKnown = this.#verified.peek(key.keyId) === known
    return isKnown && this.#outage.servesKnown() ? known.principal : renewal
  }

  /** Reads a verified key's row again. Needs no place in the gate unless its hash was changed. */
  #renew(key: ApiKey, digest: string, known: Verified): Promise<Principal> {
    return this.#check(key, digest, async (hash) => {
      if (hash === known.hash) return true
      return this.#gate.run(() => this.#hasher.verify(hash, key.secret))
    })
  }

  #verify(key: ApiKey, digest: string): Promise<Principal> {
    return this.#check(key, digest, (hash) => this.#hasher.verify(hash, key.secret))
  }

  async #check(key: ApiKey, digest: string, matches: (hash: string) => Promise<boolean>): Promise<Principal> {
    let proven: string | undefined
    for (;;) {
      const revision = this.#revision
      const readAt = this.#clock.now()
      const record = await answerWithin(findKey(this.#db, key.keyId), PATIENCE_MS)
      const hash = record?.hash ?? UNMATCHABLE_HASH
      if (hash !== proven && !(await matches(hash))) return this.#refuse(key, digest)
      proven = hash
      // The row may have been read before a revocation that was told of since: read it again.
      if (revision !== this.#revision) continue
      if (record === undefined || record.revokedAt !== null) return this.#refuse(key, digest)
      return this.#remember(record, digest, readAt)
    }
  }

  #remember(record: KeyRecord, digest: string, readAt: number): Principal {
    const { id: keyId, hash, namespaceId, tenantId } = record
    const principal = Object.freeze({ kind: 'api_key', keyId, namespaceId, tenantId })
    this.#verified.set(keyId, { digest, hash, principal, freshUntil: readAt + this.#verifiedMs })
    return principal
  }

  #refuse(key: ApiKey, digest: string): never {
    if (this.#verified.peek(key.keyId)?.digest === digest) this.#verified.delete(key.keyId)
    this.#refused.set(digest, this.#clock.now() + this.#refusedMs)
    throw unauthenticated()
  }

  #isRefused(digest: string): boolean {
    const until = this.#refused.get(digest)
    return until !== undefined && this.#clock.now() < until
  }

  /** Lets callers with the same key share one piece of work. */
  #once(digest: string, work: () => Promise<Principal>): Promise<Principal> {
    const under = this.#flights.get(digest)
    if (under !== undefined) return under
    const flight = work().finally(() => this.#flights.delete(digest))
    // Whoever gave up waiting, since an outage began, does not hear of its failure.
    flight.catch(() => {})
    this.#flights.set(digest, flight)
    return flight
  }
}

function unauthenticated(): LessorError {
  return new LessorError('UNAUTHENTICATED')
}
