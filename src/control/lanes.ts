import type { Lane } from './lane.ts'
import { type Late, Turns } from './turns.ts'

export interface LanesOptions {
  readonly max: number
  readonly open: () => Promise<Lane>
  /** How long an unused connection stays open. */
  readonly idleMs: number
  /** Longest wait for a connection while all are in use; undefined when work has no limit. */
  readonly waitMs: number | undefined
}

/** Lanes are the few connections of one handle to a database; each serves one holder at a time. */
export class Lanes {
  readonly #options: LanesOptions
  readonly #turns: Turns
  /** The one used last comes first, so that what is not needed becomes old. */
  readonly #idle: { readonly lane: Lane; readonly timer: NodeJS.Timeout }[] = []
  readonly #held = new Set<Lane>()
  /** Work that has its turn, whether its lane is open yet or not. */
  readonly #running = new Set<Promise<unknown>>()
  readonly #late: Late | undefined
  #closing: Promise<void> | undefined

  constructor(options: LanesOptions) {
    const { max, waitMs } = options
    this.#options = options
    this.#turns = new Turns(max)
    this.#late = waitMs === undefined ? undefined : { ms: waitMs, error: () => noneFree(max, waitMs) }
  }

  /**
   * use runs `work` on a lane, an idle one or a new one, when its turn has come.
   * @throws what `open` throws, what `work` throws; Error CONNECT_TIMEOUT when no turn came in time,
   *   CONNECTION_ENDED after `close`
   */
  use<T>(work: (lane: Lane) => Promise<T>): Promise<T> {
    return this.#turns.run(async () => {
      if (this.#closing !== undefined) throw ended()
      const running = this.#use(work)
      this.#running.add(running)
      try {
        return await running
      } finally {
        this.#running.delete(running)
      }
    }, this.#late)
  }

  /** close lets what runs end, cuts it at the deadline, and closes the connections. Memoised. */
  close(timeoutMs: number): Promise<void> {
    this.#closing ??= this.#close(timeoutMs)
    return this.#closing
  }

  async #use<T>(work: (lane: Lane) => Promise<T>): Promise<T> {
    const lane = this.#takeIdle() ?? (await this.#options.open())
    this.#held.add(lane)
    try {
      return await work(lane)
    } finally {
      this.#held.delete(lane)
      if (lane.isLost) lane.destroy()
      else if (lane.isSpent) await Promise.all([lane.close(), this.#closeIdle()])
      else if (this.#closing !== undefined) await lane.close()
      else this.#keep(lane)
    }
  }

  #takeIdle(): Lane | undefined {
    for (;;) {
      const found = this.#idle.pop()
      if (found === undefined) return undefined
      clearTimeout(found.timer)
      if (!found.lane.isLost) return found.lane
    }
  }

  #keep(lane: Lane): void {
    const place = {
      lane,
      timer: setTimeout(() => {
        this.#idle.splice(this.#idle.indexOf(place), 1)
        void lane.close()
      }, this.#options.idleMs).unref(),
    }
    this.#idle.push(place)
  }

  /** Where one has turned read only the others have, and what they read may be old. */
  async #closeIdle(): Promise<void> {
    const idle = this.#idle.splice(0)
    for (const { timer } of idle) clearTimeout(timer)
    await Promise.all(idle.map(({ lane }) => lane.close()))
  }

  async #close(timeoutMs: number): Promise<void> {
    const timer = setTimeout(() => {
      for (const lane of this.#held) lane.destroy()
    }, timeoutMs)
    await Promise.all([this.#closeIdle(), Promise.allSettled(this.#running)])
    clearTimeout(timer)
  }
}

/** With the driver's own codes for these. */
function noneFree(max: number, ms: number): Error {
  return Object.assign(new Error(`All ${max} connections were in use for ${ms} ms.`), {
    code: 'CONNECT_TIMEOUT',
  })
}

function ended(): Error {
  return Object.assign(new Error('The database handle was closed.'), { code: 'CONNECTION_ENDED' })
}
