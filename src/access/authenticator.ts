import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.ts'
import { answerWithin } from '../control/answer-within.ts'
import { BatchedLoads } from '../control/batched-loads.ts'
import type { Outage } from '../control/outage.ts'
import { isLessorError, LessorError } from '../errors.ts'
import type { Db } from '../pool/statement.ts'
import type { Secret } from '../secret.ts'
import { type ApiKey, parseApiKey } from './api-key.ts'
import { findKeys, type KeyRecord, replaceHash } from './key-store.ts'
import { KeyedDigest } from './keyed-digest.ts'
import { networkOf } from './network-of.ts'
import type { Principal } from './principal.ts'
import { argon2idHasher, type SecretHasher } from './secret-hasher.ts'
import { VerificationQueue } from './verification-queue.ts'

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
  /** How long a refused key, or any key of an unknown id, is refused unseen; 10 s by default. */
  readonly refusedMs?: number
  /** Keys remembered of each sort; 10,000 by default. */
  readonly maxRemembered?: number
  /** Slow verifications at once, of different key ids; 2 by default. */
  readonly concurrency?: number
  /** Keys that may wait for a slow verification; 10,000 by default. */
  readonly maxWaiting?: number
  /** Of one key id; 256 by default. */
  readonly maxWaitingPerKey?: number
  /** Keys not verified yet that may wait for the next look-up; 10,000 by default. */
  readonly maxLookups?: number
  readonly hasher?: SecretHasher
  /** Called when a faster hash of a key could not be stored; its next use tries again. */
  readonly onUpgradeFailed?: (error: unknown) => void
}

type ApiKeyPrincipal = Extract<Principal, { kind: 'api_key' }>

/** Verified is a key that exists and is not revoked. */
interface Verified {
  /** Keyed hash of the whole key. */
  readonly digest: string
  readonly principal: ApiKeyPrincipal
  /** Until when, by the clock, its row need not be read again. */
  readonly freshUntil: number
}

/** Proven is what a slow verification has said: the key with this digest, and no other of its id, has the secret of `hash`. */
interface Proven {
  readonly hash: string
  readonly digest: string
}

/** Caller is who sent a key, and from where. */
interface Caller {
  readonly key: ApiKey
  readonly digest: string
  readonly address: string
}

const OPERATOR: Principal = Object.freeze({ kind: 'operator' })
/** A control database that does not answer in this time is taken for away. */
const PATIENCE_MS = 5_000
const OPERATOR_KEY = /^[!-~]{32,}$/

/**
 * Authenticator finds out whose key a caller holds. Keys are compared and remembered by HMAC-SHA-256
 * under a random key of this process, so that neither the time a comparison takes nor a dump of the
 * heap tells about keys. What is slow to verify is verified once for a key and process: when such a key has to be
 * looked at again, reading its row is enough, since the digest proves that it is the same secret. Once it was, a
 * hash that is not slow is stored in its place.
 *
 * A key not verified yet is looked up first, together with others, and only one that exists and is not revoked
 * is worth a slow verification. Its time therefore tells that an id is in use; ids are random and no secret.
 */
export class Authenticator {
  readonly #clock: Clock
  readonly #outage: AuthenticatorOptions['outage']
  readonly #db: Db
  readonly #hasher: SecretHasher
  readonly #onUpgradeFailed: (error: unknown) => void
  readonly #verifiedMs: number
  readonly #refusedMs: number
  readonly #maxLookups: number
  readonly #queue: VerificationQueue
  /** Look-ups of keys that are not verified, and of verified ones: those never wait for strangers. */
  readonly #lookups: BatchedLoads<KeyRecord>
  readonly #renewals: BatchedLoads<KeyRecord>
  readonly #digester = new KeyedDigest()
  readonly #operator: string
  /** By key id. Only verified keys get in, so that a flood of wrong ones pushes nothing out. */
  readonly #verified: LRUCache<string, Verified>
  /** By key id; also of keys that were forgotten or revoked since, which only their rows can tell. */
  readonly #proven: LRUCache<string, Proven>
  /** Digests of wrong keys, with the time until when they are refused unseen. */
  readonly #refused: LRUCache<string, number>
  /** Ids that do not exist or are revoked, with the time until when they are not looked up again. */
  readonly #unknown: LRUCache<string, number>
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
    this.#clock = options.clock
    this.#outage = options.outage
    this.#db = options.db
    this.#hasher = options.hasher ?? argon2idHasher
    this.#onUpgradeFailed = options.onUpgradeFailed ?? (() => {})
    this.#verifiedMs = options.verifiedMs ?? 60_000
    this.#refusedMs = options.refusedMs ?? 10_000
    this.#maxLookups = options.maxLookups ?? 10_000
    this.#queue = new VerificationQueue({
      concurrency: options.concurrency ?? 2,
      maxWaiting: options.maxWaiting ?? 10_000,
      maxWaitingPerKey: options.maxWaitingPerKey ?? 256,
    })
    const { db } = options
    const load = (ids: readonly string[]) => findKeys(db, ids)
    const idOf = (record: KeyRecord) => record.id
    this.#lookups = new BatchedLoads({ load, idOf })
    this.#renewals = new BatchedLoads({ load, idOf })
    this.#operator = this.#digester.digest(options.operatorKey.reveal())
    this.#verified = new LRUCache({ max })
    this.#proven = new LRUCache({ max })
    this.#refused = new LRUCache({ max })
    this.#unknown = new LRUCache({ max })
  }

  /**
   * authenticate returns the principal of a key at once when the key is the operator's or was
   * verified a short time ago, else a promise of it. `address` is the caller's: callers of one key id that are
   * on different networks take turns.
   * @throws LessorError UNAUTHENTICATED, the same one for a malformed, unknown, wrong or revoked key;
   *   AUTHENTICATION_BUSY when too many keys wait to be looked up or verified; what the control database throws.
   *   Thrown at once or as a rejection.
   */
  authenticate(token: string, address = ''): Principal | Promise<Principal> {
    const digest = this.#digester.digest(token)
    if (this.#digester.equal(digest, this.#operator)) return OPERATOR
    const key = parseApiKey(token)
    if (key === undefined) throw unauthenticated()
    const known = this.#verified.get(key.keyId)
    if (known !== undefined && this.#digester.equal(digest, known.digest)) {
      if (this.#clock.now() < known.freshUntil || this.#outage?.servesKnown()) return known.principal
      return this.#renewed({ key, digest, address }, known)
    }
    if (this.#isRefused(key, digest)) throw unauthenticated()
    return this.#once(digest, () => this.#check({ key, digest, address }, this.#lookups))
  }

  /** forget makes the next request with this key read it again. Call it when a revocation is committed. */
  forget(keyId: string): void {
    this.#revision++
    this.#verified.delete(keyId)
    this.#unknown.delete(keyId)
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
    this.#unknown.clear()
  }

  /** Waits for a verified key's row, but not past the beginning of an outage. */
  async #renewed(caller: Caller, known: Verified): Promise<Principal> {
    const renewal = this.#once(caller.digest, () => this.#check(caller, this.#renewals))
    if (this.#outage === undefined) return renewal
    try {
      await this.#outage.orBegun(renewal)
    } catch (error) {
      if (!isLessorError(error, 'CONTROL_UNAVAILABLE')) throw error
      this.#outage.failed(error)
    }
    const isKnown = this.#verified.peek(caller.key.keyId) === known
    return isKnown && this.#outage.servesKnown() ? known.principal : renewal
  }

  async #check(caller: Caller, loads: BatchedLoads<KeyRecord>): Promise<Principal> {
    const { key, digest } = caller
    for (;;) {
      const revision = this.#revision
      const readAt = this.#clock.now()
      const record = await this.#read(key.keyId, loads)
      if (record === undefined || record.revokedAt !== null) return this.#refuseId(key)
      if (!(await this.#matches(caller, record))) return this.#refuseSecret(caller)
      // The row may have been read before a revocation that was told of since: read it again.
      if (revision === this.#revision) return this.#remember(record, digest, readAt)
    }
  }

  #read(keyId: string, loads: BatchedLoads<KeyRecord>): Promise<KeyRecord | undefined> {
    if (loads === this.#lookups && loads.waiting >= this.#maxLookups) throw busy()
    return answerWithin(loads.load(keyId), PATIENCE_MS)
  }

  async #matches(caller: Caller, record: KeyRecord): Promise<boolean> {
    const { id: keyId, hash } = record
    const { address, digest, key } = caller
    if (!this.#hasher.isSlow(hash)) return this.#hasher.verify(hash, key)
    const known = this.#isProven(record, digest)
    if (known !== undefined) return known
    return this.#queue.run(keyId, networkOf(address), async () => {
      // Another caller may have sent the right secret while this one waited.
      const known = this.#isProven(record, digest)
      if (known !== undefined) return known
      const matches = await this.#hasher.verify(hash, key)
      if (!matches) return false
      this.#proven.set(keyId, { hash, digest })
      // Not waited for: this process has no need of it any more.
      this.#upgrade(record, key).catch(this.#onUpgradeFailed)
      return true
    })
  }

  async #upgrade({ id, hash }: KeyRecord, key: ApiKey): Promise<void> {
    const faster = await this.#hasher.faster(key)
    if (faster !== undefined) await replaceHash(this.#db, id, { from: hash, to: faster })
  }

  /** Undefined when the right secret is not known yet. */
  #isProven({ id, hash }: KeyRecord, digest: string): boolean | undefined {
    const proven = this.#proven.get(id)
    return proven?.hash === hash ? this.#digester.equal(digest, proven.digest) : undefined
  }

  #remember(record: KeyRecord, digest: string, readAt: number): Principal {
    const { id: keyId, namespaceId, tenantId } = record
    const principal = Object.freeze({ kind: 'api_key', keyId, namespaceId, tenantId })
    this.#verified.set(keyId, { digest, principal, freshUntil: readAt + this.#verifiedMs })
    return principal
  }

  /** A key that does not exist or is revoked: none of this id is worth another look-up for a while. */
  #refuseId({ keyId }: ApiKey): never {
    this.#verified.delete(keyId)
    // A copy: the id is a slice of the token, which would be kept with it.
    this.#unknown.set(Buffer.from(keyId).toString(), this.#clock.now() + this.#refusedMs)
    throw unauthenticated()
  }

  #refuseSecret({ key, digest }: Caller): never {
    if (this.#verified.peek(key.keyId)?.digest === digest) this.#verified.delete(key.keyId)
    this.#refused.set(digest, this.#clock.now() + this.#refusedMs)
    throw unauthenticated()
  }

  #isRefused(key: ApiKey, digest: string): boolean {
    const now = this.#clock.now()
    return now < (this.#refused.get(digest) ?? 0) || now < (this.#unknown.get(key.keyId) ?? 0)
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

function busy(): LessorError {
  return new LessorError('AUTHENTICATION_BUSY', undefined, { retryAfterSeconds: 1 })
}
