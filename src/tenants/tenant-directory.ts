import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.ts'
import { answerWithin } from '../control/answer-within.ts'
import { BatchedLoads } from '../control/batched-loads.ts'
import type { Outage } from '../control/outage.ts'
import { isLessorError } from '../errors.ts'
import type { Db } from '../pool/statement.ts'
import type { TenantRef } from './tenant.ts'
import { findTenantRefs } from './tenant-store.ts'

export interface TenantDirectoryOptions {
  /** Reads tenants from the control database; unknown ids are left out. */
  readonly load: (tenantIds: readonly string[]) => Promise<readonly TenantRef[]>
  readonly clock: Clock
  /** While there is one, tenants once read are served however old they are; see Outage. */
  readonly outage?: Pick<Outage, 'failed' | 'servesKnown' | 'orBegun'>
  /** How long a tenant once read is not read again. */
  readonly ttlMs?: number
  /** How long an unknown id is not looked for again. */
  readonly unknownTtlMs?: number
  /** Tenants remembered. */
  readonly maxTenants?: number
  /** Unknown ids remembered; apart from tenants, so that made-up ids cannot push them out. */
  readonly maxUnknown?: number
}

interface Snapshot {
  readonly ref: TenantRef
  readonly expiresAt: number
}

/** Load is one read under way. `forget` sets `stale`: what it brings may be older than the change. */
interface Load {
  readonly promise: Promise<TenantRef | undefined>
  stale: boolean
}

/**
 * TenantDirectory remembers tenants for a few seconds, so that requests pay no look-up. What is
 * changed is forgotten (`forget`): at once in the process that changes it, by the change feed in the others.
 */
export class TenantDirectory {
  readonly #loads: BatchedLoads<TenantRef>
  readonly #clock: Clock
  readonly #outage: TenantDirectoryOptions['outage']
  readonly #ttlMs: number
  readonly #unknownTtlMs: number
  readonly #known: LRUCache<string, Snapshot>
  /** Values are the times at which an id may be looked for again. */
  readonly #unknown: LRUCache<string, number>
  readonly #underWay = new Map<string, Load>()

  constructor(options: TenantDirectoryOptions) {
    this.#loads = new BatchedLoads({ load: options.load, idOf: (ref) => ref.tenantId })
    this.#clock = options.clock
    this.#outage = options.outage
    this.#ttlMs = options.ttlMs ?? 5_000
    this.#unknownTtlMs = options.unknownTtlMs ?? 1_000
    this.#known = new LRUCache({ max: options.maxTenants ?? 10_000 })
    this.#unknown = new LRUCache({ max: options.maxUnknown ?? 10_000 })
  }

  /** peek returns a tenant whose snapshot may be used, without waiting. */
  peek(tenantId: string): TenantRef | undefined {
    const snapshot = this.#known.get(tenantId)
    if (snapshot === undefined) return undefined
    if (this.#clock.now() < snapshot.expiresAt || this.#outage?.servesKnown()) return snapshot.ref
    return undefined
  }

  /**
   * resolve reads a tenant that is not fresh, once for all who ask at the same time and together with
   * others; undefined when there is none.
   * @throws LessorError CONTROL_UNAVAILABLE
   */
  async resolve(tenantId: string): Promise<TenantRef | undefined> {
    for (;;) {
      const ref = this.peek(tenantId)
      if (ref !== undefined || this.#isUnknown(tenantId)) return ref
      const load = this.#underWay.get(tenantId) ?? this.#start(tenantId)
      const loaded = await this.#settle(tenantId, load)
      if (!load.stale) return loaded
    }
  }

  /** forget drops what is known of a tenant, and what a read under way will bring. */
  forget(tenantId: string): void {
    this.#known.delete(tenantId)
    this.#unknown.delete(tenantId)
    const load = this.#underWay.get(tenantId)
    if (load === undefined) return
    load.stale = true
    this.#underWay.delete(tenantId)
  }

  /** forgetAll does the same for every tenant. */
  forgetAll(): void {
    this.#known.clear()
    this.#unknown.clear()
    for (const load of this.#underWay.values()) load.stale = true
    this.#underWay.clear()
  }

  /** Waits for a read, but not past the beginning of an outage where there is a snapshot to serve. */
  async #settle(tenantId: string, { promise }: Load): Promise<TenantRef | undefined> {
    if (this.#outage === undefined || !this.#known.has(tenantId)) return promise
    try {
      await this.#outage.orBegun(promise)
    } catch (error) {
      if (!isLessorError(error, 'CONTROL_UNAVAILABLE')) throw error
      this.#outage.failed(error)
    }
    return this.peek(tenantId) ?? promise
  }

  #isUnknown(tenantId: string): boolean {
    const until = this.#unknown.get(tenantId)
    return until !== undefined && this.#clock.now() < until
  }

  #start(tenantId: string): Load {
    const load: Load = { promise: this.#read(tenantId, () => load.stale), stale: false }
    // Whoever gave up waiting, since an outage began, does not hear of its failure.
    load.promise.catch(() => {})
    this.#underWay.set(tenantId, load)
    return load
  }

  async #read(tenantId: string, isStale: () => boolean): Promise<TenantRef | undefined> {
    // Counted from before the read: what it brings is at least as old as its answer.
    const now = this.#clock.now()
    try {
      const ref = await this.#loads.load(tenantId)
      if (isStale()) return ref
      if (ref === undefined) this.#unknown.set(tenantId, now + this.#unknownTtlMs)
      else this.#known.set(tenantId, { ref, expiresAt: now + this.#ttlMs })
      return ref
    } finally {
      if (!isStale()) this.#underWay.delete(tenantId)
    }
  }
}

/** A control database that does not answer a look-up in this time is taken for away. */
const PATIENCE_MS = 5_000

/** openTenantDirectory makes a directory of the tenants in the control database. */
export function openTenantDirectory(db: Db, options: Omit<TenantDirectoryOptions, 'load'>): TenantDirectory {
  return new TenantDirectory({
    ...options,
    load: (tenantIds) => answerWithin(findTenantRefs(db, tenantIds), PATIENCE_MS),
  })
}
