import type { Clock } from '../../clock.ts'
import type { DatabaseAddress } from '../../control/database-url.ts'
import { ServerAdmin } from '../server-admin.ts'
import { Ages } from './ages.ts'
import { type BlockedLogins, LoginKeeper, type Offender } from './login-keeper.ts'
import { Offences } from './offences.ts'
import { decide, type Ending, isOfVisitor, isRoomy, type WatchLimits } from './policy.ts'
import { Told } from './told.ts'
import { endSessions, readSight, readWaits, rollBack, stopWorker } from './watch-queries.ts'
import { WatchSession } from './watch-session.ts'

export type { BlockedLogins, Offender } from './login-keeper.ts'

/** WatchObserver hears what a watch does; must not throw. */
export interface WatchObserver {
  /** Something was ended; `count` is how many offences of its login count now, and undefined where it has none. */
  ended(server: string, ending: Ending, count: number | undefined): void
  blocked(offender: Offender): void
  /** A part of a pass has failed; the next pass tries again. */
  failed(server: string, error: unknown): void
  /** A pass came to its end; `failures` is how many parts of it, and of what went on beside it, have failed. */
  passed(server: string, ms: number, failures: number): void
}

export interface ServerWatchOptions {
  readonly server: string
  readonly clock: Clock
  /** Where an administrator logs in. */
  readonly login: () => Promise<DatabaseAddress>
  readonly limits: () => WatchLimits
  /** When a login is blocked. */
  readonly offences: { readonly count: number; readonly withinMs: number }
  readonly logins: BlockedLogins
  readonly observer: WatchObserver
  /** How long its session may leave a statement without an answer; longer than a statement may take by default. */
  readonly patienceMs?: number
}

/** Opened is how a data server is reached: the session that looks, and what changes roles and tables there. */
interface Opened {
  readonly session: WatchSession
  readonly admin: ServerAdmin
}

/** ServerWatch watches one data server by one administrator's session, which stays open. */
export class ServerWatch {
  readonly #options: ServerWatchOptions
  readonly #offences: Offences
  readonly #keeper: LoginKeeper
  readonly #ages: Ages
  readonly #told = new Told()
  #address: DatabaseAddress | undefined
  #opened: Opened | undefined
  /** Set when the session was lost, so that the login is read again. */
  #isStale = true
  #running: Promise<boolean> | undefined
  #keeping: Promise<void> | undefined
  #failures = 0
  #closed = false

  constructor(options: ServerWatchOptions) {
    const { clock, logins, observer, offences, server } = options
    this.#options = options
    this.#offences = new Offences({ clock, ...offences })
    this.#ages = new Ages(clock)
    this.#keeper = new LoginKeeper({
      server,
      clock,
      logins,
      admin: () => this.#admin(),
      onBlocked: (offender) => observer.blocked(offender),
      onFailed: (error) => this.#fail(error),
    })
  }

  /**
   * pass looks once and ends what has to end; callers share one that is under way. Resolves with whether all of it could be
   * done, and what has gone on beside it since the last one. Never rejects.
   */
  pass(): Promise<boolean> {
    if (this.#closed) return Promise.resolve(true)
    this.#running ??= this.#pass().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Whether a pass is under way. */
  get isLooking(): boolean {
    return this.#running !== undefined
  }

  /** settled resolves when the logins that are to be blocked have been closed and written down, or could not be. */
  async settled(): Promise<void> {
    await this.#keeping
  }

  /** reopen makes the next pass log in again, as when the server has moved. */
  reopen(): void {
    this.#isStale = true
  }

  /** close waits for the pass under way and closes the session. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#running
    await this.#keeping
    await this.#drop()
  }

  async #pass(): Promise<boolean> {
    const { clock, limits, observer, server } = this.#options
    const startedAt = clock.now()
    try {
      const { session, admin } = await this.#open()
      const { blockingMs } = limits()
      const seen = await readSight(session, blockingMs)
      const sight = { ...seen, sessions: this.#ages.fill(seen.sessions), notifyMs: this.#ages.queue(seen) }
      const waits = sight.hasWaits ? await readWaits(session, blockingMs) : []
      const offenders = new Set<string>()
      await this.#end({ session, admin }, decide(sight, waits, limits()), offenders)
      if (isRoomy(sight) && (session.isOld || sight.isInTheWay)) await session.renew()
      // Not waited for: the control database may take its time.
      this.#keeping = this.#keeper.turn()
      const failures = this.#failures
      this.#failures = 0
      observer.passed(server, clock.now() - startedAt, failures)
      return failures === 0
    } catch (error) {
      if (this.#opened?.session.isLost !== false) this.#isStale = true
      this.#fail(error)
      return false
    }
  }

  /** While the control database is away the login that was read last will do. */
  async #open(): Promise<Opened> {
    const { login, patienceMs } = this.#options
    if (!this.#isStale && this.#opened !== undefined) return this.#opened
    try {
      this.#address = await login()
    } catch (error) {
      if (this.#address === undefined) throw error
      this.#fail(error)
      if (this.#opened?.session.isLost === false) {
        this.#isStale = false
        return this.#opened
      }
    }
    const before = this.#opened
    // The session that is there is given up only for another one.
    const session = await WatchSession.open(this.#address, { patienceMs })
    this.#opened = { session, admin: new ServerAdmin({ address: this.#address, maxConnections: 1 }) }
    this.#isStale = false
    await before?.session.close()
    await before?.admin.close()
    return this.#opened
  }

  #fail(error: unknown): void {
    const { observer, server } = this.#options
    this.#failures += 1
    observer.failed(server, error)
  }

  async #drop(): Promise<void> {
    const opened = this.#opened
    this.#opened = undefined
    await opened?.session.close()
    await opened?.admin.close()
  }

  #admin(): ServerAdmin {
    if (this.#opened === undefined) throw new Error('bug: a watch keeps logins before it has looked')
    return this.#opened.admin
  }

  async #end(opened: Opened, endings: readonly Ending[], offenders: Set<string>): Promise<void> {
    const sessions = await this.#endSessions(opened.session, endings)
    this.#told.begin()
    for (const ending of endings) {
      const isTold = this.#told.has(ending)
      if (!(await this.#isEnded(opened, ending, sessions)) || isTold) continue
      this.#told.add(ending)
      await this.#tell(ending, offenders)
    }
  }

  /** All at once. Resolves with whether those of a login were ended. */
  async #endSessions(session: WatchSession, endings: readonly Ending[]): Promise<(login: string) => boolean> {
    try {
      const targets = endings.map(({ target }) => target)
      const seen = targets.flatMap((target) => (target.kind === 'session' ? [target.session] : []))
      const failed = await endSessions(session, seen)
      for (const error of failed.values()) this.#fail(error)
      return (login) => !failed.has(login)
    } catch (error) {
      this.#fail(error)
      return () => false
    }
  }

  async #isEnded(
    { admin }: Opened,
    { target }: Ending,
    isEnded: (login: string) => boolean,
  ): Promise<boolean> {
    if (target.kind === 'session') return isEnded(target.session.login)
    try {
      await (target.kind === 'prepared' ? rollBack(admin, target.prepared) : stopWorker(admin, target.worker))
      return true
    } catch (error) {
      this.#fail(error)
      return false
    }
  }

  async #tell(ending: Ending, offenders: Set<string>): Promise<void> {
    const { observer, server } = this.#options
    const login = await this.#loginOf(ending)
    const before = login === undefined ? undefined : this.#offences.count(login)
    const isCounted = ending.isOffence && login !== undefined && !offenders.has(login)
    if (isCounted) this.#count({ ...ending, login }, offenders)
    observer.ended(server, ending, before === undefined ? undefined : before + (isCounted ? 1 : 0))
  }

  /** Whatever a login had to be ended for in one pass is one offence. */
  #count({ login, reason, tenantId }: Ending, offenders: Set<string>): void {
    if (login === null || offenders.has(login)) return
    offenders.add(login)
    if (!this.#offences.add(login)) return
    const { server } = this.#options
    this.#keeper.add({ server, tenantId, login, reason, isVisitor: isOfVisitor({ login }) })
  }

  /** What autovacuum ran was no session's; it is put down to the login in use. */
  async #loginOf({ login, tenantId }: Ending): Promise<string | undefined> {
    return login ?? (await this.#options.logins.current(tenantId).catch(() => undefined))
  }
}
