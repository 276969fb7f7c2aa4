import type { Clock } from '../clock.ts'
import type { Db } from '../pool/statement.ts'
import { answerWithin } from './answer-within.ts'
import { type ChangesSince, readChanges } from './change-store.ts'
import type { ChangeHandler, ReadChange } from './changes.ts'
import type { Outage } from './outage.ts'

export interface ChangeFeedOptions {
  readonly db: Db
  readonly clock: Clock
  readonly pollMs: number
  /** A control database that does not answer in this time is taken for away; 2 s by default. */
  readonly patienceMs?: number
  readonly handler: ChangeHandler
  readonly outage: Pick<Outage, 'failed' | 'answered'>
  /** Called whenever `applied` has risen. */
  readonly onApplied: (version: bigint) => void
  /** Called when all was forgotten, since changes were missed. */
  readonly onResync?: () => void
  /** Called when what a change has set off fails. */
  readonly onError: (error: unknown) => void
}

const BATCH = 500
const PATIENCE_MS = 2_000

/** Pending is the work of one change, or of a resync: until it is done no version from this one on is. */
interface Pending {
  readonly from: bigint
}

/**
 * ChangeFeed reads the log of changes, when it is told that there may be something new (`poll`) and
 * at every turn of its own timer, and hands each change to its handler, once and in order. A slow
 * drain holds up none after it, only `applied`.
 */
export class ChangeFeed {
  readonly #options: ChangeFeedOptions
  readonly #patienceMs: number
  /** The last version handed on. */
  #read = 0n
  #reported = 0n
  /** Work that goes on, or has failed. */
  readonly #pending = new Set<Pending>()
  /** Of it what has failed: it is done when all is forgotten. */
  readonly #failed = new Set<Pending>()
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: ChangeFeedOptions) {
    this.#options = options
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS
  }

  /** The highest version up to which all work is done. */
  get applied(): bigint {
    let applied = this.#read
    for (const { from } of this.#pending) if (from <= applied) applied = from - 1n
    return applied
  }

  /** start begins after the last change there is: this process remembers nothing older. @throws LessorError CONTROL_UNAVAILABLE */
  async start(): Promise<void> {
    const { db, clock, outage, pollMs } = this.#options
    const askedAt = clock.now()
    this.#read = (await readChanges(db, 0n, 0)).latest
    this.#reported = this.#read
    outage.answered(askedAt)
    this.#timer = setInterval(() => void this.poll(), pollMs)
    this.#timer.unref()
  }

  /** poll resolves when a reading that began after the call has ended, well or badly. */
  poll(): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    if (this.#running === undefined) return this.#run()
    this.#next ??= this.#running.then(() => this.#run())
    return this.#next
  }

  /** stop ends the feed and resolves when nothing is being read. Drains go on. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    await this.#running
  }

  #run(): Promise<void> {
    this.#next = undefined
    this.#running = this.#readAll().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #readAll(): Promise<void> {
    const { db, clock, outage } = this.#options
    try {
      for (let more = true; more && !this.#stopped; ) {
        const askedAt = clock.now()
        const since = await answerWithin(readChanges(db, this.#read, BATCH), this.#patienceMs)
        const isApplied =
          this.#failed.size === 0 &&
          isWhole(this.#read, since) &&
          since.changes.every((change) => this.#apply(change))
        if (!isApplied) await this.#resync(since.latest)
        more = this.#read < since.latest
        if (!more) outage.answered(askedAt)
      }
    } catch (error) {
      outage.failed(error)
    }
    this.#report()
  }

  /**
   * False for one that cannot be applied, which is told of. It may be a revocation, and those after it may be: all that is
   * remembered is forgotten then. So it is when the work of one fails later.
   */
  #apply(change: ReadChange): boolean {
    const { handler, onError } = this.#options
    try {
      const work = handler.apply(change)
      this.#read = change.version
      if (work !== undefined) this.#await(change.version, [work])
      return true
    } catch (error) {
      onError(error)
      return false
    }
  }

  async #resync(latest: bigint): Promise<void> {
    const failed = [...this.#failed]
    const work = await answerWithin(this.#options.handler.resync(), this.#patienceMs)
    // A log that begins anew, as after a restore from a backup, has lower numbers.
    const isNewLog = latest < this.#read
    // All that was missed, and all that had failed, is done with this.
    this.#await(isNewLog ? 1n : this.applied + 1n, work)
    for (const each of failed) {
      this.#failed.delete(each)
      this.#pending.delete(each)
    }
    this.#read = latest
    if (this.#reported > latest) this.#reported = 0n
    this.#options.onResync?.()
  }

  #await(from: bigint, work: readonly Promise<unknown>[]): void {
    const pending: Pending = { from }
    this.#pending.add(pending)
    Promise.all(work).then(
      () => {
        this.#pending.delete(pending)
        this.#report()
      },
      (error: unknown) => {
        this.#options.onError(error)
        // The next turn forgets all.
        this.#failed.add(pending)
      },
    )
  }

  #report(): void {
    const { applied } = this
    if (applied <= this.#reported) return
    this.#reported = applied
    this.#options.onApplied(applied)
  }
}

/** False when changes between the version and the last one are gone, or the log begins anew. */
function isWhole(after: bigint, { latest, changes }: ChangesSince): boolean {
  if (latest < after) return false
  if (changes.length === 0) return latest === after
  return changes.every(({ version }, index) => version === after + BigInt(index) + 1n)
}
