import type { Clock } from '../clock.ts'
import type { Caller } from './contract.ts'
import { onAbort } from './waiting-room.ts'

interface Pause {
  readonly until: number
  /** Whose end ends it: the pool, and the member of it, by which tenants are told apart. */
  readonly owners: readonly [pool: object, member: object]
  /** What its statement was refused with. */
  readonly cause: unknown
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  unwatch: (() => void) | undefined
}

/**
 * Pauses is the statements that are to be sent once more after a while; they hold no connection. When there are as many
 * as may be, a tenant with fewer than another still finds room: the last of the one that has most is given up.
 */
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

  /**
   * wait resolves after `ms`.
   * @throws `cause` when there is no room, or another tenant has taken it; LessorError CLIENT_CLOSED_REQUEST when the
   *   caller goes; what `refuse` says
   */
  wait(
    ms: number,
    caller: Caller | undefined,
    { cause, owners }: Pick<Pause, 'cause' | 'owners'>,
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    if (this.#pauses.size >= this.#limit && !this.#makeRoomFor(owners[1])) {
      reject(cause)
      return promise
    }
    const pause: Pause = {
      until: this.#clock.now() + ms,
      owners,
      cause,
      resolve,
      reject,
      unwatch: undefined,
    }
    this.#pauses.add(pause)
    pause.unwatch = onAbort(caller, (error) => this.#end(pause, error))
    return promise
  }

  #makeRoomFor(member: object): boolean {
    const byMember = Map.groupBy(this.#pauses, ({ owners }) => owners[1])
    const own = byMember.get(member)?.length ?? 0
    const [most] = [...byMember.values()].toSorted((a, b) => b.length - a.length)
    const last = most !== undefined && most.length > own + 1 ? most.at(-1) : undefined
    if (last === undefined) return false
    this.#end(last, last.cause)
    return true
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

  #end(pause: Pause, error?: unknown): void {
    if (!this.#pauses.delete(pause)) return
    pause.unwatch?.()
    if (error === undefined) pause.resolve()
    else pause.reject(error)
  }
}
