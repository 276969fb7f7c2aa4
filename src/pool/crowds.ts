import type { Clock } from '../clock.ts'
import type { PoolLimits } from './contract.ts'

export interface CrowdsOptions {
  readonly clock: Clock
  readonly limits: Pick<PoolLimits, 'acquireTimeoutMs' | 'connectTimeoutMs'>
}

/**
 * CROWD_MS is how long a server that is full of others is tried again. What fills it by a tenant's login is ended
 * within two seconds by the watchdog.
 */
export const CROWD_MS = 5_000
/** First and longest pause between two tries. */
const FIRST_MS = 50
const LONGEST_MS = 500

/** crowdPause is the pause before the next try, after so many. */
export function crowdPause(tries: number): number {
  return Math.min(FIRST_MS * 2 ** tries, LONGEST_MS)
}

interface Crowd {
  /** When the server first refused. */
  readonly since: number
  /** When it last did. */
  refusedAt: number
  tries: number
  /** Nothing is opened before. */
  retryAt: number
}

/**
 * Crowds remembers which data servers refuse logins because others have taken all there is: connections (53300), or
 * room for locks (53200). That is no failure yet. Nothing is opened there until a pause is over, then one connection;
 * callers wait on, within their own deadlines, and pools serve with the connections that they have. One that lets a
 * connection in has room again; one that has refused for {@link CROWD_MS}, or for as long as callers wait, has failed.
 */
export class Crowds {
  readonly #clock: Clock
  readonly #patienceMs: number
  readonly #crowds = new Map<string, Crowd>()

  constructor({ clock, limits: { acquireTimeoutMs, connectTimeoutMs } }: CrowdsOptions) {
    this.#clock = clock
    this.#patienceMs = Math.min(CROWD_MS, acquireTimeoutMs, connectTimeoutMs)
  }

  /** refused notes a refusal and says whether it is to be tried again; false when that has been done for long enough. */
  refused(server: string): boolean {
    const now = this.#clock.now()
    let crowd = this.#crowds.get(server)
    if (crowd === undefined || now - crowd.refusedAt > this.#patienceMs) {
      crowd = { since: now, refusedAt: now, tries: 0, retryAt: now }
      this.#crowds.set(server, crowd)
    }
    crowd.refusedAt = now
    // Of several that were under way at once, one says as much as all.
    if (now < crowd.retryAt) return true
    const pause = crowdPause(crowd.tries)
    if (now + pause - crowd.since >= this.#patienceMs) return false
    crowd.tries += 1
    crowd.retryAt = now + pause
    return true
  }

  /** succeeded says that a server has let a connection in. */
  succeeded(server: string): void {
    this.#crowds.delete(server)
  }

  /** has says whether a server has refused since it last let a connection in. */
  has(server: string): boolean {
    return this.#crowds.has(server)
  }

  /** isPausing says whether nothing is to be opened at a server now. */
  isPausing(server: string): boolean {
    const crowd = this.#crowds.get(server)
    return crowd !== undefined && this.#clock.now() < crowd.retryAt
  }
}
