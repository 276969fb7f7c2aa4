import type { Clock } from '../clock.ts'
import { LessorError } from '../errors.ts'
import { type Linked, LinkedList } from '../linked-list.ts'
import type { Caller, Usage } from './contract.ts'
import type { MutableCounters } from './counters.ts'

/** How long a caller waits before its signal is read at all; see {@link Caller}. */
const WATCH_AFTER_MS = 100

/** Waiter is one caller in a queue. It leaves exactly once: served, refused, or gone. */
export interface Waiter<T> {
  readonly want: T
  readonly caller: Caller | undefined
  readonly since: number
  readonly deadline: number
}

interface Entry<T> extends Waiter<T>, Linked<Entry<T>> {
  readonly refuse: (error: Error) => void
  unwatch: (() => void) | undefined
}

/**
 * WaitingRoom bounds how many callers wait in the whole engine and looks after their deadlines.
 * Every queue belongs to one room; `tick` of the room serves all of them. When it is full, a tenant
 * with fewer waiters than another, for its weight, still gets in: the last of the longest queue goes.
 */
export class WaitingRoom {
  readonly #clock: Clock
  readonly #limit: number
  readonly #counters: Pick<MutableCounters, 'saturated' | 'displaced'>
  readonly #queues = new Set<WaitQueue<unknown>>()
  #size = 0
  #peak = 0

  constructor(clock: Clock, limit: number, counters: Pick<MutableCounters, 'saturated' | 'displaced'>) {
    this.#clock = clock
    this.#limit = limit
    this.#counters = counters
  }

  /** Callers that wait. */
  get size(): number {
    return this.#size
  }

  get usage(): Usage {
    return { used: this.#size, limit: this.#limit, peak: this.#peak }
  }

  /** False while any queue has a waiter, be it a caller or the engine itself. */
  get isEmpty(): boolean {
    return this.#queues.size === 0
  }

  now(): number {
    return this.#clock.now()
  }

  /** tick refuses every waiter whose deadline has passed or whose caller has gone. */
  tick(): void {
    const now = this.now()
    for (const queue of this.#queues) queue.tick(now)
  }

  /** entered is called by a queue before it takes a waiter; one without a caller is the engine's own and always has room. @throws LessorError POOL_SATURATED */
  entered(queue: WaitQueue<unknown>, caller: Caller | undefined): void {
    if (caller !== undefined) {
      if (this.#size >= this.#limit) this.#makeRoomFor(queue)
      this.#size += 1
      this.#peak = Math.max(this.#peak, this.#size)
    }
    this.#queues.add(queue)
  }

  /** left is called by a queue after a waiter has left it. */
  left(queue: WaitQueue<unknown>, caller: Caller | undefined): void {
    if (caller !== undefined) this.#size -= 1
    if (queue.size === 0) this.#queues.delete(queue)
  }

  /** saturated counts a caller that waited in vain and says so. */
  saturated(waitedMs: number): LessorError {
    this.#counters.saturated += 1
    return new LessorError(
      'POOL_SATURATED',
      `No database connection came free within ${Math.round(waitedMs)} ms.`,
      { retryAfterSeconds: 1 },
    )
  }

  #makeRoomFor(queue: WaitQueue<unknown>): void {
    const full = new LessorError('POOL_SATURATED', `${this.#size} callers wait for a connection already.`, {
      retryAfterSeconds: 1,
    })
    this.#counters.saturated += 1
    let longest = queue
    for (const each of this.#queues) if (each.load > longest.load) longest = each
    // Moving the place must leave the newcomer's queue no longer than the other one.
    if (longest === queue || longest.load - 1 / longest.weight < queue.load + 1 / queue.weight) throw full
    this.#counters.displaced += 1
    longest.refuseLast(full)
  }
}

/** WaitQueue is one tenant's callers, first come, first served. A waiter costs no timer: the room's tick looks after it. */
export class WaitQueue<T> {
  readonly #room: WaitingRoom
  /** In order of arrival. Only `add` and `#leave` change it. */
  readonly #waiters = new LinkedList<Entry<T>>()
  /** See ConnectionTarget.weight. */
  readonly weight: number
  /** Counts the waiters of several queues together. */
  readonly #tally: { size: number } | undefined

  constructor(room: WaitingRoom, weight = 1, tally?: { size: number }) {
    this.#room = room
    this.weight = weight
    this.#tally = tally
  }

  get size(): number {
    return this.#waiters.size
  }

  /** Waiters for each unit of weight. */
  get load(): number {
    return this.#waiters.size / this.weight
  }

  /** first is the waiter to be served next. */
  get first(): Waiter<T> | undefined {
    return this.#waiters.first
  }

  /**
   * add takes a caller in; `refuse` is called at most once, and never after the waiter was served.
   * @throws LessorError POOL_SATURATED when the room is full
   */
  add(want: T, caller: Caller | undefined, timeoutMs: number, refuse: (error: Error) => void): void {
    this.#room.entered(this as WaitQueue<unknown>, caller)
    const since = this.#room.now()
    if (this.#tally !== undefined) this.#tally.size += 1
    this.#waiters.add({
      want,
      caller,
      since,
      deadline: since + timeoutMs,
      refuse,
      unwatch: undefined,
      list: undefined,
      previous: undefined,
      next: undefined,
    })
  }

  /** shift takes the first waiter out, to be served. */
  shift(): Waiter<T> | undefined {
    const { first } = this.#waiters
    if (first !== undefined) this.#leave(first)
    return first
  }

  refuseAll(error: Error): void {
    for (const waiter of [...this.#waiters]) this.#refuse(waiter, error)
  }

  /** refuseLast refuses the caller that came last. */
  refuseLast(error: Error): void {
    const last = [...this.#waiters].findLast(({ caller }) => caller !== undefined)
    if (last !== undefined) this.#refuse(last, error)
  }

  tick(now: number): void {
    for (const waiter of this.#waiters) {
      if (now >= waiter.deadline) this.#refuse(waiter, this.#room.saturated(now - waiter.since))
      else if (waiter.unwatch === undefined && now - waiter.since >= WATCH_AFTER_MS) this.#watch(waiter)
    }
  }

  #watch(waiter: Entry<T>): void {
    waiter.unwatch = onAbort(waiter.caller, (error) => this.#refuse(waiter, error))
  }

  #refuse(waiter: Entry<T>, error: Error): void {
    if (!this.#waiters.has(waiter)) return
    this.#leave(waiter)
    waiter.refuse(error)
  }

  #leave(waiter: Entry<T>): void {
    this.#waiters.delete(waiter)
    if (this.#tally !== undefined) this.#tally.size -= 1
    waiter.unwatch?.()
    this.#room.left(this as WaitQueue<unknown>, waiter.caller)
  }
}

/**
 * onAbort calls `gone` when the caller's signal aborts, at once if it has already; returns the
 * function that stops listening.
 */
export function onAbort(caller: Caller | undefined, gone: (error: LessorError) => void): () => void {
  const signal = caller?.signal
  if (signal === undefined) return () => {}
  const listener = () => gone(abortError(signal))
  if (signal.aborted) {
    listener()
    return () => {}
  }
  signal.addEventListener('abort', listener, { once: true })
  return () => signal.removeEventListener('abort', listener)
}

function abortError(signal: AbortSignal): LessorError {
  return new LessorError('CLIENT_CLOSED_REQUEST', 'The caller went away before the work was done.', {
    cause: signal.reason,
  })
}
