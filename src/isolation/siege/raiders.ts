import { setTimeout as sleep } from 'node:timers/promises'
import type { ConnectionTarget } from '../../pool/contract.ts'
import { errorCode } from '../../pool/driver-errors.ts'
import { Secret } from '../../secret.ts'
import { RaidSession } from './raid-session.ts'
import type { Attacker, Raid, SiegeAttack, SiegeSizes, Victim } from './siege-attack.ts'
import { stallLogin } from './stalled-login.ts'

/** Sessions of one login that are tried where an attack takes all that it gets: more than any limit for a login allows. */
const MOST_SESSIONS = 34
/** A person's login may have two sessions. */
const MOST_OF_VISITOR = 4
const LOGIN_TIMEOUT_MS = 10_000
const PREPARE_TIMEOUT_MS = 300_000
const PAUSE_MS = 200
const REFUSED_PAUSE_MS = 1_000
/** Between two turns of a session whose act ends by itself. */
const TURN_MS = 10
const DEAF_MS = 4_000

/** RaidTally is what the attackers' sessions came to; codes are SQLSTATEs or system codes. */
export interface RaidTally {
  readonly opened: number
  /** Logins that were refused. */
  readonly refused: Readonly<Record<string, number>>
  /** Statements that failed. */
  readonly failed: Readonly<Record<string, number>>
  /** Sessions that were ended by the server. */
  readonly ended: Readonly<Record<string, number>>
}

export interface RaidersOptions {
  readonly attack: SiegeAttack
  readonly attackers: readonly Attacker[]
  readonly victim: Victim
  readonly sizes: SiegeSizes
}

/** Raiders are all sessions of an attack; each that is ended is opened again, until they are stopped. */
export class Raiders {
  readonly #options: RaidersOptions
  readonly #stop = new AbortController()
  readonly #sessions = new Set<RaidSession>()
  /** Those that have gone by themselves. */
  readonly #left = new WeakSet<RaidSession>()
  readonly #work: Promise<void>[] = []
  readonly #counts = { refused: new Counts(), failed: new Counts(), ended: new Counts() }
  readonly notes: string[] = []
  #opened = 0

  constructor(options: RaidersOptions) {
    this.#options = options
  }

  /** prepare lets each attacker make what the attack needs; what the server refuses is counted. @throws when a login fails */
  async prepare(): Promise<void> {
    const { attack, attackers } = this.#options
    if (attack.prepare === undefined) return
    for (const attacker of attackers) {
      const session = await RaidSession.open(this.#target(attacker), AbortSignal.timeout(LOGIN_TIMEOUT_MS))
      const timer = setTimeout(() => session.destroy(), PREPARE_TIMEOUT_MS)
      try {
        await attack.prepare(this.#raid(attacker, 0, session))
      } catch (error) {
        this.#note('failed', errorCode(error) ?? 'dropped')
      } finally {
        clearTimeout(timer)
        session.destroy()
        await session.closed
      }
    }
  }

  start(): void {
    const { attack, attackers } = this.#options
    for (const attacker of attackers) {
      const most = attacker.placement === 'row' ? MOST_OF_VISITOR : MOST_SESSIONS
      const count = attack.sessions === 'all' ? most : Math.min(attack.sessions, most)
      for (let number = 0; number < count; number++) this.#work.push(this.#keepUp(attacker, number))
    }
  }

  /** stop drops all sessions, and resolves when there is none; what they still run at the server goes on there. Memoised. */
  async stop(): Promise<RaidTally> {
    this.#stop.abort()
    for (const session of this.#sessions) session.destroy()
    await Promise.all(this.#work)
    const { refused, failed, ended } = this.#counts
    return { opened: this.#opened, refused: refused.all, failed: failed.all, ended: ended.all }
  }

  async #keepUp(attacker: Attacker, number: number): Promise<void> {
    const { attack } = this.#options
    while (!this.#stop.signal.aborted) {
      const wasIn =
        attack.logIn === 'stalled' ? await this.#stallOnce(attacker) : await this.#raidOnce(attacker, number)
      await this.#pause(attack.pauseMs ?? (wasIn ? PAUSE_MS : REFUSED_PAUSE_MS))
    }
  }

  /** Resolves with whether it was let in. */
  async #stallOnce(attacker: Attacker): Promise<boolean> {
    try {
      const refused = await stallLogin(this.#target(attacker), this.#stop.signal)
      if (refused === undefined) this.#opened += 1
      else this.#note('refused', refused)
      return refused === undefined
    } catch (error) {
      this.#note('refused', errorCode(error) ?? 'no answer')
      return false
    }
  }

  #target({ target }: Attacker): ConnectionTarget {
    const { database, logIn } = this.#options.attack
    return {
      ...target,
      ...(database !== undefined && { database }),
      ...(logIn === 'wrong-password' && { password: new Secret('wrong') }),
    }
  }

  /** Likewise. */
  async #raidOnce(attacker: Attacker, number: number): Promise<boolean> {
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(LOGIN_TIMEOUT_MS)])
    let session: RaidSession
    try {
      session = await RaidSession.open(this.#target(attacker), signal)
    } catch (error) {
      this.#note('refused', errorCode(error) ?? 'no answer')
      return false
    }
    this.#opened += 1
    this.#sessions.add(session)
    const raid = this.#raid(attacker, number, session)
    try {
      while (session.isUsable && !this.#stop.signal.aborted) {
        await this.#options.attack.act(raid)
        await this.#pause(TURN_MS)
      }
      if (!session.isUsable) this.#lost(session, session.endedBy)
    } catch (error) {
      if (session.isUsable) this.#note('failed', errorCode(error) ?? 'dropped')
      else this.#lost(session, errorCode(error))
    } finally {
      session.destroy()
      this.#sessions.delete(session)
    }
    return true
  }

  #raid(attacker: Attacker, number: number, session: RaidSession): Raid {
    const { victim, sizes } = this.#options
    const leave = () => {
      this.#left.add(session)
      session.destroy()
    }
    return {
      attacker,
      victim,
      number,
      sizes,
      run: (text) => session.run(text),
      attempt: async (text) => {
        try {
          await session.run(text)
          return true
        } catch (error) {
          if (!session.isUsable) throw error
          this.#note('failed', errorCode(error) ?? 'dropped')
          return false
        }
      },
      hold: (ms) => this.#hold(session, ms),
      note: (text) => this.notes.push(text),
      deaf: async (text) => {
        session.deafen()
        session.send(text)
        await this.#pause(DEAF_MS)
        leave()
      },
      leave,
    }
  }

  async #hold(session: RaidSession, ms: number | undefined): Promise<void> {
    const over = new AbortController()
    const lost = session.closed.then(() => over.abort())
    const signal = AbortSignal.any([over.signal, this.#stop.signal])
    if (ms !== undefined) await sleep(ms, undefined, { signal }).catch(() => {})
    else await Promise.race([lost, aborted(this.#stop.signal)])
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => {})
  }

  #lost(session: RaidSession, code: string | undefined): void {
    if (!this.#left.has(session)) this.#note('ended', code ?? 'dropped')
  }

  /** What happens once the attack is stopped is none of its doing. */
  #note(kind: 'refused' | 'failed' | 'ended', code: string): void {
    if (!this.#stop.signal.aborted) this.#counts[kind].add(code)
  }
}

class Counts {
  readonly all: Record<string, number> = {}

  add(name: string): void {
    this.all[name] = (this.all[name] ?? 0) + 1
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
