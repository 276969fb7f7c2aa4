import { LessorError } from '../errors.ts'
import type { Claimant } from './claims.ts'
import type { Caller, ConnectionTarget, Rows, Running } from './contract.ts'
import { Credential } from './credential.ts'
import { CROWD_MS, crowdPause } from './crowds.ts'
import { overdue } from './deadlines.ts'
import {
  isCrowded,
  isOutOfLocks,
  isReadOnly,
  openError,
  readOnlyError,
  statementError,
} from './driver-errors.ts'
import type { Engine } from './engine.ts'
import { Line } from './line.ts'
import { Member, type SharedTenant, type Want } from './member.ts'
import { leavesSessionState, setsMode } from './session-state.ts'
import { Sharing } from './sharing.ts'
import { Slot, type SlotOwner } from './slot.ts'
import type { Statement } from './statement.ts'
import type { TenantPool, Work } from './tenant-pool.ts'
import { WaitQueue } from './waiting-room.ts'
import { READ_ONLY_MS } from './writable-hosts.ts'

/** How long a tenant of weight 1 keeps its only connection while tenants wait that have none. */
const TURN_MS = 250

/** Refusals is how often a statement was refused for want of locks, and since when. */
interface Refusals {
  readonly since: number
  readonly count: number
}

/** Asked is for whom a statement is run. */
interface Asked {
  readonly caller: Caller | undefined
  readonly member: Member<Slot>
  readonly refusals?: Refusals | undefined
}

export interface ConnectionPoolOptions {
  readonly target: ConnectionTarget
  /** Called when opening a connection failed and none is left. */
  readonly onFailure: (error: LessorError) => void
  /** Reads the credential again. */
  readonly locate: () => Promise<ConnectionTarget>
}

/**
 * ConnectionPool is the connections of one entry, or of all entries that share a login, owned one by one. Dispatch looks at age: an idle
 * connection first; else one more is opened if the budgets allow; else a statement goes behind others
 * that are young and not known to be slow; else it waits, see Line.
 *
 * One long file, because all of it changes the same three: slots, idle ones, and who waits. What only
 * looks at them stands beside it: sharing, deadlines, reclaim, sweep.
 */
export class ConnectionPool implements Claimant, SlotOwner, TenantPool {
  readonly tenantId: string
  readonly server: string
  readonly maxConnections: number
  readonly #engine: Engine
  readonly #credential: Credential
  readonly #line = new Line()
  /** The tenant whose pool it is; in a shared pool, the engine itself. */
  readonly #own: Member<Slot>
  readonly #isShared: boolean
  readonly #sharing = new Sharing()
  readonly #onFailure: (error: LessorError) => void
  /** Every slot that is not closed. Only `#open` adds, only `#forget` removes. */
  readonly #slots = new Set<Slot>()
  /** Idle slots; the last one used is the first used again, so that the others can be shed. */
  readonly #idle: Slot[] = []
  #opening = 0
  #closing = 0
  /** Leases that may still need a connection; undefined until the pool drains. */
  #draining: number | undefined
  /** Set by `cut` and `destroy`: whoever comes now gets it. */
  #ended: LessorError | undefined
  #resolveDrained: () => void = () => {}
  /** Resolves when a drained pool's last connection is closed. */
  readonly drained = new Promise<void>((resolve) => {
    this.#resolveDrained = resolve
  })

  /** `tenantId` is what the budgets and breakers know it by. */
  constructor(engine: Engine, tenantId: string, { target, locate, onFailure }: ConnectionPoolOptions) {
    const { maxConnections, sharedMaxConnections } = engine.limits
    this.#engine = engine
    this.#credential = new Credential(target, locate)
    this.#onFailure = onFailure
    this.tenantId = tenantId
    this.server = target.server
    this.#isShared = target.isShared ?? false
    this.maxConnections = this.#isShared
      ? sharedMaxConnections
      : Math.min(maxConnections, target.maxConnections ?? maxConnections)
    const weight = this.#isShared ? 1 : (target.weight ?? 1)
    const queue = new WaitQueue<Want<Slot>>(engine.room, weight, this.#line.tally)
    this.#own = new Member({ queue, maxConnections: this.maxConnections, weight })
  }

  /** A shared pool counts as the tenants that it has work for, as far as it could use connections for them. */
  get weight(): number {
    if (!this.#isShared) return this.#own.weight
    return Math.min(
      this.maxConnections,
      Math.max(1, this.#line.members + this.#slots.size - this.#idle.length),
    )
  }

  get claimant(): Claimant & SlotOwner {
    return this
  }

  /** member makes the standing of one of the tenants that share this pool. */
  member({ maxConnections, weight = 1 }: ConnectionTarget, tenant: SharedTenant<Slot>): Member<Slot> {
    const most = this.#engine.limits.maxConnections
    return new Member({
      queue: new WaitQueue<Want<Slot>>(this.#engine.room, weight, this.#line.tally),
      maxConnections: Math.min(most, maxConnections ?? most, this.maxConnections),
      weight,
      tenant,
    })
  }

  /** Slots by what they do, and callers waiting for one. */
  get counts(): { opening: number; idle: number; busy: number; closing: number; waiting: number } {
    const counts = { opening: 0, idle: 0, busy: 0, closing: 0, waiting: this.#line.size }
    for (const slot of this.#slots) {
      if (slot.state === 'opening' || slot.state === 'idle' || slot.state === 'closing')
        counts[slot.state] += 1
      else counts.busy += 1
    }
    return counts
  }

  /** Connections that are open or being opened, and stay. */
  get open(): number {
    return this.#slots.size - this.#closing
  }

  get waiting(): number {
    return this.#line.size
  }

  /** Whether a login has been proven and a connection is there. */
  get isOpen(): boolean {
    for (const slot of this.#slots) if (slot.isOpen) return true
    return false
  }

  /** ready resolves when a connection is open, so that the login is proven. @throws LessorError */
  ready(member = this.#own): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#wait(member, 'open', undefined, reject, (slot) => {
        this.#idle.push(slot)
        resolve()
      })
    })
  }

  /**
   * run runs a statement by itself. One that the server has rolled back because the table of locks was full, which
   * another's session can fill, is sent again after short pauses, in which it holds no connection.
   */
  run(
    statement: Statement,
    caller: Caller | undefined,
    member = this.#own,
    refusals?: Refusals,
  ): Promise<Rows> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    if (this.#line.size === 0) {
      const slot = this.#take(member) ?? (this.#mayGrow() ? undefined : this.#shareable(member))
      if (slot !== undefined) {
        this.#line.served(member)
        return this.#execute(slot, statement, { caller, member, refusals })
      }
    }
    return new Promise((resolve, reject) => {
      this.#wait(member, 'statement', caller, reject, (slot) =>
        resolve(this.#execute(slot, statement, { caller, member, refusals })),
      )
    })
  }

  /** hold resolves with a connection that nobody else uses until `release`. @throws LessorError */
  hold(caller: Caller | undefined, member = this.#own): Promise<Slot> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    return new Promise((resolve, reject) => {
      this.#wait(member, 'transaction', caller, reject, (slot) => {
        slot.become('held', this.#engine.clock.now())
        slot.holder = member
        slot.isModeSet = false
        member.enter(slot)
        resolve(slot)
      })
    })
  }

  runHeld(slot: Slot, work: Work, caller: Caller | undefined): Promise<Rows> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    return this.#execute(slot, work, { caller, member: slot.holder ?? this.#own })
  }

  /** release ends `hold`. A connection in an unknown state is not given to anybody else. */
  release(slot: Slot, state: 'clean' | 'unknown'): void {
    const { holder } = slot
    slot.holder = undefined
    holder?.leave(slot)
    if (slot.state !== 'held') return
    // A cancel request under way could still hit the next statement.
    if (state === 'clean' && slot.fences === 0) this.#rest(slot)
    else this.close(slot)
  }

  /** grow opens connections while more callers wait than connections are on their way. */
  grow(): void {
    const { breakers, budgets } = this.#engine
    while (this.#wantsMore()) {
      const refusal = this.#slots.size === 0 ? breakers.refusal(this.tenantId, this.server) : undefined
      if (refusal !== undefined) {
        this.#openFailed(refusal)
        return
      }
      // With other connections to serve with, it waits for the end of the breaker's pause.
      if (breakers.waitMs(this.tenantId, this.server) > 0) return
      if (!budgets.take(this)) return
      breakers.enter(this.tenantId, this.server)
      void this.#open()
    }
    if (this.#line.size === 0) budgets.withdraw(this)
  }

  /** retire closes a connection as soon as what runs on it has ended; it gets nothing new. */
  retire(slot: Slot): void {
    if (slot.state === 'idle') this.close(slot)
    else if (!slot.isRetiring && slot.isOpen) this.#leaving(slot)
  }

  /** close says goodbye to a connection that runs nothing, or whose session state nobody knows. */
  close(slot: Slot): void {
    const index = this.#idle.indexOf(slot)
    if (index !== -1) this.#idle.splice(index, 1)
    if (!slot.isRetiring) this.#leaving(slot)
    slot.become('closing', this.#engine.clock.now())
    // Failure to say goodbye ends in `lost` all the same: tick drops the socket.
    slot.connection.close().catch(() => slot.connection.destroy())
  }

  /** leaving says once that a connection does not stay. */
  #leaving(slot: Slot): void {
    slot.isRetiring = true
    this.#closing += 1
    this.#engine.budgets.closing(this)
  }

  /**
   * drain gives up connections that the remaining leases do not need; at 0 leases all of them.
   * Waiters are still served: a request under way is never hurt by an eviction.
   */
  drain(leases: number): void {
    this.#draining = leases
    while (this.#idle.length > 0 && this.open > leases) {
      const slot = this.#idle[0]
      if (slot !== undefined) this.close(slot)
    }
    if (leases > 0) return
    for (const slot of this.#slots) if (slot.state === 'opening') slot.opening.abort(this.#drainedError())
    if (this.#slots.size === 0) this.#resolveDrained()
  }

  /** cut cancels at the server what still runs, refuses what waits, and tells how many of both there were. */
  cut(error: LessorError): { readonly statements: number; readonly waiters: number } {
    if (this.#ended !== undefined) return { statements: 0, waiters: 0 }
    this.#ended = error
    const waiters = this.#line.size
    let statements = this.#engine.pauses.refuse(this, error)
    this.#line.refuseAll(error)
    for (const slot of this.#slots) {
      for (const flight of slot.flights) {
        flight.doomed ??= error
        statements += 1
      }
      if (slot.flights.length > 0) this.#sendCancel(slot, this.#engine.clock.now())
      else if (slot.state === 'held') this.close(slot)
    }
    this.drain(0)
    return { statements, waiters }
  }

  /** cutMember does so for one of the tenants that share the pool, and hurts no other. */
  cutMember(
    member: Member<Slot>,
    error: LessorError,
  ): { readonly statements: number; readonly waiters: number } {
    const waiters = member.queue.size
    let statements = this.#engine.pauses.refuse(member, error)
    member.queue.refuseAll(error)
    for (const slot of [...member.slots.keys()]) {
      for (const flight of slot.flights) {
        if (flight.member !== member || flight.doomed !== undefined) continue
        flight.doomed = error
        statements += 1
      }
      // What is doomed is cancelled by `tick` as soon as that cannot hit a neighbour.
      if (slot.holder === member && slot.flights.length === 0 && slot.state === 'held') this.close(slot)
    }
    return { statements, waiters }
  }

  /** destroy drops every socket now. */
  destroy(error: LessorError): void {
    this.cut(error)
    for (const slot of this.#slots) {
      if (slot.state === 'opening') slot.opening.abort(error)
      else slot.connection.destroy()
    }
  }

  /** tick looks after one slot's deadlines; the registry calls it for every slot. */
  tick(slot: Slot, now: number): void {
    // The pause after a failed opening ends without anybody else saying so.
    if (this.#line.size > 0) this.grow()
    if (slot.isReadOnly) this.#retireReadOnly(slot, now)
    const verdict = overdue(slot, now, this.#engine.limits)
    if (verdict === 'cancel') this.#sendCancel(slot, now)
    else if (verdict === 'destroy') slot.connection.destroy()
  }

  #sendCancel(slot: Slot, now: number): void {
    const [first] = slot.flights
    if (first === undefined) throw new Error('bug: a cancel request without a statement')
    if (first.cancelledAt === undefined) this.#engine.counters.cancelled += 1
    first.cancelledAt ??= now
    first.cancelSentAt = now
    slot.fences += 1
    const lift = () => {
      slot.fences -= 1
      this.#settle(slot)
    }
    // A request that could not be delivered is no loss: tick drops the connection if it goes on.
    first.running.cancel().then(lift, lift)
  }

  #wait(
    member: Member<Slot>,
    kind: Want<Slot>['kind'],
    caller: Caller | undefined,
    reject: (error: Error) => void,
    serve: (slot: Slot) => void,
  ): void {
    const since = this.#engine.clock.now()
    const { acquireTimeoutMs } = this.#engine.limits
    const served = (slot: Slot) => {
      // The engine's own wait for a first connection is its callers' wait for the opening.
      if (caller !== undefined) this.#engine.observer.waited(this.#engine.clock.now() - since)
      serve(slot)
    }
    this.#line.add(member, { kind, serve: served }, caller, acquireTimeoutMs, reject)
    this.#engine.wake()
    this.#pump()
  }

  /** pump serves waiters in order, as long as there is something to serve them with. */
  #pump(): void {
    while (this.#line.size > 0) {
      // A tenant that uses all that it may does not keep the others waiting.
      const member = this.#line.next(
        (each, { kind }) => each.room > 0 || (kind === 'statement' && this.#shareable(each) !== undefined),
      )
      const first = member?.queue.first
      if (member === undefined || first === undefined) return
      let slot = this.#take(member)
      if (slot === undefined) {
        this.grow()
        if (first.want.kind !== 'statement') return
        if (member.room > 0 && this.#opening >= this.#line.size) return
        slot = this.#shareable(member)
        if (slot === undefined) return
      }
      this.#line.shift(member)?.want.serve(slot)
    }
    this.#engine.budgets.withdraw(this)
  }

  async #execute(slot: Slot, work: Work, asked: Asked): Promise<Rows> {
    const { caller, member } = asked
    const { clock } = this.#engine
    const { binding } = member
    const now = clock.now()
    if (slot.state === 'idle') slot.become('busy', now)
    const running = this.#send(slot, work, binding)
    const statement = typeof work === 'string' ? undefined : work
    const isSlow = statement !== undefined && this.#sharing.isSlow(statement)
    const flight = slot.start(running, caller, { member, now, isSlow })
    member.enter(slot)
    let refused: unknown
    try {
      const rows = await running.result
      if (binding !== undefined && leavesSessionState(rows) && slot.isOpen && !slot.isRetiring) {
        this.#leaving(slot)
      }
      if (statement !== undefined && slot.state === 'held' && setsMode(rows)) slot.isModeSet = true
      return rows
    } catch (error) {
      const isUndone = running.isUndone === true && slot.state !== 'held' && flight.doomed === undefined
      if (!isUndone || statement === undefined || !isOutOfLocks(error)) {
        throw flight.doomed ?? this.#statementError(slot, error)
      }
      refused = error
    } finally {
      member.leave(slot)
      if (slot.connection.standing === 'read-only') this.#turnedReadOnly(slot)
      const ranMs = slot.finish(flight, clock.now())
      if (ranMs !== undefined) {
        if (statement !== undefined) this.#sharing.ran(statement, ranMs)
        this.#line.took(member, ranMs)
      }
      this.#settle(slot)
    }
    return this.#sendAgain(work as Statement, refused, asked)
  }

  /** @throws `error` when it has been tried for long enough, too many wait, or the pool has ended */
  async #sendAgain(statement: Statement, error: unknown, asked: Asked): Promise<Rows> {
    const { clock, counters, limits, pauses } = this.#engine
    const { caller, member, refusals = { since: clock.now(), count: 0 } } = asked
    const pause = crowdPause(refusals.count)
    const until = refusals.since + Math.min(CROWD_MS, limits.statementTimeoutMs)
    if (clock.now() + pause > until) throw error
    this.#engine.wake()
    await pauses.wait(pause, caller, { owners: [this, member], cause: error })
    if (this.#draining === 0) throw error
    counters.sentAgain += 1
    return this.run(statement, caller, member, { ...refusals, count: refusals.count + 1 })
  }

  /** A session that takes no writes is of no more use, unless the caller's own transaction wanted it so. */
  #statementError(slot: Slot, error: unknown): unknown {
    if (!isReadOnly(error) || (slot.state === 'held' && slot.isModeSet)) return statementError(error)
    this.#turnedReadOnly(slot)
    return readOnlyError(error)
  }

  #turnedReadOnly(slot: Slot): void {
    slot.isReadOnly = true
    this.#retireReadOnly(slot, this.#engine.clock.now())
  }

  #retireReadOnly(slot: Slot, now: number): void {
    const { openedAt } = slot
    if (slot.isOpen && openedAt !== undefined && now - openedAt >= READ_ONLY_MS) this.retire(slot)
  }

  /** What begins a transaction binds all of it; a statement by itself is bound alone. */
  #send({ connection, state }: Slot, work: Work, binding: string | undefined): Running {
    if (typeof work === 'string') return connection.command(work, binding)
    return connection.run(work, state === 'held' ? undefined : binding)
  }

  /** settle looks at a slot after something on it has ended. */
  #settle(slot: Slot): void {
    if (slot.state === 'busy' && slot.fences === 0) {
      if (slot.flights.length === 0) {
        this.#rest(slot)
        return
      }
      this.#yield(slot)
      this.#pump()
    }
  }

  /** yield retires a slot that others need more than this pool's own callers. */
  #yield(slot: Slot): void {
    const { openedAt } = slot
    // A new connection first serves one caller.
    if (slot.isRetiring || openedAt === undefined || this.#line.size === 0) return
    const { budgets, clock, counters } = this.#engine
    const isOver = () => clock.now() - openedAt >= TURN_MS * this.weight
    if (!budgets.mustYield(this, isOver)) return
    counters.yielded += 1
    // What it wants itself it claims again, behind those who wait by now.
    budgets.withdraw(this)
    this.retire(slot)
  }

  /** rest makes a slot idle, serves whoever waits, and sheds it where others need it more. */
  #rest(slot: Slot): void {
    this.#yield(slot)
    if (!slot.connection.isUsable && !slot.isRetiring) this.#leaving(slot)
    slot.become('idle', this.#engine.clock.now())
    if (slot.isRetiring) {
      this.close(slot)
      this.#pump()
      return
    }
    this.#idle.push(slot)
    this.#pump()
    if (this.#draining !== undefined) this.drain(this.#draining)
    else if (slot.state === 'idle') this.#engine.budgets.relieve(this)
  }

  #take(member: Member<Slot>): Slot | undefined {
    if (member.room === 0) return undefined
    let slot = this.#idle.pop()
    // One whose end is known but not complete is forgotten when it is.
    while (slot !== undefined && !slot.connection.isUsable) slot = this.#idle.pop()
    return slot
  }

  #shareable(member: Member<Slot>): Slot | undefined {
    return this.#sharing.find(member.room > 0 ? this.#slots : member.reach, this.#engine.clock.now())
  }

  #mayGrow(): boolean {
    const { breakers, budgets } = this.#engine
    return (
      this.#slots.size < this.maxConnections &&
      budgets.canTake(this) &&
      breakers.waitMs(this.tenantId, this.server) === 0
    )
  }

  #wantsMore(): boolean {
    if (this.#ended !== undefined || this.#credential.isDoubted) return false
    if (this.#slots.size >= this.maxConnections || this.#opening >= this.#line.size) return false
    return !this.#isShared || this.#opening < this.#line.demand(this.#opening + 1)
  }

  /** open makes one connection that the budgets have counted. Never rejects. */
  async #open(): Promise<void> {
    const slot = new Slot(this.#engine.clock.now())
    this.#slots.add(slot)
    this.#opening += 1
    this.#engine.slots.set(slot, this)
    this.#engine.wake()
    try {
      const connection = await this.#engine.connect(this.#credential.target, slot.opening.signal)
      slot.attach(connection)
      this.#engine.counters.connectionsOpened += 1
      void connection.lost.then(() => this.#lost(slot))
    } catch (error) {
      const refused = openError(error)
      const isReadAgain = this.#opening === this.#slots.size && this.#credential.isSuspect(refused)
      const isCrowd = isCrowded(refused.cause) && this.#engine.crowds.refused(this.server)
      if (isCrowd) this.#engine.breakers.abandoned(this.tenantId, this.server)
      else if (isReadAgain) {
        this.#credential.doubt()
        this.#engine.breakers.abandoned(this.tenantId, this.server)
      } else this.#engine.breakers.failed(this.tenantId, this.server, refused)
      this.#opening -= 1
      this.#engine.budgets.opened(this)
      this.#forget(slot)
      if (isCrowd) this.grow()
      else if (this.#slots.size === 0 && this.#credential.isDoubted) await this.#readAgain()
      else if (!isReadAgain) this.#openFailed(refused)
      return
    }
    this.#credential.worked()
    this.#engine.breakers.succeeded(this.tenantId, this.server)
    this.#engine.crowds.succeeded(this.server)
    this.#opening -= 1
    this.#rest(slot)
    this.#engine.budgets.opened(this)
  }

  /** Never rejects: whoever waits hears of a failure. */
  async #readAgain(): Promise<void> {
    try {
      await this.#credential.readAgain()
    } catch (error) {
      this.#openFailed(openError(error))
    }
    this.grow()
  }

  #openFailed(error: LessorError): void {
    if (this.#slots.size > 0) return
    this.#line.refuseAll(error)
    this.#engine.budgets.withdraw(this)
    if (this.#draining === undefined) this.#onFailure(error)
  }

  #lost(slot: Slot): void {
    this.#forget(slot)
    this.#pump()
  }

  /** forget takes out a slot whose socket is closed, or never was open. */
  #forget(slot: Slot): void {
    const wasClosing = slot.isRetiring
    if (wasClosing) this.#closing -= 1
    if (slot.state !== 'opening') this.#engine.counters.connectionsClosed += 1
    const index = this.#idle.indexOf(slot)
    if (index !== -1) this.#idle.splice(index, 1)
    slot.become('closed', this.#engine.clock.now())
    this.#slots.delete(slot)
    this.#engine.slots.delete(slot)
    this.#engine.budgets.closed(this, wasClosing)
    if (this.#draining === 0 && this.#slots.size === 0) this.#resolveDrained()
  }

  #drainedError(): LessorError {
    return new LessorError('POOL_OPEN_FAILED', 'The pool was closed before its connection was open.')
  }
}
