import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.ts'
import type { Db } from '../pool/statement.ts'
import type { TenantRef } from './tenant.ts'
import { findTenantRef } from './tenant-store.ts'

export interface TenantDirectoryOptions {
  /** Reads one tenant from the control database. */
  readonly load: (tenantId: string) => Promise<TenantRef | undefined>
  readonly clock: Clock
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
 * TenantDirectory remembers tenants for a few seconds, so that requests pay no look-up. Changes made
 * in this process are seen at once (`forget`), those of others when the snapshot has run out.
 */
export class TenantDirectory {
  readonly #load: (tenantId: string) => Promise<TenantRef | undefined>
  readonly #clock: Clock
  readonly #ttlMs: number
  readonly #unknownTtlMs: number
  readonly #known: LRUCache<string, Snapshot>
  /** Values are the times at which an id may be looked for again. */
  readonly #unknown: LRUCache<string, number>
  readonly #loads = new Map<string, Load>()

  constructor(options: TenantDirectoryOptions) {
    this.#load = options.load
    this.#clock = options.clock
    this.#ttlMs = options.ttlMs ?? 5_000
    this.#unknownTtlMs = options.unknownTtlMs ?? 1_000
    this.#known = new LRUCache({ max: options.maxTenants ?? 10_000 })
    this.#unknown = new LRUCache({ max: options.maxUnknown ?? 1_000 })
  }

  /** peek returns a tenant whose snapshot is fresh, without waiting. */
  peek(tenantId: string): TenantRef | undefined {
    const snapshot = this.#known.get(tenantId)
    return snapshot !== undefined && this.#clock.now() < snapshot.expiresAt ? snapshot.ref : undefined
  }

  /**
   * resolve reads a tenant that is not fresh, once for all who ask at the same time; undefined when
   * there is none.
   * @throws LessorError CONTROL_UNAVAILABLE
   */
  async resolve(tenantId: string): Promise<TenantRef | undefined> {
    for (;;) {
      const ref = this.peek(tenantId)
      if (ref !== undefined || this.#isUnknown(tenantId)) return ref
      const load = this.#loads.get(tenantId) ?? this.#start(tenantId)
      const loaded = await load.promise
      if (!load.stale) return loaded
    }
  }

  /** forget drops what is known of a tenant, and what a read under way will bring. */
  forget(tenantId: string): void {
    this.#known.delete(tenantId)
    this.#unknown.delete(tenantId)
    const load = this.#loads.get(tenantId)
    if (load === undefined) return
    load.stale = true
    this.#loads.delete(tenantId)
  }

  #isUnknown(tenantId: string): boolean {
    const until = this.#unknown.get(tenantId)
    return until !== undefined && this.#clock.now() < until
  }

  #start(tenantId: string): Load {
    const load: Load = { promise: this.#read(tenantId, () => load.stale), stale: false }
    this.#loads.set(tenantId, load)
    return load
  }

  async #read(tenantId: string, isStale: () => boolean): Promise<TenantRef | undefined> {
    // Counted from before the read: what it brings is at least as old as its answer.
    const now = this.#clock.now()
    try {
      const ref = await this.#load(tenantId)
      if (isStale()) return ref
      if (ref === undefined) this.#unknown.set(tenantId, now + this.#unknownTtlMs)
      else this.#known.set(tenantId, { ref, expiresAt: now + this.#ttlMs })
      return ref
    } finally {
      if (!isStale()) this.#loads.delete(tenantId)
    }
  }
}

/** openTenantDirectory makes a directory of the tenants in the control database. */
export function openTenantDirectory(db: Db, options: Omit<TenantDirectoryOptions, 'load'>): TenantDirectory {
  return new TenantDirectory({ ...options, load: (tenantId) => findTenantRef(db, tenantId) })
}
