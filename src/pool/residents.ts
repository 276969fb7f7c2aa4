import { LRUCache } from 'lru-cache'
import type { LessorError } from '../errors.ts'
import { Admission } from './admission.ts'
import type { Caller, EvictionReason, EvictionRecord, Locate, PoolKey, Usage } from './contract.ts'
import { openError } from './driver-errors.ts'
import { shuttingDown } from './end-errors.ts'
import type { Engine } from './engine.ts'
import { Entry } from './entry.ts'
import { EvictionLog } from './eviction-log.ts'
import { logIn } from './log-in.ts'
import { priceOf } from './reclaim.ts'
import { SharedPools } from './shared-pools.ts'
import type { SlotOwner } from './slot.ts'

/** So many of the least recently used idle entries are looked at for the one that is cheapest to lose. */
const LOOKED_AT = 16
/** How long a tenant keeps its place when all are in use and others wait for one. */
const TURN_MS = 250

/**
 * Residents is who has a place: entries that are opening or ready, at most `maxEntries`; which of
 * them are idle, least recently used first; those that still drain; and the callers that wait for a
 * place. A lease is counted in the same turn of the event loop as the look-up, so an eviction never
 * slips between the two.
 */
export class Residents {
  readonly log = new EvictionLog()
  readonly #engine: Engine
  readonly #locate: Locate
  readonly #shared: SharedPools
  /** Opening or ready. Only `#admit` adds, only `#remove` removes. */
  readonly #entries = new Map<string, Entry>()
  /** The entries without a lease, least recently used first. Follows `leases` and `#entries`. */
  readonly #idle: LRUCache<string, Entry>
  /** Entries out of the registry that still have leases or connections. */
  readonly #draining = new Set<Entry>()
  /** Callers that wait for a place. */
  readonly #admission: Admission
  #leases = 0
  #peak = 0
  #isClosed = false

  constructor(engine: Engine, locate: Locate) {
    this.#engine = engine
    this.#locate = locate
    this.#shared = new SharedPools(engine)
    this.#idle = new LRUCache({ max: engine.limits.maxEntries })
    this.#admission = new Admission(engine.room)
  }

  get entries(): ReadonlyMap<string, Entry> {
    return this.#entries
  }

  get idle(): LRUCache<string, Entry> {
    return this.#idle
  }

  get draining(): ReadonlySet<Entry> {
    return this.#draining
  }

  get leases(): number {
    return this.#leases
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  get usage(): Usage {
    return { used: this.#entries.size, limit: this.#engine.limits.maxEntries, peak: this.#peak }
  }

  /** close refuses new work from now on, evicts everything, and returns how many waiting callers it refused. */
  close(): number {
    this.#isClosed = true
    const refused = this.#admission.refuseAll(shuttingDown())
    for (const entry of [...this.#entries.values()]) this.evict(entry, 'shutdown')
    return refused
  }

  /**
   * tick makes a place for who has waited a turn for one while all are in use: whoever has had his for
   * longest drains, serves the leases that he has, and stands in line for the next ones.
   */
  tick(now: number): void {
    const since = this.#admission.since
    if (since === undefined || now - since < TURN_MS) return
    if (this.#idle.size === 0 && this.#entries.size >= this.#engine.limits.maxEntries) {
      const [first] = this.#entries.values().filter(({ state }) => state === 'ready')
      if (first === undefined || now - first.createdAt < TURN_MS) return
      this.evict(first, 'capacity')
    }
    this.admitNext()
  }

  /** The look-up and the count are one synchronous step; so it is everywhere a lease begins. */
  retainReady(key: PoolKey): Entry | undefined {
    const entry = this.#entries.get(key.tenantId)
    if (entry === undefined || entry.state !== 'ready' || entry.generation < key.generation) return undefined
    entry.hits += 1
    this.#engine.counters.hits += 1
    this.#retain(entry)
    return entry
  }

  async retainCold(key: PoolKey, caller: Caller): Promise<Entry> {
    const isWaited = !this.#admission.isEmpty && !this.#entries.has(key.tenantId)
    const entry = isWaited ? undefined : this.#checkOut(key)
    if (entry === undefined) return this.#placeFor(key, caller)
    if (entry.state === 'opening') await this.#opened(entry, caller)
    return entry
  }

  /** checkOut finds or admits the entry of this key and counts a lease; undefined when there is no place for it. */
  #checkOut(key: PoolKey): Entry | undefined {
    if (this.#isClosed) throw shuttingDown()
    let entry = this.#entries.get(key.tenantId)
    if (entry !== undefined && entry.generation < key.generation) {
      this.evict(entry, 'rotation')
      entry = undefined
    }
    // One that is open serves, whatever has failed meanwhile; for all else the breakers decide.
    if (entry?.state !== 'ready') {
      const refusal = this.#engine.breakers.refusal(key.tenantId)
      if (refusal !== undefined) throw refusal
    }
    entry ??= this.#hasPlace() ? this.#admit(key) : undefined
    if (entry !== undefined) this.#retain(entry)
    return entry
  }

  /** hasPlace makes a place, if need be, by evicting the idle entry that goes next. */
  #hasPlace(): boolean {
    if (this.#entries.size < this.#engine.limits.maxEntries) return true
    const [next] = this.nextToGo()
    if (next === undefined) return false
    this.evict(next, 'capacity')
    return true
  }

  /** nextToGo is the idle entries that would make place for others, of the least recently used ones the cheapest first. */
  nextToGo(): readonly Entry[] {
    const now = this.#engine.clock.now()
    const entries = [...this.#idle.rvalues().take(LOOKED_AT)].filter((entry) => entry !== undefined)
    return entries.sort((a, b) => priceOf(a, a.idleMs(now)) - priceOf(b, b.idleMs(now)))
  }

  /** price is what losing the pool's entry costs; undefined when that is in use, or not resident. */
  price(pool: SlotOwner): number | undefined {
    const entry = this.#entries.get(pool.tenantId)
    if (entry === undefined || entry.pool?.claimant !== pool || entry.leases > 0 || entry.state !== 'ready')
      return undefined
    return priceOf(entry, entry.idleMs(this.#engine.clock.now()))
  }

  #placeFor(key: PoolKey, caller: Caller): Promise<Entry> {
    return new Promise((resolve, reject) => {
      const letIn = () => {
        try {
          const entry = this.#checkOut(key)
          if (entry === undefined) throw new Error('bug: a caller was let in without a place')
          // In the same turn: an opening that fails at once must find him among those who wait for it.
          if (entry.state === 'opening') this.#opened(entry, caller).then(() => resolve(entry), reject)
          else resolve(entry)
        } catch (error) {
          reject(error)
        }
      }
      this.#admission.add(key.tenantId, caller, this.#engine.limits.acquireTimeoutMs, {
        letIn,
        refuse: reject,
      })
      this.#engine.wake()
    })
  }

  #opened(entry: Entry, caller: Caller): Promise<void> {
    const since = this.#engine.clock.now()
    return new Promise((resolve, reject) => {
      const served = () => {
        this.#engine.observer.waited(this.#engine.clock.now() - since)
        resolve()
      }
      const refused = (error: Error) => {
        this.release(entry)
        reject(error)
      }
      try {
        entry.callers.add(served, caller, this.#engine.limits.acquireTimeoutMs, refused)
      } catch (error) {
        this.release(entry)
        throw error
      }
      this.#engine.wake()
    })
  }

  #admit(key: PoolKey): Entry {
    const { clock, limits, counters, room } = this.#engine
    if (this.#entries.has(key.tenantId)) throw new Error('bug: the tenant has an entry already')
    const now = clock.now()
    const { isThrash, strikes } = this.log.reopened(key.tenantId, limits.thrashMs, now)
    if (isThrash) counters.reopened += 1
    const idleLimitMs = Math.min(limits.maxIdleMs, limits.idleMs * 2 ** strikes)
    if (isThrash && idleLimitMs > limits.idleMs) counters.idleExtended += 1
    const entry = new Entry(key, room, { now, strikes, idleLimitMs })
    this.#entries.set(key.tenantId, entry)
    this.#peak = Math.max(this.#peak, this.#entries.size)
    void this.#open(entry, now)
    return entry
  }

  /** open finds the credential and proves the login. Never rejects: the outcome is the entry's state. */
  async #open(entry: Entry, startedAt: number): Promise<void> {
    const { clock, counters, observer } = this.#engine
    try {
      await logIn(entry, this.#engine, {
        locate: this.#locate,
        shared: this.#shared,
        onFailure: () => {
          this.evict(entry, 'failure')
          this.admitNext()
        },
      })
    } catch (error) {
      counters.opensFailed += 1
      observer.opened('failed', clock.now() - startedAt)
      const refused = openError(error)
      // The pool tells the breakers of its own failures; this one came before there was a pool.
      if (entry.pool === undefined) this.#engine.breakers.failed(entry.tenantId, undefined, refused)
      this.#openFailed(entry, refused)
      return
    }
    counters.opensOk += 1
    entry.opening = undefined
    entry.reopenMs = clock.now() - startedAt
    observer.opened('ok', entry.reopenMs)
    if (entry.evicted === undefined) {
      entry.become('ready')
      if (entry.leases === 0) this.#rest(entry)
    } else {
      this.#drain(entry)
    }
    for (let caller = entry.callers.shift(); caller !== undefined; caller = entry.callers.shift())
      caller.want()
  }

  #openFailed(entry: Entry, error: LessorError): void {
    this.#remove(entry)
    entry.callers.refuseAll(error)
    // A connection may still be on its way: the entry is closed when that is gone as well.
    this.#drain(entry)
    this.admitNext()
  }

  /** evict makes a place; whoever calls it decides who gets that, most often by `admitNext`. */
  evict(entry: Entry, reason: EvictionReason): void {
    const { clock, observer } = this.#engine
    const now = clock.now()
    const counts = entry.pool?.counts
    const record: EvictionRecord = {
      tenantId: entry.tenantId,
      generation: entry.generation,
      reason,
      at: now,
      ageMs: now - entry.createdAt,
      idleMs: entry.idleMs(now),
      leases: entry.leases,
      connections: counts === undefined ? 0 : counts.idle + counts.busy,
    }
    this.#remove(entry)
    this.log.add(record)
    observer.evicted(record)
    entry.evicted = reason
    entry.drainingSince = now
    this.#draining.add(entry)
    this.#engine.wake()
    // An entry that is still opening drains when it is open; `#open` sees that it was evicted.
    if (entry.state === 'ready') this.#drain(entry)
  }

  #drain(entry: Entry): void {
    const { clock, observer } = this.#engine
    entry.become('draining')
    entry.drainingSince = clock.now()
    this.#draining.add(entry)
    const drained = entry.pool?.drained ?? Promise.resolve()
    drained.then(() => {
      entry.become('closed')
      this.#draining.delete(entry)
      observer.drained(clock.now() - entry.drainingSince)
    })
    entry.pool?.drain(entry.leases)
  }

  #remove(entry: Entry): void {
    if (this.#entries.get(entry.tenantId) === entry) {
      this.#entries.delete(entry.tenantId)
      this.#idle.delete(entry.tenantId)
    }
  }

  #retain(entry: Entry): void {
    entry.lastAccess = this.#engine.clock.now()
    entry.leases += 1
    this.#leases += 1
    if (entry.leases === 1) this.#idle.delete(entry.tenantId)
  }

  readonly release = (entry: Entry): void => {
    entry.leases -= 1
    this.#leases -= 1
    if (entry.state === 'draining') entry.pool?.drain(entry.leases)
    else if (entry.leases === 0 && entry.state === 'ready') this.#rest(entry)
  }

  #rest(entry: Entry): void {
    entry.idleSince = this.#engine.clock.now()
    this.#idle.set(entry.tenantId, entry)
    this.admitNext()
    if (entry.pool !== undefined) this.#engine.budgets.relieve(entry.pool.claimant)
  }

  /** admitNext lets callers in who wait for a place, as long as there is one or one can be made. */
  admitNext(): void {
    while (this.#entries.size < this.#engine.limits.maxEntries || this.#idle.size > 0) {
      if (!this.#admission.letNextIn()) return
    }
  }
}
