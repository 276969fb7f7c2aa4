import type { Clock } from '../clock.ts'
import type { Caller } from './contract.ts'
import { onAbort } from './waiting-room.ts'

interface Pause {
  readonly until: number
  /** Whose end ends it: the pool, and the member of it. */
  readonly owners: readonly object[]
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  unwatch: (() => void) | undefined
}

/** Pauses is the statements that are to be sent once more after a while; they hold no connection. */
export class Pauses {
  readonly #clock: Clock
  readonly #limit: number
  readonly #pauses = new Set<Pause>()

  /** At most `limit` pause at once. */
  constructor(clock: Clock, limit: number) {
    this.#clock = clock
    this.#limit = limit
  }

  get isEmpty(): boolean {
    return this.#pauses.size === 0
  }

  get isFull(): boolean {
    return this.#pauses.size >= this.#limit
  }

  /** wait resolves after `ms`. @throws LessorError CLIENT_CLOSED_REQUEST when the caller goes; what `refuse` says */
  wait(ms: number, caller: Caller | undefined, owners: readonly object[]): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const pause: Pause = { until: this.#clock.now() + ms, owners, resolve, reject, unwatch: undefined }
    this.#pauses.add(pause)
    pause.unwatch = onAbort(caller, (error) => this.#end(pause, error))
    return promise
  }

  /** refuse ends the pauses of an owner with an error, and tells how many there were. */
  refuse(owner: object, error: Error): number {
    const theirs = [...this.#pauses].filter(({ owners }) => owners.includes(owner))
    for (const pause of theirs) this.#end(pause, error)
    return theirs.length
  }

  tick(): void {
    const now = this.#clock.now()
    for (const pause of [...this.#pauses]) if (now >= pause.until) this.#end(pause)
  }

  #end(pause: Pause, error?: Error): void {
    if (!this.#pauses.delete(pause)) return
    pause.unwatch?.()
    if (error === undefined) pause.resolve()
    else pause.reject(error)
  }
}
