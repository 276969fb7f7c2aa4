import { LessorError } from '../errors.ts'

export interface VerificationLimits {
  /** Verifications that run at once, of one key id never more than one. */
  readonly concurrency: number
  /** Verifications of all key ids that may wait. */
  readonly maxWaiting: number
  /** Verifications of one key id that may wait. */
  readonly maxWaitingPerKey: number
}

interface Waiter {
  readonly start: () => void
  readonly refuse: (error: LessorError) => void
}

/** Line is one key id's: there while a verification of it runs or waits. */
interface Line {
  isRunning: boolean
  waiting: number
  /** Those who wait, by the network that they call from; none is empty. The first network is next. */
  readonly networks: Map<string, Waiter[]>
}

/**
 * VerificationQueue lets a bounded number of verifications run at once. Key ids take turns, and so do the
 * networks that send keys of one id: a flood of wrong secrets holds up neither the keys of other ids nor,
 * for more than a turn, a caller on another network. Within a network it is first come, first served.
 *
 * When it is full, a caller of an id (or network) with fewer waiters still gets in, and the last waiter of the
 * longest line is refused in its place.
 */
export class VerificationQueue {
  readonly #limits: VerificationLimits
  readonly #lines = new Map<string, Line>()
  /** Lines that wait and do not run; the first one's turn is next. */
  readonly #due = new Set<Line>()
  #running = 0
  #waiting = 0

  constructor(limits: VerificationLimits) {
    this.#limits = limits
  }

  /**
   * run resolves or rejects as `work` does, which starts when its turn comes.
   * @throws LessorError AUTHENTICATION_BUSY when too many wait
   */
  async run<T>(keyId: string, network: string, work: () => Promise<T>): Promise<T> {
    const line = await this.#enter(keyId, network)
    try {
      return await work()
    } finally {
      this.#running -= 1
      line.isRunning = false
      if (line.waiting > 0) this.#due.add(line)
      else this.#lines.delete(keyId)
      this.#startNext()
    }
  }

  async #enter(keyId: string, network: string): Promise<Line> {
    const line = this.#lines.get(keyId) ?? { isRunning: false, waiting: 0, networks: new Map() }
    const isAtOnce = !line.isRunning && this.#running < this.#limits.concurrency
    if (!isAtOnce) this.#makeRoom(line, network)
    const turn = Promise.withResolvers<void>()
    const waiters = line.networks.get(network) ?? []
    waiters.push({ start: turn.resolve, refuse: turn.reject })
    line.networks.set(network, waiters)
    line.waiting += 1
    this.#waiting += 1
    this.#lines.set(keyId, line)
    if (!line.isRunning) this.#due.add(line)
    this.#startNext()
    await turn.promise
    return line
  }

  #startNext(): void {
    for (const line of this.#due) {
      if (this.#running >= this.#limits.concurrency) return
      this.#due.delete(line)
      line.isRunning = true
      this.#running += 1
      this.#takeFirst(line).start()
    }
  }

  #takeFirst(line: Line): Waiter {
    for (const [network, waiters] of line.networks) {
      const first = waiters.shift()
      if (first === undefined) break
      // To the end: the other networks have their turn before this one has another.
      line.networks.delete(network)
      if (waiters.length > 0) line.networks.set(network, waiters)
      line.waiting -= 1
      this.#waiting -= 1
      return first
    }
    throw new Error('bug: a line without waiters has its turn')
  }

  /**
   * A line from which a waiter is refused is longer than the newcomer's, so that another one waits in it.
   * @throws LessorError AUTHENTICATION_BUSY when no line is longer than the newcomer's would be
   */
  #makeRoom(line: Line, network: string): void {
    if (line.waiting >= this.#limits.maxWaitingPerKey) {
      const own = line.networks.get(network)?.length ?? 0
      if (longest(line).waiters.length <= own + 1) throw busy()
      this.#refuseLast(line)
    }
    if (this.#waiting >= this.#limits.maxWaiting) {
      const fullest = this.#fullest() ?? line
      if (fullest.waiting <= line.waiting + 1) throw busy()
      this.#refuseLast(fullest)
    }
  }

  #fullest(): Line | undefined {
    let fullest: Line | undefined
    for (const line of this.#lines.values()) {
      if (line.waiting > (fullest?.waiting ?? 0)) fullest = line
    }
    return fullest
  }

  #refuseLast(line: Line): void {
    const { network, waiters } = longest(line)
    const last = waiters.pop()
    if (last === undefined) throw new Error('bug: an empty line is the longest')
    if (waiters.length === 0) line.networks.delete(network)
    line.waiting -= 1
    this.#waiting -= 1
    last.refuse(busy())
  }
}

function longest(line: Line): { readonly network: string; readonly waiters: Waiter[] } {
  let found: { readonly network: string; readonly waiters: Waiter[] } = { network: '', waiters: [] }
  for (const [network, waiters] of line.networks) {
    if (waiters.length > found.waiters.length) found = { network, waiters }
  }
  return found
}

function busy(): LessorError {
  return new LessorError('AUTHENTICATION_BUSY', undefined, { retryAfterSeconds: 1 })
}
