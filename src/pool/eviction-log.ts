import { LRUCache } from 'lru-cache'
import { EVICTION_REASONS, type EvictionReason, type EvictionRecord } from './contract.ts'

/** Evictions kept for operators to look at. */
const KEPT = 500
/** Tenants whose last eviction is remembered, so that thrash can be told. */
const REMEMBERED = 10_000

/** Evictions for want of room or use; the others say nothing of whether it was too early. */
const TOO_EARLY: ReadonlySet<EvictionReason> = new Set(['idle', 'capacity', 'budget'])

interface LastEviction {
  at: number
  reason: EvictionReason
  /** How often in a row the tenant came back too soon after an eviction. */
  strikes: number
}

/** EvictionLog counts evictions by reason, keeps the last few hundred, and tells thrash. */
export class EvictionLog {
  readonly #records: EvictionRecord[] = []
  readonly #last = new LRUCache<string, LastEviction>({ max: REMEMBERED })
  readonly #counts = Object.fromEntries(EVICTION_REASONS.map((reason) => [reason, 0])) as Record<
    EvictionReason,
    number
  >

  add(record: EvictionRecord): void {
    const { tenantId, at, reason } = record
    this.#counts[reason] += 1
    this.#last.set(tenantId, { at, reason, strikes: this.#last.get(tenantId)?.strikes ?? 0 })
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

  /**
   * reopened says whether the tenant comes back within `ms` of an eviction that made room or ended
   * idleness, and how often in a row it has. Coming back later takes one strike off.
   */
  reopened(
    tenantId: string,
    ms: number,
    now: number,
  ): { readonly isThrash: boolean; readonly strikes: number } {
    const last = this.#last.get(tenantId)
    if (last === undefined) return { isThrash: false, strikes: 0 }
    const isThrash = now - last.at <= ms && TOO_EARLY.has(last.reason)
    if (isThrash) last.strikes += 1
    else if (now - last.at > ms) last.strikes = Math.max(0, last.strikes - 1)
    return { isThrash, strikes: last.strikes }
  }
}
