import type { Clock } from '../clock.ts'
import { LessorError } from '../errors.ts'
import { Budgets, type Shortage } from './budgets.ts'
import type {
  Caller,
  Connect,
  EvictionReason,
  EvictionRecord,
  Lease,
  Locate,
  PoolCounters,
  PoolGauges,
  PoolKey,
  PoolLimits,
  PoolObserver,
  PoolSnapshot,
  Pools,
  SweepReport,
} from './contract.ts'
import { drainDeadline } from './end-errors.ts'
import { type Engine, newCounters } from './engine.ts'
import type { Entry } from './entry.ts'
import { cheapestToLose } from './reclaim.ts'
import { Residents } from './residents.ts'
import type { Slot, SlotOwner } from './slot.ts'
import type { Db } from './statement.ts'
import { sweepIdle } from './sweep.ts'
import { TenantLease } from './tenant-db.ts'
import { WaitingRoom } from './waiting-room.ts'

/** How often deadlines are looked after. They are in seconds, so this is exact enough. */
const TICK_MS = 50

const SILENT: PoolObserver = { opened() {}, waited() {}, drained() {}, swept() {}, evicted() {} }

export interface PoolRegistryOptions {
  readonly limits: PoolLimits
  readonly clock: Clock
  readonly connect: Connect
  readonly locate: Locate
  readonly observer?: PoolObserver
}

/**
 * PoolRegistry keeps one entry per tenant: opened on first use, leased to callers, evicted when idle
 * or when its place is needed. It is the door of the engine, and looks after its deadlines.
 */
export class PoolRegistry implements Pools {
  readonly #engine: Engine
  readonly #residents: Residents
  #timer: NodeJS.Timeout | undefined
  #closed: Promise<void> | undefined
  #destroyed: Promise<void> | undefined

  constructor(options: PoolRegistryOptions) {
    const { limits, clock, connect, locate, observer = SILENT } = options
    const counters = newCounters()
    const room = new WaitingRoom(clock, limits.maxWaiting, () => {
      counters.saturated += 1
    })
    this.#engine = {
      clock,
      limits,
      connect,
      observer,
      counters,
      room,
      budgets: new Budgets(limits, (shortage) => this.#makeRoom(shortage)),
      slots: new Map<Slot, SlotOwner>(),
      wake: () => this.#wake(),
    }
    this.#residents = new Residents(this.#engine, locate)
  }

  async use<T>(key: PoolKey, caller: Caller, fn: (db: Db) => Promise<T>): Promise<T> {
    const entry = this.#residents.retainReady(key) ?? (await this.#residents.retainCold(key, caller))
    const lease = new TenantLease(entry, caller, this.#residents.release)
    try {
      return await fn(lease)
    } finally {
      lease.release()
    }
  }

  async acquire(key: PoolKey, caller: Caller): Promise<Lease> {
    const entry = this.#residents.retainReady(key) ?? (await this.#residents.retainCold(key, caller))
    return new TenantLease(entry, caller, this.#residents.release)
  }

  async evict(tenantId: string, reason: EvictionReason): Promise<boolean> {
    const entry = this.#residents.entries.get(tenantId)
    if (entry !== undefined) this.#residents.evict(entry, reason)
    this.#residents.admitNext()
    const draining = [...this.#residents.draining].filter((each) => each.tenantId === tenantId)
    await Promise.all(draining.map((each) => each.closed))
    return entry !== undefined
  }

  sweep(options: { readonly dryRun?: boolean } = {}): SweepReport {
    const { clock, limits, observer, slots } = this.#engine
    const report = sweepIdle({
      dryRun: options.dryRun ?? false,
      clock,
      limits,
      resident: this.#residents.entries.size,
      idle: this.#residents.idle,
      slots,
      evict: (entry) => this.#residents.evict(entry, 'idle'),
    })
    if (!report.dryRun) observer.swept(report.durationMs)
    this.#residents.admitNext()
    return report
  }

  counters(): PoolCounters {
    const { opensOk, opensFailed, ...others } = this.#engine.counters
    return { ...others, opens: { ok: opensOk, failed: opensFailed }, evictions: this.#residents.log.counts() }
  }

  gauges(): PoolGauges {
    const entries = { opening: 0, ready: 0, draining: this.#residents.draining.size }
    for (const entry of this.#residents.entries.values())
      entries[entry.state === 'opening' ? 'opening' : 'ready'] += 1
    const connections = { opening: 0, idle: 0, busy: 0, closing: 0 }
    for (const { state } of this.#engine.slots.keys()) {
      if (state === 'held') connections.busy += 1
      else if (state !== 'closed') connections[state] += 1
    }
    return { entries, leases: this.#residents.leases, waiting: this.#engine.room.size, connections }
  }

  snapshots(): readonly PoolSnapshot[] {
    const now = this.#engine.clock.now()
    return [...this.#residents.entries.values(), ...this.#residents.draining].map((entry) =>
      entry.snapshot(now),
    )
  }

  snapshot(tenantId: string): PoolSnapshot | undefined {
    return this.#residents.entries.get(tenantId)?.snapshot(this.#engine.clock.now())
  }

  evictions(): readonly EvictionRecord[] {
    return this.#residents.log.list()
  }

  close(): Promise<void> {
    this.#closed ??= this.#shutDown()
    return this.#closed
  }

  destroy(error: Error): Promise<void> {
    this.#destroyed ??= this.#destroy(error)
    return this.#destroyed
  }

  /** tick looks after everything that has a deadline. Called by a timer while there is any. */
  tick(): void {
    const { clock, limits, room, slots } = this.#engine
    const now = clock.now()
    room.tick()
    for (const [slot, pool] of slots) pool.tick(slot, now)
    for (const entry of this.#residents.draining) {
      if (now - entry.drainingSince >= limits.drainTimeoutMs) this.#cut(entry, drainDeadline(entry))
    }
    if (slots.size === 0 && room.isEmpty && this.#residents.draining.size === 0) this.#sleep()
  }

  #makeRoom(shortage: Shortage): void {
    const victim = cheapestToLose(this.#engine.slots, shortage, (pool) => {
      const entry = this.#residents.entries.get(pool.tenantId)
      return entry?.pool === pool && entry.leases === 0 && entry.state === 'ready'
    })
    if (victim === undefined) return
    const entry = this.#residents.entries.get(victim.pool.tenantId)
    if (victim.wholeEntry && entry !== undefined) {
      this.#residents.evict(entry, 'budget')
      this.#residents.admitNext()
    } else victim.pool.close(victim.slot)
  }

  #cut(entry: Entry, error: LessorError): void {
    entry.callers.refuseAll(error)
    entry.opening.abort(error)
    entry.pool?.cut(error)
  }

  async #shutDown(): Promise<void> {
    this.#residents.close()
    await Promise.all([...this.#residents.draining].map((entry) => entry.closed))
    this.#sleep()
  }

  async #destroy(error: Error): Promise<void> {
    const cause = new LessorError('SHUTTING_DOWN', 'The pools were destroyed.', { cause: error })
    const closed = this.close()
    for (const entry of this.#residents.draining) {
      this.#cut(entry, cause)
      entry.pool?.destroy(cause)
    }
    await closed
  }

  #wake(): void {
    if (this.#timer !== undefined) return
    this.#timer = setInterval(() => this.tick(), TICK_MS)
    this.#timer.unref()
  }

  #sleep(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
