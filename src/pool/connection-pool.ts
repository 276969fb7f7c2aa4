import { LessorError } from '../errors.ts'
import type { Claimant } from './budgets.ts'
import type { Caller, ConnectionTarget, Rows } from './contract.ts'
import { overdue } from './deadlines.ts'
import { openError, statementError } from './driver-errors.ts'
import type { Engine } from './engine.ts'
import { Sharing } from './sharing.ts'
import { Slot, type SlotOwner } from './slot.ts'
import type { Statement } from './statement.ts'
import { WaitQueue } from './waiting-room.ts'

/** Pause before a pool that still has connections tries to open another after a failure. */
const GROW_PAUSE_MS = 1_000

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
  readonly #engine: Engine
  readonly #target: ConnectionTarget
  readonly #queue: WaitQueue<Want>
  readonly #sharing = new Sharing()
  readonly #onFailure: (error: LessorError) => void
  /** Every slot that is not closed. Only `#open` adds, only `#forget` removes. */
  readonly #slots = new Set<Slot>()
  /** Idle slots; the last one used is the first used again, so that the others can be shed. */
  readonly #idle: Slot[] = []
  #opening = 0
  #closing = 0
  #growAfter = 0
  /** Leases that may still need a connection; undefined until the pool drains. */
  #draining: number | undefined
  /** Set by `cut` and `destroy`: whoever comes now gets it. */
  #ended: LessorError | undefined
  #resolveDrained: () => void = () => {}
  /** Resolves when a drained pool's last connection is closed. */
  readonly drained = new Promise<void>((resolve) => {
    this.#resolveDrained = resolve
  })

  /** `onFailure` is called when opening a connection failed and none is left. */
  constructor(
    engine: Engine,
    tenantId: string,
    target: ConnectionTarget,
    onFailure: (error: LessorError) => void,
  ) {
    this.#engine = engine
    this.#target = target
    this.#onFailure = onFailure
    this.#queue = new WaitQueue(engine.room)
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

  /** Connections that are open or being opened. */
  get open(): number {
    return this.#slots.size - this.#closing
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
    while (this.#wantsMore()) {
      if (!this.#engine.budgets.take(this)) return
      void this.#open()
    }
    if (this.#queue.size === 0) this.#engine.budgets.withdraw(this)
  }

  /** close says goodbye to a connection that runs nothing, or whose session state nobody knows. */
  close(slot: Slot): void {
    const index = this.#idle.indexOf(slot)
    if (index !== -1) this.#idle.splice(index, 1)
    slot.become('closing', this.#engine.clock.now())
    this.#closing += 1
    this.#engine.budgets.closing(this)
    // Failure to say goodbye ends in `lost` all the same: tick drops the socket.
    slot.connection.close().catch(() => slot.connection.destroy())
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

  /** cut cancels at the server what still runs, refuses what waits, and returns how many were cut. */
  cut(error: LessorError): number {
    if (this.#ended !== undefined) return 0
    this.#ended = error
    let cut = this.#queue.size
    this.#queue.refuseAll(error)
    for (const slot of this.#slots) {
      for (const flight of slot.flights) {
        flight.doomed ??= error
        cut += 1
      }
      if (slot.flights.length > 0) this.#sendCancel(slot, this.#engine.clock.now())
      else if (slot.state === 'held') this.close(slot)
    }
    this.drain(0)
    return cut
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
      if (slot.flights.length === 0) this.#rest(slot)
      else this.#pump()
    }
  }

  /** rest makes a slot idle, serves whoever waits, and sheds it where others need it more. */
  #rest(slot: Slot): void {
    slot.become('idle', this.#engine.clock.now())
    this.#idle.push(slot)
    this.#pump()
    if (this.#draining !== undefined) this.drain(this.#draining)
    else if (slot.state === 'idle') this.#engine.budgets.relieve(this)
  }

  #shareable(): Slot | undefined {
    return this.#sharing.find(this.#slots, this.#engine.clock.now())
  }

  #mayGrow(): boolean {
    return this.#slots.size < this.maxConnections && !this.#pauses() && this.#engine.budgets.canTake(this)
  }

  #wantsMore(): boolean {
    return (
      this.#ended === undefined &&
      this.#opening < this.#queue.size &&
      this.#slots.size < this.maxConnections &&
      !this.#pauses()
    )
  }

  /** A pool whose last attempt failed pauses while it has other connections to serve with. */
  #pauses(): boolean {
    return this.#slots.size > 0 && this.#engine.clock.now() < this.#growAfter
  }

  /** open makes one connection that the budgets have counted. Never rejects. */
  async #open(): Promise<void> {
    const slot = new Slot(this.#engine.clock.now())
    this.#slots.add(slot)
    this.#opening += 1
    this.#engine.slots.set(slot, this)
    this.#engine.wake()
    try {
      const connection = await this.#engine.connect(this.#target, slot.opening.signal)
      slot.attach(connection)
      this.#engine.counters.connectionsOpened += 1
      connection.lost.then(() => this.#lost(slot))
    } catch (error) {
      this.#opening -= 1
      this.#forget(slot)
      this.#engine.budgets.opened()
      this.#openFailed(openError(error))
      return
    }
    this.#opening -= 1
    this.#rest(slot)
    this.#engine.budgets.opened()
  }

  #openFailed(error: LessorError): void {
    this.#growAfter = this.#engine.clock.now() + GROW_PAUSE_MS
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
    const wasClosing = slot.state === 'closing'
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
