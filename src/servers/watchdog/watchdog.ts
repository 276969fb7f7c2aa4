import type { DatabaseAddress } from '../../control/database-url.ts'
import {
  type BlockedLogins,
  ServerWatch,
  type ServerWatchOptions,
  type WatchObserver,
} from './server-watch.ts'
import { WatchState } from './watch-state.ts'

export type { Ending, WatchLimits } from './policy.ts'
export type { BlockedLogins, Offender, WatchObserver } from './server-watch.ts'

export interface WatchdogOptions extends Pick<ServerWatchOptions, 'clock' | 'limits' | 'offences'> {
  readonly servers: {
    names(): readonly string[]
    /** login is where an administrator of a data server logs in. */
    login(server: string): Promise<DatabaseAddress>
  }
  /** Whether this process watches a data server. Two at once do no harm. */
  readonly isWatcher: (server: string) => boolean
  readonly intervalMs: number
  readonly logins: BlockedLogins
  readonly observer: WatchObserver
  /**
   * Called after each turn that has looked, and one that had nothing to look at, with for how many data servers the last look
   * failed, or a part of it. A look that takes longer counts with the turn that began it.
   */
  readonly onTurn?: (failures: number) => void
}

/** Watchdog watches the data servers that are this process's to watch, each at every turn of a timer. */
export class Watchdog {
  readonly state = new WatchState()
  readonly #options: WatchdogOptions
  readonly #watches = new Map<string, ServerWatch>()
  /** Data servers whose last look has failed, or a part of it. */
  readonly #failing = new Set<string>()
  readonly #closing = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: WatchdogOptions) {
    this.#options = options
  }

  /** start begins at once and goes on until `stop`. */
  start(): void {
    if (this.#timer !== undefined) return
    this.#timer = setInterval(() => void this.turn(), this.#options.intervalMs)
    this.#timer.unref()
    void this.turn()
  }

  /** turn looks at each data server once; one whose last look is not over is left out. Never rejects. */
  async turn(): Promise<void> {
    const { isWatcher, onTurn, servers } = this.#options
    const own = new Set(servers.names().filter((server) => isWatcher(server)))
    for (const [server, watch] of this.#watches) if (!own.has(server)) this.#leave(server, watch)
    const looks = await Promise.all([...own].map((server) => this.#look(server, this.#watchOf(server))))
    if (own.size === 0 || looks.includes(true)) onTurn?.(this.#failing.size)
  }

  /** False for a look that was under way: the turn that has begun it counts it. */
  async #look(server: string, watch: ServerWatch): Promise<boolean> {
    if (watch.isLooking) return false
    const isWhole = await watch.pass()
    if (this.#watches.get(server) !== watch) return false
    if (isWhole) this.#failing.delete(server)
    else this.#failing.add(server)
    return true
  }

  /** reopen makes another session to a data server, which has moved. */
  reopen(server: string): void {
    this.#watches.get(server)?.reopen()
  }

  /** stop resolves when nothing runs any more and the sessions are closed. Never rejects. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    for (const [server, watch] of this.#watches) this.#leave(server, watch)
    await Promise.all(this.#closing)
  }

  #leave(server: string, watch: ServerWatch): void {
    this.#watches.delete(server)
    this.#failing.delete(server)
    this.state.leave(server)
    const closing: Promise<void> = watch.close().finally(() => this.#closing.delete(closing))
    this.#closing.add(closing)
  }

  #watchOf(server: string): ServerWatch {
    let watch = this.#watches.get(server)
    if (watch === undefined) {
      const { clock, limits, logins, observer, offences, servers } = this.#options
      watch = new ServerWatch({
        server,
        clock,
        login: () => servers.login(server),
        limits,
        offences,
        logins,
        observer: {
          ended: (name, ending, count) => {
            this.state.end(name, ending.reason)
            observer.ended(name, ending, count)
          },
          blocked: (offender) => {
            this.state.block()
            observer.blocked(offender)
          },
          failed: (name, error) => observer.failed(name, error),
          passed: (name, ms, failures) => {
            if (this.#watches.has(name)) this.state.pass(name, clock.now(), ms)
            observer.passed(name, ms, failures)
          },
        },
      })
      this.#watches.set(server, watch)
      // So that one that never passes is seen.
      this.state.begin(server, clock.now())
    }
    return watch
  }
}
