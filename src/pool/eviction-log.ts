import { LRUCache } from 'lru-cache'
import { EVICTION_REASONS, type EvictionReason, type EvictionRecord } from './contract.ts'

/** Evictions kept for operators to look at. */
const KEPT = 500
/** Tenants whose last eviction is remembered, so that thrash can be told. */
const REMEMBERED = 10_000

/** EvictionLog counts evictions by reason, keeps the last few hundred, and tells thrash. */
export class EvictionLog {
  readonly #records: EvictionRecord[] = []
  readonly #evictedAt = new LRUCache<string, number>({ max: REMEMBERED })
  readonly #counts = Object.fromEntries(EVICTION_REASONS.map((reason) => [reason, 0])) as Record<
    EvictionReason,
    number
  >

  add(record: EvictionRecord): void {
    this.#counts[record.reason] += 1
    this.#evictedAt.set(record.tenantId, record.at)
    this.#records.push(record)
    if (this.#records.length > KEPT) this.#records.shift()
  }

  /** Newest first. */
  list(): readonly EvictionRecord[] {
    return this.#records.toReversed()
  }

  counts(): Readonly<Record<EvictionReason, number>> {
    return { ...this.#counts }
  }

  /** evictedWithin says whether the tenant's pool was evicted within the last `ms` before `now`. */
  evictedWithin(tenantId: string, ms: number, now: number): boolean {
    const at = this.#evictedAt.get(tenantId)
    return at !== undefined && now - at <= ms
  }
}
