import { LessorError } from '../errors.ts'
import type { Claimant } from './claims.ts'
import type { Caller, ConnectionTarget, Rows } from './contract.ts'
import { Credential } from './credential.ts'
import { overdue } from './deadlines.ts'
import { openError, statementError } from './driver-errors.ts'
import type { Engine } from './engine.ts'
import { Sharing } from './sharing.ts'
import { Slot, type SlotOwner } from './slot.ts'
import type { Statement } from './statement.ts'
import { WaitQueue } from './waiting-room.ts'

/** How long a tenant of weight 1 keeps its only connection while tenants wait that have none. */
const TURN_MS = 250

/** Want is what a waiter is served with: `statement` may share a connection, the others may not. */
interface Want {
  readonly kind: 'statement' | 'transaction' | 'open'
  readonly serve: (slot: Slot) => void
}

/**
 * ConnectionPool is the connections of one entry, owned one by one. Dispatch looks at age: an idle
 * connection first; else one more is opened if the budgets allow; else a statement goes behind others
 * that are young and not known to be slow; else it waits, first come, first served.
 *
 * One long file, because all of it changes the same three: slots, idle ones, and who waits. What only
 * looks at them stands beside it: sharing, deadlines, reclaim, sweep.
 */
export class ConnectionPool implements Claimant, SlotOwner {
  readonly tenantId: string
  readonly server: string
  readonly maxConnections: number
  readonly weight: number
  readonly #engine: Engine
  readonly #credential: Credential
  readonly #queue: WaitQueue<Want>
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

  /** `onFailure` is called when opening a connection failed and none is left; `locate` reads the credential again. */
  constructor(
    engine: Engine,
    tenantId: string,
    target: ConnectionTarget,
    {
      locate,
      onFailure,
    }: { locate: () => Promise<ConnectionTarget>; onFailure: (error: LessorError) => void },
  ) {
    this.#engine = engine
    this.#credential = new Credential(target, locate)
    this.#onFailure = onFailure
    this.weight = target.weight ?? 1
    this.#queue = new WaitQueue(engine.room, this.weight)
    this.tenantId = tenantId
    this.server = target.server
    this.maxConnections = Math.min(
      engine.limits.maxConnections,
      target.maxConnections ?? engine.limits.maxConnections,
    )
  }

  /** Slots by what they do, and callers waiting for one. */
  get counts(): { opening: number; idle: number; busy: number; closing: number; waiting: number } {
    const counts = { opening: 0, idle: 0, busy: 0, closing: 0, waiting: this.#queue.size }
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
    return this.#queue.size
  }

  /** ready resolves when a connection is open, so that the login is proven. @throws LessorError */
  ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#wait('open', undefined, reject, (slot) => {
        this.#idle.push(slot)
        resolve()
      })
    })
  }

  run(statement: Statement, caller: Caller | undefined): Promise<Rows> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    if (this.#queue.size === 0) {
      const slot = this.#idle.pop() ?? (this.#mayGrow() ? undefined : this.#shareable())
      if (slot !== undefined) return this.#execute(slot, statement, caller)
    }
    return new Promise((resolve, reject) => {
      this.#wait('statement', caller, reject, (slot) => resolve(this.#execute(slot, statement, caller)))
    })
  }

  /** hold resolves with a connection that nobody else uses until `release`. @throws LessorError */
  hold(caller: Caller | undefined): Promise<Slot> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    return new Promise((resolve, reject) => {
      this.#wait('transaction', caller, reject, (slot) => {
        slot.become('held', this.#engine.clock.now())
        resolve(slot)
      })
    })
  }

  runHeld(slot: Slot, statement: Statement, caller: Caller | undefined): Promise<Rows> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    return this.#execute(slot, statement, caller)
  }

  /** release ends `hold`. A connection in an unknown state is not given to anybody else. */
  release(slot: Slot, state: 'clean' | 'unknown'): void {
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
    if (this.#queue.size === 0) budgets.withdraw(this)
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
    const waiters = this.#queue.size
    let statements = 0
    this.#queue.refuseAll(error)
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
    if (this.#queue.size > 0) this.grow()
    const verdict = overdue(slot, now, this.#engine.limits)
    if (verdict === 'cancel') this.#sendCancel(slot, now)
    else if (verdict === 'destroy') slot.connection.destroy()
  }

  #sendCancel(slot: Slot, now: number): void {
    const [first] = slot.flights
    if (first === undefined) throw new Error('bug: a cancel request without a statement')
    first.cancelledAt = now
    slot.fences += 1
    this.#engine.counters.cancelled += 1
    const lift = () => {
      slot.fences -= 1
      this.#settle(slot)
    }
    // A request that could not be delivered is no loss: tick drops the connection if it goes on.
    first.running.cancel().then(lift, lift)
  }

  #wait(
    kind: Want['kind'],
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
    this.#queue.add({ kind, serve: served }, caller, acquireTimeoutMs, reject)
    this.#engine.wake()
    this.#pump()
  }

  /** pump serves waiters in order, as long as there is something to serve them with. */
  #pump(): void {
    for (let first = this.#queue.first; first !== undefined; first = this.#queue.first) {
      let slot = this.#idle.pop()
      if (slot === undefined) {
        this.grow()
        if (this.#opening >= this.#queue.size || first.want.kind !== 'statement') return
        slot = this.#shareable()
        if (slot === undefined) return
      }
      this.#queue.shift()
      first.want.serve(slot)
    }
    this.#engine.budgets.withdraw(this)
  }

  async #execute(slot: Slot, statement: Statement, caller: Caller | undefined): Promise<Rows> {
    const { clock } = this.#engine
    const now = clock.now()
    if (slot.state === 'idle') slot.become('busy', now)
    const flight = slot.start(statement, caller, { now, isSlow: this.#sharing.isSlow(statement) })
    try {
      const rows = await flight.running.result
      if (slot.state === 'busy' && opensTransaction(rows)) throw this.#misuse(slot)
      return rows
    } catch (error) {
      throw flight.doomed ?? statementError(error)
    } finally {
      const ranMs = slot.finish(flight, clock.now())
      if (ranMs !== undefined) this.#sharing.ran(statement, ranMs)
      this.#settle(slot)
    }
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
    // A new connection serves somebody first.
    if (slot.isRetiring || slot.openedAt === undefined || this.#queue.size === 0) return
    const { budgets, clock, counters } = this.#engine
    const isOver = () => clock.now() - (slot.openedAt ?? 0) >= TURN_MS * this.weight
    if (!budgets.mustYield(this, isOver)) return
    counters.yielded += 1
    this.retire(slot)
  }

  /** rest makes a slot idle, serves whoever waits, and sheds it where others need it more. */
  #rest(slot: Slot): void {
    this.#yield(slot)
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

  #shareable(): Slot | undefined {
    return this.#sharing.find(this.#slots, this.#engine.clock.now())
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
    if (this.#ended !== undefined || this.#credential.isReading) return false
    return this.#opening < this.#queue.size && this.#slots.size < this.maxConnections
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
      connection.lost.then(() => this.#lost(slot))
    } catch (error) {
      const refused = openError(error)
      const isReadAgain = this.#opening === this.#slots.size && this.#credential.isSuspect(refused)
      if (isReadAgain) this.#engine.breakers.abandoned(this.tenantId, this.server)
      else this.#engine.breakers.failed(this.tenantId, this.server, refused)
      this.#opening -= 1
      this.#engine.budgets.opened(this)
      this.#forget(slot)
      if (!isReadAgain) this.#openFailed(refused)
      else if (this.#slots.size === 0) await this.#readAgain()
      return
    }
    this.#credential.worked()
    this.#engine.breakers.succeeded(this.tenantId, this.server)
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
    this.#queue.refuseAll(error)
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

  #misuse(slot: Slot): Error {
    // Other callers' statements must not end inside this transaction.
    slot.connection.destroy()
    return new Error('BEGIN was sent as a plain statement; use db.transaction() instead.')
  }

  #drainedError(): LessorError {
    return new LessorError('POOL_OPEN_FAILED', 'The pool was closed before its connection was open.')
  }
}

function opensTransaction(rows: Rows): boolean {
  return rows.command === 'BEGIN' || rows.command === 'START TRANSACTION'
}
