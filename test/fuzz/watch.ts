import { HANG_MS } from './engine.ts'

const LOOK_MS = 500
/** How long the others have to end once one thing has hung. */
const REST_MS = 3_000

/** HangError is for what does not end. */
export class HangError extends Error {
  override readonly name = 'HangError'
}

/** CutError is for what was given up since something else has hung: whether it would have ended is not known. */
export class CutError extends Error {
  override readonly name = 'CutError'
}

interface Waiting {
  readonly until: number
  readonly reject: (error: Error) => void
}

/** Watch gives up what does not end. One timer for all, since there are thousands of statements a second. */
export class Watch implements Disposable {
  readonly #waiting = new Set<Waiting>()
  readonly #timer: NodeJS.Timeout
  readonly #hangMs: number
  #hungAt: number | undefined

  constructor(hangMs = HANG_MS) {
    this.#hangMs = hangMs
    this.#timer = setInterval(() => this.#look(performance.now()), Math.min(LOOK_MS, hangMs))
  }

  /** Whether something has hung: then nothing more is begun. */
  get hasHung(): boolean {
    return this.#hungAt !== undefined
  }

  /**
   * bound rejects with a HangError when the work has not ended in `times` as long as the engine promises to end a
   * statement in; it is then left alone.
   */
  bound<T>(work: () => Promise<T>, times = 1): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const waiting = { until: performance.now() + times * this.#hangMs, reject }
    this.#waiting.add(waiting)
    // What throws at once is no better than what rejects.
    const run = async () => work()
    run()
      .then(resolve, reject)
      .finally(() => this.#waiting.delete(waiting))
    return promise
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #look(now: number): void {
    for (const waiting of this.#waiting) {
      if (now < waiting.until) continue
      this.#hungAt ??= now
      this.#giveUp(waiting, new HangError(`no end in time; a statement has ${this.#hangMs / 1000} s`))
    }
    if (this.#hungAt === undefined || now - this.#hungAt < REST_MS) return
    for (const waiting of this.#waiting) this.#giveUp(waiting, new CutError('something else has hung'))
  }

  #giveUp(waiting: Waiting, error: Error): void {
    this.#waiting.delete(waiting)
    waiting.reject(error)
  }
}
