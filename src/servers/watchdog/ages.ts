import type { Clock } from '../../clock.ts'
import type { Sight, TenantSession } from './sight.ts'

/** SeenSession is a session of which the server may keep the age of its transaction to itself. */
export interface SeenSession extends TenantSession {
  /** The virtual id of its transaction; null without one. */
  readonly transaction: string | null
}

/**
 * Ages knows since when something is as it is, of which the server shows only what is now. An administrator who is no
 * superuser and has no `pg_read_all_stats` sees that a session is in a transaction, and not since when.
 */
export class Ages {
  readonly #clock: Clock
  #since = new Map<string, number>()
  #queueSince: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** fill gives transactions whose age is not shown the time since when they have been seen. */
  fill(sessions: readonly SeenSession[]): readonly TenantSession[] {
    const now = this.#clock.now()
    const since = new Map<string, number>()
    const filled = sessions.map((session) => {
      if (session.transactionMs !== null || session.transaction === null) return session
      const key = `${session.pid} ${session.startedAt} ${session.transaction}`
      const first = this.#since.get(key) ?? now
      since.set(key, first)
      return { ...session, transactionMs: now - first }
    })
    this.#since = since
    return filled
  }

  /** queue resolves for how long the queue of notifications has been seen with something in it, in milliseconds. */
  queue({ notifyUsage }: Pick<Sight, 'notifyUsage'>): number {
    const now = this.#clock.now()
    if (notifyUsage === 0) this.#queueSince = undefined
    else this.#queueSince ??= now
    return this.#queueSince === undefined ? 0 : now - this.#queueSince
  }
}
