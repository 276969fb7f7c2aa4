import type { LessorError } from '../errors.ts'
import type { Caller, Connection, Running } from './contract.ts'
import type { Member as MemberOf } from './member.ts'

/**
 * SlotState is a connection's life as the pool sees it: opening -> idle <-> busy or held -> closing
 * -> closed. `busy` runs statements of any callers, see Sharing; `held` belongs to one transaction.
 */
export type SlotState = 'opening' | 'idle' | 'busy' | 'held' | 'closing' | 'closed'

const NEXT: Readonly<Record<SlotState, readonly SlotState[]>> = {
  opening: ['idle', 'closed'],
  idle: ['busy', 'held', 'closing', 'closed'],
  busy: ['idle', 'closing', 'closed'],
  held: ['idle', 'closing', 'closed'],
  closing: ['closed'],
  closed: [],
}

/** Member is whose work is on a slot. */
export type Member = MemberOf<Slot>

/** Flight is one statement on the wire. */
export interface Flight {
  readonly member: Member
  readonly caller: Caller | undefined
  readonly running: Running
  /** Known to be slow when it was sent; see Sharing. */
  readonly isSlow: boolean
  /** Why it has to stop; what its caller gets instead of the server's 57014. */
  doomed: LessorError | undefined
  /** When the first cancel request left; undefined until it may be sent without hitting a neighbour. */
  cancelledAt: number | undefined
  /** When the last one left. */
  cancelSentAt: number | undefined
  unwatch: (() => void) | undefined
}

/** Slot is one connection's place in a pool. Only the pool that owns it calls its methods. */
export class Slot {
  #state: SlotState = 'opening'
  #connection: Connection | undefined
  /** On the wire, in order: the server works on the first. Only `start` and `finish` change it. */
  readonly #flights: Flight[] = []
  /** When the state last changed, or the first flight became first. Epoch milliseconds. */
  since: number
  /** Flights that are known to be slow: nothing is sent behind them. */
  slow = 0
  /** Cancel requests under way: nothing new goes onto this connection until the server has taken them. */
  fences = 0
  /** It is to be closed as soon as it runs nothing, and gets nothing new; only the pool sets it. */
  isRetiring = false
  /** Whether its session takes no writes, by the server's word or a refused statement; only the pool sets it. */
  isReadOnly = false
  /** Whether the transaction that holds it may have made itself read only; only the pool sets it. */
  isModeSet = false
  /** Whose transaction has it; undefined unless it is held. */
  holder: Member | undefined
  /** When the state became `idle` for the first time: since then its tenant has had it. */
  openedAt: number | undefined
  /** Ends the opening. */
  readonly opening = new AbortController()

  constructor(now: number) {
    this.since = now
  }

  get state(): SlotState {
    return this.#state
  }

  get flights(): readonly Flight[] {
    return this.#flights
  }

  get connection(): Connection {
    if (this.#connection === undefined) throw new Error('bug: the connection is not open yet')
    return this.#connection
  }

  get isOpen(): boolean {
    return this.#state === 'idle' || this.#state === 'busy' || this.#state === 'held'
  }

  /** become is the one place where the state changes. */
  become(state: SlotState, now: number): void {
    if (!NEXT[this.#state].includes(state)) throw new Error(`bug: slot ${this.#state} -> ${state}`)
    this.#state = state
    this.since = now
    if (state === 'idle') this.openedAt ??= now
  }

  attach(connection: Connection): void {
    this.#connection = connection
  }

  start(
    running: Running,
    caller: Caller | undefined,
    { member, now, isSlow }: { member: Member; now: number; isSlow: boolean },
  ): Flight {
    if (this.#flights.length === 0) this.since = now
    if (isSlow) this.slow += 1
    const flight: Flight = {
      member,
      caller,
      running,
      isSlow,
      doomed: undefined,
      cancelledAt: undefined,
      cancelSentAt: undefined,
      unwatch: undefined,
    }
    this.#flights.push(flight)
    return flight
  }

  /** finish returns how long the server worked on it, in milliseconds; undefined when it was not its turn. */
  finish(flight: Flight, now: number): number | undefined {
    const index = this.#flights.indexOf(flight)
    if (index === -1) throw new Error('bug: a statement ended twice')
    this.#flights.splice(index, 1)
    if (flight.isSlow) this.slow -= 1
    flight.unwatch?.()
    if (index > 0) return undefined
    const ranMs = now - this.since
    this.since = now
    return ranMs
  }
}

/** SlotOwner is what the engine as a whole needs of the pool that a slot belongs to. */
export interface SlotOwner {
  readonly tenantId: string
  readonly server: string
  readonly weight: number
  readonly maxConnections: number
  /** Callers that wait for a connection of this pool. */
  readonly waiting: number
  /** Connections that are open or being opened. */
  readonly open: number
  /** tick looks after one slot's deadlines. */
  tick(slot: Slot, now: number): void
  /** close says goodbye to an idle connection. */
  close(slot: Slot): void
}
