import type { Clock } from '../../clock.ts'
import type { AdminDb } from '../../placement/placement.ts'
import { closeLogin } from '../../placement/tenant-logins.ts'
import type { Offence } from '../../tenants/tenant.ts'
import { findOpenLogins } from './watch-queries.ts'

/** Offender is a login that was ended too often, and what for the last time. */
export interface Offender {
  readonly server: string
  readonly tenantId: string
  readonly login: string
  readonly reason: Offence
  /** Whether the login is a person's, who visits the tenant. */
  readonly isVisitor: boolean
}

/** BlockedLogins is where it is written down which logins may not log in. */
export interface BlockedLogins {
  /** block writes it down; one that is there already is fine, and a login of no tenant that is known as well. */
  block(offender: Offender): Promise<void>
  /** list resolves with the logins on a data server that are written down. */
  list(server: string): Promise<readonly string[]>
  /** whileBlocked runs `work` if a login is written down, and keeps its block from being lifted meanwhile. */
  whileBlocked(login: string, work: () => Promise<void>): Promise<void>
  /** current resolves with the login that a tenant uses; undefined when it has none of its own. */
  current(tenantId: string): Promise<string | undefined>
}

export interface LoginKeeperOptions {
  readonly server: string
  readonly clock: Clock
  readonly logins: BlockedLogins
  /** An administrator of the data server, besides the session that watches. */
  readonly admin: () => AdminDb
  readonly onBlocked: (offender: Offender) => void
  readonly onFailed: (error: unknown) => void
}

/** How often it is looked whether the logins that are written down are closed. */
const LOOK_AGAIN_MS = 10_000

/**
 * LoginKeeper closes logins that are to be blocked, and sees to it that those which are written down stay closed,
 * whatever has opened them: a death between two halves of a block, a server restored from a backup.
 */
export class LoginKeeper {
  readonly #options: LoginKeeperOptions
  /** Logins that are to be blocked and are not yet, on the server or in the control database. */
  readonly #pending = new Map<string, Offender>()
  #lookAt = Number.NEGATIVE_INFINITY
  #running: Promise<void> | undefined

  constructor(options: LoginKeeperOptions) {
    this.#options = options
  }

  /** add gives it a login to block at the next turn. */
  add(offender: Offender): void {
    this.#pending.set(offender.login, offender)
  }

  /** turn does what there is to do; joins the turn under way. What fails is tried again at the next one. Never rejects. */
  turn(): Promise<void> {
    this.#running ??= this.#turn().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #turn(): Promise<void> {
    const { clock } = this.#options
    for (const offender of this.#pending.values()) await this.#attempt(() => this.#block(offender))
    if (clock.now() < this.#lookAt) return
    if (await this.#keepClosed()) this.#lookAt = clock.now() + LOOK_AGAIN_MS
  }

  /** The server first, since there the harm is done; the control database may be away. */
  async #block(offender: Offender): Promise<void> {
    const { admin, logins, onBlocked } = this.#options
    await closeLogin(admin(), offender.login)
    await logins.block(offender)
    this.#pending.delete(offender.login)
    onBlocked(offender)
  }

  /** One that cannot be closed keeps none of the others open. False when not all are known to be closed. Never rejects. */
  async #keepClosed(): Promise<boolean> {
    const { admin, logins, server } = this.#options
    let areClosed = true
    const isRead = await this.#attempt(async () => {
      const written = await logins.list(server)
      const open = written.length === 0 ? [] : await findOpenLogins(admin(), written)
      for (const login of open) {
        const close = () => logins.whileBlocked(login, () => closeLogin(admin(), login))
        areClosed = (await this.#attempt(close)) && areClosed
      }
    })
    return isRead && areClosed
  }

  /** False when it has failed. */
  async #attempt(work: () => Promise<void>): Promise<boolean> {
    try {
      await work()
      return true
    } catch (error) {
      this.#options.onFailed(error)
      return false
    }
  }
}
