import { setTimeout as sleep } from 'node:timers/promises'
import type { DatabaseAddress } from '../control/database-url.ts'
import { Lane } from '../control/lane.ts'
import { Turns } from '../control/turns.ts'
import { LessorError } from '../errors.ts'
import { errorCode } from '../pool/driver-errors.ts'
import { type Statement, sql } from '../pool/statement.ts'
import { BlockerAges } from './clearing-ages.ts'
import {
  type Blocker,
  CLEARING,
  ending,
  fullness,
  lockHoarders,
  sessionsInTheWay,
  type TenantSession,
} from './clearing-looks.ts'

export interface ClearingOptions {
  readonly address: DatabaseAddress
  readonly connectTimeoutMs: number
  /** How old the transaction of a session may be that only reads and writes rows, before it is ended for an administrator. */
  readonly ordinaryMs: number
  /** How long an administrator's statement waits for a lock before it fails. */
  readonly lockTimeoutMs: number
}

/** A statement that takes less time than this is not looked at. Below the lock timeout of the moves of partitions. */
const FIRST_LOOK_MS = 200
const LOOK_EVERY_MS = 100
const IDLE_MS = 30_000
const LOCK_NOT_AVAILABLE = '55P03'

/**
 * Clearing ends the sessions of tenants' logins that hold up an administrator's statement, over a connection of its
 * own, which is opened when it is needed. A session that holds what ordinary traffic never holds, such as a row
 * of the catalog or a strong lock on a table, is ended at once; one that only reads and writes rows when its
 * transaction is older than the service lets a statement run. Sessions of others are never ended.
 */
export class Clearing {
  readonly #options: ClearingOptions
  readonly #turns = new Turns(1)
  readonly #ages = new BlockerAges({ now: () => performance.now() })
  #lane: Lane | undefined
  #idle: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: ClearingOptions) {
    this.#options = options
  }

  /**
   * watch runs `work`, a statement of the backend `pid`, and ends what holds it up while it runs.
   * @throws what `work` throws; LessorError SERVER_BUSY instead of the administrators' own lock timeout
   */
  async watch<T>(pid: number, work: () => Promise<T>): Promise<T> {
    const startedAt = performance.now()
    const over = new AbortController()
    let left: readonly Blocker[] = []
    let looking: Promise<void> | undefined
    const timer = setTimeout(() => {
      looking = this.#clear(pid, over.signal, (blockers) => {
        left = blockers
      })
    }, FIRST_LOOK_MS)
    timer.unref()
    try {
      return await work()
    } catch (error) {
      if (errorCode(error) !== LOCK_NOT_AVAILABLE) throw error
      // A shorter lock timeout is its caller's, who knows what to do.
      if (performance.now() - startedAt < this.#options.lockTimeoutMs) throw error
      throw busy(left, error)
    } finally {
      clearTimeout(timer)
      over.abort()
      await looking
    }
  }

  /**
   * relieve ends the sessions of tenants' logins that fill the table of locks, and resolves with whether it was
   * full: where it was not, what failed has asked for too many by itself. Never rejects.
   */
  async relieve(): Promise<'full' | 'roomy'> {
    try {
      return await this.#turns.run(async () => {
        const lane = await this.#open()
        const [row] = await look<{ full: boolean }>(lane, fullness)
        const hoarders = await look<TenantSession>(lane, lockHoarders)
        for (const each of hoarders) await this.#end(lane, each)
        return row?.full === true || hoarders.length > 0 ? 'full' : 'roomy'
      })
    } catch {
      // Without room in the table no session can be opened either.
      return 'full'
    }
  }

  /** close closes the connection; what is watched runs on. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#turns.run(() => this.#drop())
  }

  /** Never rejects: what cannot be looked at is looked at again. */
  async #clear(pid: number, signal: AbortSignal, note: (left: readonly Blocker[]) => void): Promise<void> {
    while (!signal.aborted && !this.#isClosed) {
      await this.#turns
        .run(async () => {
          if (signal.aborted) return
          const lane = await this.#open()
          const blockers = await look<Blocker>(lane, sessionsInTheWay(pid))
          note(blockers)
          for (const each of blockers) if (this.#mayEnd(each)) await this.#end(lane, each)
          // An index that is made concurrently waits for the end of each transaction that was looking when it asked.
          // One that looks for others connects again when it next looks.
          if (!blockers.some(({ isOwn }) => isOwn)) return
          await lane.command('rollback')
          await begin(lane)
        })
        .catch(() => this.#drop())
      await sleep(LOOK_EVERY_MS, undefined, { signal, ref: false }).catch(() => {})
    }
  }

  #mayEnd(blocker: Blocker): boolean {
    if (blocker.isClearing) return true
    if (!blocker.isTenant || !blocker.holds) return false
    return !blocker.isOrdinary || this.#ages.of(blocker) >= this.#options.ordinaryMs
  }

  /** Ending a session takes its role's privileges, which an administrator who is no superuser may give itself, here until the rollback. */
  async #end(lane: Lane, session: TenantSession): Promise<void> {
    const { mayEnd, role } = session
    const end = ending(session)
    if (mayEnd) {
      await look(lane, end)
      return
    }
    await lane.command('rollback')
    await lane.command('begin')
    const [row] = await look<{ script: string }>(
      lane,
      sql`select format('grant %I to current_user', ${role}::text) as script`,
    )
    await lane.script(row?.script ?? '', { isTimed: true })
    await look(lane, end)
    await lane.command('rollback')
    await lane.command('begin')
  }

  /** The transaction stays open, so that the locks of a look are there when the table of locks has no room for them. */
  async #open(): Promise<Lane> {
    clearTimeout(this.#idle)
    if (this.#isClosed) throw new Error('The connection that clears the way is closed.')
    if (this.#lane === undefined || this.#lane.isSpent) {
      await this.#drop()
      const { address, connectTimeoutMs } = this.#options
      const parameters = {
        application_name: CLEARING,
        statement_timeout: '5000',
        lock_timeout: '1000',
        idle_in_transaction_session_timeout: '0',
      }
      const target = { ...address, server: CLEARING, parameters }
      this.#lane = await Lane.open(target, { connectTimeoutMs, patienceMs: 5_000 + connectTimeoutMs })
      await begin(this.#lane)
    }
    this.#idle = setTimeout(() => void this.#turns.run(() => this.#drop()), IDLE_MS).unref()
    return this.#lane
  }

  async #drop(): Promise<void> {
    clearTimeout(this.#idle)
    const lane = this.#lane
    this.#lane = undefined
    await lane?.close()
  }
}

/** begin opens the transaction, with the locks that looks need. */
async function begin(lane: Lane): Promise<void> {
  await lane.command('begin')
  for (const each of [sessionsInTheWay(0), fullness, lockHoarders]) await look(lane, each)
}

/** What is seen of sessions stays the same within a transaction unless it is asked for again. */
async function look<Row extends object = object>(lane: Lane, statement: Statement): Promise<readonly Row[]> {
  await lane.send(sql`select pg_stat_clear_snapshot()`)
  // Row is the caller's word for what its own SQL returns.
  const rows = (await lane.send(statement)) as readonly Row[]
  // The portal of the last statement keeps its snapshot, which others would wait for, until another one takes its place.
  await lane.script('select', { isTimed: true })
  return rows
}

function busy(left: readonly Blocker[], cause: unknown): LessorError {
  const counts = new Map<string, number>()
  for (const { role } of left) counts.set(role, (counts.get(role) ?? 0) + 1)
  const of = [...counts].map(([role, count]) => `${count} of ${role}`).join(', ')
  return new LessorError(
    'SERVER_BUSY',
    left.length === 0
      ? 'A lock on the data server did not come free in time; try again.'
      : `Sessions of the data server hold what an administrator needs (${of}); end them, or try again when they have ended.`,
    { cause, retryAfterSeconds: 1 },
  )
}
