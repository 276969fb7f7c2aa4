import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { isLessorError, LessorError } from '../errors.ts'
import { errorCode } from '../pool/driver-errors.ts'
import type { Db } from '../pool/statement.ts'
import type { Job, JobObserver, JobProgress } from './job.ts'
import {
  type ClaimTicket,
  enterStep,
  finishJob,
  markUndoing,
  noteProgress,
  releaseJob,
  renewClaim,
  takeJob,
} from './job-store.ts'

/** Long enough together for a connection that was cut, or a server that changes its leader quickly. */
const PAUSES_MS = [100, 400, 1_600]
/** A server that does not even refuse is not back so soon. */
const LONGEST_TRY_MS = 2_000
const FIRST_RETRY_MS = 5_000
/** How long work that others hold up is tried again by the process that has it, and how soon. */
const CROWDED_MS = 8_000
const CROWDED_PAUSES_MS = [50, 100, 200, 400]

/** What work gets while logins of other tenants have what it needs, be it for a moment. */
const CROWDED = new Set([
  '2BP01', // dependent_objects_still_exist: another tenant has named the role again
  '40P01', // deadlock_detected
  '53200', // out_of_memory: no room for its locks
  '53300', // too_many_connections
  '55P03', // lock_not_available
])

/** ClaimLostError says that somebody else works on the job now, so that this process must stop. */
export class ClaimLostError extends Error {
  override readonly name = 'ClaimLostError'

  constructor() {
    super('The claim on the job ran out and the job was taken over.')
  }
}

/** Claim is the right to work on one job. Every method but `release` throws ClaimLostError once it is lost. */
export class Claim {
  readonly job: Job
  readonly #db: Db
  readonly #ticket: ClaimTicket

  constructor(db: Db, ticket: ClaimTicket, job: Job) {
    this.#db = db
    this.#ticket = ticket
    this.job = job
  }

  /** enter notes that a step is about to run, so that it is finished or undone whatever happens; in a transaction if one is given. */
  async enter(step: string, db: Db = this.#db): Promise<void> {
    held(await enterStep(db, this.#ticket, step))
  }

  /** progress notes how far the step has come, for operators. */
  async progress(progress: JobProgress): Promise<void> {
    held(await noteProgress(this.#db, this.#ticket, progress))
  }

  async renew(): Promise<void> {
    held(await renewClaim(this.#db, this.#ticket))
  }

  async markUndoing(): Promise<void> {
    held(await markUndoing(this.#db, this.#ticket))
  }

  /** finish removes the job, in the transaction that makes its last change. */
  async finish(tx: Db): Promise<void> {
    held(await finishJob(tx, this.#ticket))
  }

  /**
   * release leaves the job to the one that takes it next: later after each attempt, and at once when this process closes, which
   * does not count as one.
   */
  async release(error: unknown): Promise<void> {
    const { attempts } = this.job
    await releaseJob(this.#db, this.#ticket, {
      error: errorCode(error) ?? 'INTERNAL',
      ...(isLessorError(error, 'SHUTTING_DOWN')
        ? { attempts: attempts - 1, retryMs: 0 }
        : { attempts, retryMs: retryPause(this.#ticket.claimMs, attempts) }),
    })
  }
}

export interface JobsOptions {
  readonly db: Db
  /** How long a claim holds without being renewed; it is renewed three times as often. */
  readonly claimMs: number
  /** The id of this process among the nodes; undefined while it is none. */
  readonly node?: (() => string | undefined) | undefined
  readonly observer: JobObserver
}

/** Jobs holds the claims of this process, renews them, and counts the work, so that `close` can wait for it. */
export class Jobs {
  readonly #db: Db
  readonly #claimMs: number
  readonly #node: () => string | undefined
  readonly #observer: JobObserver
  readonly #running = new Set<Promise<unknown>>()
  readonly #closing = new AbortController()

  constructor(options: JobsOptions) {
    this.#db = options.db
    this.#claimMs = options.claimMs
    this.#node = options.node ?? (() => undefined)
    this.#observer = options.observer
  }

  /** True once `close` was called. */
  get closing(): boolean {
    return this.#closing.signal.aborted
  }

  /** Aborts, with SHUTTING_DOWN, once `close` was called: for work that may as well be done by somebody else. */
  get signal(): AbortSignal {
    return this.#closing.signal
  }

  /** ticket makes the claim on a job that is about to be inserted. */
  ticket(): ClaimTicket {
    return { jobId: randomUUID(), token: randomUUID(), claimMs: this.#claimMs, node: this.#node() }
  }

  /** take claims a job that was left behind; undefined when there is none, or the service closes. */
  async take(): Promise<{ readonly ticket: ClaimTicket; readonly job: Job } | undefined> {
    if (this.closing) return undefined
    const token = randomUUID()
    const claim = { token, claimMs: this.#claimMs, node: this.#node() }
    const job = await takeJob(this.#db, claim)
    return job && { ticket: { jobId: job.id, ...claim }, job }
  }

  /** track runs work that `close` waits for. @throws LessorError SHUTTING_DOWN */
  async track<T>(work: () => Promise<T>): Promise<T> {
    if (this.closing) throw new LessorError('SHUTTING_DOWN')
    return this.#count(work())
  }

  /** hold runs `work`, which `close` waits for as well, while it renews the claim. */
  async hold<T>(ticket: ClaimTicket, job: Job, work: (claim: Claim) => Promise<T>): Promise<T> {
    const claim = new Claim(this.#db, ticket, job)
    const renew = () => void claim.renew().catch((error: unknown) => this.#renewalFailed(job, error))
    const timer = setInterval(renew, ticket.claimMs / 3).unref()
    return this.#count(work(claim).finally(() => clearInterval(timer)))
  }

  /**
   * attempt is hold for work that is not waited for and that is idempotent: a failure is reported and tried again later.
   * Never rejects.
   */
  async attempt(ticket: ClaimTicket, job: Job, work: (claim: Claim) => Promise<void>): Promise<void> {
    await this.hold(ticket, job, async (claim) => {
      try {
        await this.insist(() => work(claim))
      } catch (error) {
        await this.fail(claim, error)
      }
    })
  }

  /**
   * persist runs `work`, which must be idempotent, and again after a pause each time that a server could
   * not be reached, until the pauses are used up, a try took too long, or the service closes.
   * @throws what `work` throws last
   */
  async persist<T>(work: () => Promise<T>): Promise<T> {
    for (const pauseMs of PAUSES_MS) {
      const since = performance.now()
      try {
        return await work()
      } catch (error) {
        const isSilent = performance.now() - since > LONGEST_TRY_MS
        if (!isUnreachable(error) || isSilent || this.closing) throw error
        await sleep(pauseMs, undefined, { signal: this.signal }).catch(() => {})
      }
    }
    return work()
  }

  /**
   * insist runs `work`, which must be idempotent, and again after short pauses while logins of other tenants hold it up, for
   * some seconds or until the service closes: until then nothing else may be done to the tenant.
   * @throws what `work` throws last
   */
  async insist<T>(work: () => Promise<T>): Promise<T> {
    const since = performance.now()
    for (let attempt = 0; ; attempt++) {
      try {
        return await work()
      } catch (error) {
        if (!isCrowded(error) || performance.now() - since > CROWDED_MS || this.closing) throw error
        const pauseMs = CROWDED_PAUSES_MS[Math.min(attempt, CROWDED_PAUSES_MS.length - 1)]
        await sleep(pauseMs, undefined, { signal: this.signal }).catch(() => {})
      }
    }
  }

  /** fail reports a failed attempt and leaves the job to a later one. Never rejects. */
  async fail(claim: Claim, error: unknown): Promise<void> {
    this.#observer.failed(claim.job, error)
    try {
      await this.persist(() => this.insist(() => claim.release(error)))
    } catch (releaseError) {
      // The claim runs out by itself.
      this.#observer.failed(claim.job, releaseError)
    }
  }

  /** close takes no new work and resolves when what runs has ended. */
  async close(): Promise<void> {
    this.#closing.abort(new LessorError('SHUTTING_DOWN'))
    while (this.#running.size > 0) await Promise.allSettled(this.#running)
  }

  #renewalFailed(job: Job, error: unknown): void {
    // The job may have ended meanwhile; when it was taken over, the next step finds out.
    if (!(error instanceof ClaimLostError)) this.#observer.failed(job, error)
  }

  async #count<T>(running: Promise<T>): Promise<T> {
    this.#running.add(running)
    try {
      return await running
    } finally {
      this.#running.delete(running)
    }
  }
}

function isUnreachable(error: unknown): boolean {
  return isLessorError(error, 'CONTROL_UNAVAILABLE') || isLessorError(error, 'SERVER_UNAVAILABLE')
}

/** In what failed, or in what it failed by. */
function isCrowded(error: unknown): boolean {
  if (isLessorError(error, 'SERVER_BUSY', 'DATABASE_OVERLOADED')) return true
  const [code, cause] = [errorCode(error), isLessorError(error) ? errorCode(error.cause) : undefined]
  return CROWDED.has(code ?? '') || CROWDED.has(cause ?? '')
}

/** A job that failed is tried again soon at first, then after ever longer pauses. */
function retryPause(claimMs: number, attempts: number): number {
  return Math.min(Math.min(claimMs, FIRST_RETRY_MS) * 2 ** (attempts - 1), 10 * claimMs)
}

function held(holds: boolean): void {
  if (!holds) throw new ClaimLostError()
}
