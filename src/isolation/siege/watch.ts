import { setTimeout as sleep } from 'node:timers/promises'
import type { ConnectionTarget } from '../../pool/contract.ts'
import { errorCode } from '../../pool/driver-errors.ts'
import { type Cells, RaidSession } from './raid-session.ts'

/** Longest for a login and a statement of the superuser's. */
const TIMEOUT_MS = 15_000
const RETRY_MS = 250

/**
 * Watch is a superuser's own way to see what an attack has come to, and to clean up behind it. Its session is open before the
 * attack begins, so that a server without a free session can still be looked at; one that is lost is opened again.
 */
export class Watch {
  readonly #target: ConnectionTarget
  #session: RaidSession | undefined
  /** Statements go one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(target: ConnectionTarget) {
    this.#target = target
  }

  /**
   * run sends statements and resolves with the rows of all; what fails for want of resources is sent again.
   * @throws the server's error; what logging in throws for 15 seconds
   */
  run(text: string): Promise<readonly Cells[]> {
    const answer = this.#last.then(() => this.#run(text))
    this.#last = answer.catch(() => {})
    return answer
  }

  /** elsewhere is run in another database, on a session of its own. */
  async elsewhere(database: string, text: string): Promise<readonly Cells[]> {
    return readAll({ ...this.#target, database }, text)
  }

  async close(): Promise<void> {
    await this.#last
    this.#session?.destroy()
    await this.#session?.closed
  }

  async #run(text: string): Promise<readonly Cells[]> {
    const signal = AbortSignal.timeout(TIMEOUT_MS)
    for (;;) {
      const session = await this.#open()
      const timer = setTimeout(() => session.destroy(), TIMEOUT_MS)
      try {
        return await session.run(text)
      } catch (error) {
        // Class 53, insufficient resources: an attacker has them.
        if (signal.aborted || errorCode(error)?.startsWith('53') !== true) throw error
        await sleep(RETRY_MS)
      } finally {
        clearTimeout(timer)
      }
    }
  }

  async #open(): Promise<RaidSession> {
    const signal = AbortSignal.timeout(TIMEOUT_MS)
    while (this.#session?.isUsable !== true) {
      try {
        this.#session = await RaidSession.open(this.#target, signal)
      } catch (error) {
        if (signal.aborted) throw error
        await sleep(RETRY_MS)
      }
    }
    return this.#session
  }
}

/** readAll runs statements on a session of its own. @throws as Watch.run */
export async function readAll(target: ConnectionTarget, text: string): Promise<readonly Cells[]> {
  const watch = new Watch(target)
  try {
    return await watch.run(text)
  } finally {
    await watch.close()
  }
}
