import { type Db, sql } from '../pool/statement.ts'

export interface AnnouncerOptions {
  readonly db: Pick<Db, 'query'>
  /** Called once when an announcement failed, until one has succeeded again. */
  readonly onFailure: (error: unknown) => void
}

/** Longest wait for the lock that all commits with a notification take, one after the other. */
const LOCK_MS = 2_000

/**
 * Announcer sends announcements to the other processes (NOTIFY), each in a statement of its own, and ignores failures:
 * those that listen also look by themselves. The queue of notifications belongs to all databases of a server, and any login of
 * any of them can fill it; then every COMMIT of a transaction with a notification fails (PostgreSQL manual, NOTIFY). So
 * no transaction that does something else may have one.
 *
 * One statement is under way at most. Of what comes meanwhile, the last announcement of each channel is sent next: all
 * that an announcement says is that there is something to read.
 */
export class Announcer {
  readonly #options: AnnouncerOptions
  readonly #waiting = new Map<string, string>()
  #sending: Promise<void> | undefined
  #isFailing = false
  #failures = 0

  constructor(options: AnnouncerOptions) {
    this.#options = options
  }

  /** Announcements that failed since the start. */
  get failures(): number {
    return this.#failures
  }

  /** announce sends `payload` to a channel, soon; never throws. */
  announce(channel: string, payload: string): void {
    this.#waiting.set(channel, payload)
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined
    })
  }

  /** settled resolves when nothing is left to send. */
  async settled(): Promise<void> {
    await this.#sending
  }

  /** Never rejects. */
  async #send(): Promise<void> {
    while (this.#waiting.size > 0) {
      const channels = [...this.#waiting.keys()]
      const payloads = [...this.#waiting.values()]
      this.#waiting.clear()
      try {
        // A queue that was full stays so, though all have read it, until this function has cut off its tail (async.c).
        if (this.#isFailing) await this.#options.db.query(sql`select pg_notification_queue_usage()`)
        await this.#options.db.query(sql`
          select set_config('lock_timeout', ${String(LOCK_MS)}, true), pg_notify(channel, payload)
          from unnest(${channels}::text[], ${payloads}::text[]) as each (channel, payload)`)
        this.#isFailing = false
      } catch (error) {
        this.#failures += 1
        if (!this.#isFailing) this.#options.onFailure(error)
        this.#isFailing = true
      }
    }
  }
}
