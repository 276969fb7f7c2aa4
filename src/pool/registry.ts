import type { Clock } from '../clock.ts'
import { LessorError } from '../errors.ts'
import { Breakers } from './breakers.ts'
import { Budgets } from './budgets.ts'
import type {
  BreakerSnapshot,
  BudgetSnapshot,
  Caller,
  CloseReport,
  Connect,
  EvictionCandidate,
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
  Reservation,
  SweepReport,
} from './contract.ts'
import { newCounters } from './counters.ts'
import { Crowds } from './crowds.ts'
import { drainDeadline, shuttingDown } from './end-errors.ts'
import type { Engine } from './engine.ts'
import type { Entry } from './entry.ts'
import { budgetOf, candidatesOf, gaugesOf } from './explain.ts'
import type { Need } from './need.ts'
import { Pauses } from './pauses.ts'
import { cheapestToLose } from './reclaim.ts'
import { Reservations } from './reservation.ts'
import { Residents } from './residents.ts'
import type { Slot, SlotOwner } from './slot.ts'
import type { Db } from './statement.ts'
import { sweepIdle } from './sweep.ts'
import { TenantLease } from './tenant-db.ts'
import { WaitingRoom } from './waiting-room.ts'

/** How often deadlines are looked after. They are in seconds, so this is exact enough. */
const TICK_MS = 50
/** How long cancel requests have after `destroy` before the sockets are dropped. */
const DESTROY_GRACE_MS = 1_000

const SILENT: PoolObserver = { opened() {}, waited() {}, drained() {}, swept() {}, evicted() {} }

export interface PoolRegistryOptions {
  readonly limits: PoolLimits
  readonly clock: Clock
  readonly connect: Connect
  readonly locate: Locate
  readonly observer?: PoolObserver
  /**
   * This process's part of a data server's connections; `serverMaxConnections` by default. Asked at each
   * decision. Call `rebalance` when it has changed.
   */
  readonly serverLimit?: (server: string) => number
  /** False leaves `tick` to the caller, who moves the clock; by default a timer calls it. */
  readonly hasTimer?: boolean
  /** Spreads the pauses of breakers; Math.random by default. */
  readonly random?: () => number
}

/**
 * PoolRegistry keeps one entry per tenant: opened on first use, leased to callers, evicted when idle
 * or when its place is needed. It is the door of the engine, and looks after its deadlines.
 */
export class PoolRegistry implements Pools {
  readonly #engine: Engine
  readonly #residents: Residents
  readonly #reservations: Reservations
  readonly #hasTimer: boolean
  #timer: NodeJS.Timeout | undefined
  #closed: Promise<CloseReport> | undefined
  readonly #cuts = { statements: 0, waiters: 0 }
  /** When the sockets that are left after `destroy` are dropped. */
  #dropAt = Number.POSITIVE_INFINITY
  #destroyed: Promise<void> | undefined

  constructor(options: PoolRegistryOptions) {
    const { limits, clock, connect, locate, observer = SILENT, random = Math.random } = options
    const { serverLimit = () => limits.serverMaxConnections } = options
    this.#hasTimer = options.hasTimer ?? true
    const counters = newCounters()
    const breakers = new Breakers({ clock, limits, counters, random })
    const crowds = new Crowds({ clock, limits })
    const budgets = new Budgets({
      limits,
      serverLimit,
      isWary: (server) => breakers.isWary(server) || crowds.has(server),
      isPausing: (server) => crowds.isPausing(server),
      makeRoom: (need) => this.#makeRoom(need),
    })
    this.#engine = {
      clock,
      limits,
      connect,
      observer,
      counters,
      room: new WaitingRoom(clock, limits.maxWaiting, counters),
      budgets,
      breakers,
      crowds,
      pauses: new Pauses(clock, limits.maxWaiting),
      slots: new Map<Slot, SlotOwner>(),
      wake: () => this.#wake(),
    }
    this.#residents = new Residents(this.#engine, locate)
    this.#reservations = new Reservations(this.#engine)
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

  async evictOlder({ tenantId, generation }: PoolKey, reason: EvictionReason): Promise<boolean> {
    const entry = this.#residents.entries.get(tenantId)
    const isOlder = entry !== undefined && entry.generation < generation
    if (isOlder) {
      this.#residents.evict(entry, reason)
      this.#residents.admitNext()
    }
    const older = [...this.#residents.draining].filter(
      (each) => each.tenantId === tenantId && each.generation < generation,
    )
    await Promise.all(older.map((each) => each.closed))
    return isOlder
  }

  sweep(options: { readonly dryRun?: boolean } = {}): SweepReport {
    const { clock, limits, observer, slots } = this.#engine
    try {
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
      return report
    } finally {
      this.#residents.admitNext()
    }
  }

  async reserve(server: string, tenantId: string, caller: Caller): Promise<Reservation> {
    if (this.#residents.isClosed) throw shuttingDown()
    return this.#reservations.take(server, tenantId, caller)
  }

  rebalance(): void {
    this.#engine.budgets.rebalance()
  }

  breaker(tenantId: string): BreakerSnapshot {
    return this.#engine.breakers.tenant(tenantId)
  }

  forgive(tenantId: string): void {
    this.#engine.breakers.forgive(tenantId)
  }

  used(server: string): number {
    return this.#engine.budgets.used(server)
  }

  counters(): PoolCounters {
    const {
      opensOk,
      opensFailed,
      openedForTenant,
      openedForServer,
      refusedByTenant,
      refusedByServer,
      ...others
    } = this.#engine.counters
    return {
      ...others,
      opens: { ok: opensOk, failed: opensFailed },
      evictions: this.#residents.log.counts(),
      breakers: {
        opened: { tenant: openedForTenant, server: openedForServer },
        refused: { tenant: refusedByTenant, server: refusedByServer },
      },
    }
  }

  gauges(): PoolGauges {
    return gaugesOf(this.#engine, this.#residents)
  }

  budget(): BudgetSnapshot {
    return budgetOf(this.#engine, this.#residents)
  }

  candidates(limit: number): readonly EvictionCandidate[] {
    return candidatesOf(this.#engine, this.#residents, limit)
  }

  snapshots(): readonly PoolSnapshot[] {
    return [...this.#residents.entries.values(), ...this.#residents.draining].map((entry) =>
      this.#look(entry),
    )
  }

  snapshot(tenantId: string): PoolSnapshot | undefined {
    const entry = this.#residents.entries.get(tenantId)
    return entry && this.#look(entry)
  }

  evictions(): readonly EvictionRecord[] {
    return this.#residents.log.list()
  }

  close(): Promise<CloseReport> {
    this.#closed ??= this.#shutDown()
    return this.#closed
  }

  destroy(error: Error): Promise<void> {
    this.#destroyed ??= this.#destroy(error)
    return this.#destroyed
  }

  /** tick looks after everything that has a deadline. Called by a timer while there is any. */
  tick(): void {
    const { clock, limits, pauses, room, slots } = this.#engine
    const now = clock.now()
    room.tick()
    pauses.tick()
    this.#residents.tick(now)
    this.#engine.budgets.tick()
    for (const [slot, pool] of slots) pool.tick(slot, now)
    for (const entry of this.#residents.draining) {
      if (now - entry.drainingSince >= limits.drainTimeoutMs) this.#cut(entry, drainDeadline(entry))
      if (now >= this.#dropAt) entry.pool?.destroy(shuttingDown())
    }
    const isQuiet = slots.size === 0 && room.isEmpty && pauses.isEmpty
    if (isQuiet && this.#residents.draining.size === 0) this.#sleep()
  }

  #look(entry: Entry): PoolSnapshot {
    return entry.snapshot(this.#engine.clock.now(), this.#engine.breakers.tenant(entry.tenantId))
  }

  /** False when there is no idle connection to close. */
  #makeRoom(need: Need): boolean {
    const { clock, slots } = this.#engine
    const victim = cheapestToLose(slots, need, clock.now(), (pool) => this.#residents.price(pool))
    if (victim === undefined) return false
    const entry = this.#residents.entries.get(victim.pool.tenantId)
    if (victim.wholeEntry && entry !== undefined) {
      this.#residents.evict(entry, 'budget')
      this.#residents.admitNext()
    } else victim.pool.close(victim.slot)
    return true
  }

  #cut(entry: Entry, error: LessorError): void {
    this.#cuts.waiters += entry.callers.size
    entry.callers.refuseAll(error)
    entry.opening?.abort(error)
    const cut = entry.pool?.cut(error)
    this.#cuts.statements += cut?.statements ?? 0
    this.#cuts.waiters += cut?.waiters ?? 0
  }

  async #shutDown(): Promise<CloseReport> {
    const { clock } = this.#engine
    const startedAt = clock.now()
    const { leases } = this.#residents
    this.#cuts.waiters += this.#residents.close()
    this.#reservations.refuseAll(shuttingDown())
    // Evictions before that are not this end's doing, but it waits for them as well.
    await Promise.all([...this.#residents.draining].map((entry) => entry.closed))
    this.#sleep()
    return {
      durationMs: Math.round(clock.now() - startedAt),
      leases,
      statementsCut: this.#cuts.statements,
      waitersCut: this.#cuts.waiters,
    }
  }

  async #destroy(error: Error): Promise<void> {
    const cause = new LessorError('SHUTTING_DOWN', 'The pools were destroyed.', { cause: error })
    const closed = this.close()
    for (const entry of this.#residents.draining) this.#cut(entry, cause)
    // The server is asked to stop what runs; whoever does not obey in time loses its socket.
    this.#dropAt = this.#engine.clock.now() + DESTROY_GRACE_MS
    this.#wake()
    await closed
  }

  #wake(): void {
    if (!this.#hasTimer || this.#timer !== undefined) return
    this.#timer = setInterval(() => this.tick(), TICK_MS)
    this.#timer.unref()
  }

  #sleep(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
