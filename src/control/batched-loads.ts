/** Ids of one query, and queries at once. */
const MAX_IDS = 1_000
const MAX_QUERIES = 2

export interface BatchedLoadsOptions<T> {
  /** Reads the rows of these ids, which are all different, in any order; an id without a row is left out. */
  readonly load: (ids: readonly string[]) => Promise<readonly T[]>
  readonly idOf: (row: T) => string
}

interface Wanted<T> {
  readonly id: string
  readonly resolve: (row: T | undefined) => void
  readonly reject: (error: unknown) => void
}

/**
 * BatchedLoads reads rows together: those asked for in one turn of the event loop in one query, and
 * while two queries are under way all later callers wait for the next one. So a scan of made-up ids costs
 * the control database two queries at once, however many callers there are.
 */
export class BatchedLoads<T> {
  readonly #options: BatchedLoadsOptions<T>
  #wanted: Wanted<T>[] = []
  #queries = 0
  #isDue = false

  constructor(options: BatchedLoadsOptions<T>) {
    this.#options = options
  }

  /** Callers whose query has not begun. */
  get waiting(): number {
    return this.#wanted.length
  }

  /**
   * load resolves with the row, undefined when there is none. Its query begins after the call, so that
   * the answer is never older than the question.
   * @throws what the options' `load` throws
   */
  load(id: string): Promise<T | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<T | undefined>()
    this.#wanted.push({ id, resolve, reject })
    this.#plan()
    return promise
  }

  #plan(): void {
    if (this.#isDue || this.#wanted.length === 0 || this.#queries === MAX_QUERIES) return
    this.#isDue = true
    setImmediate(() => {
      this.#isDue = false
      void this.#run(this.#wanted.splice(0, MAX_IDS))
    })
  }

  /** Never rejects. */
  async #run(wanted: readonly Wanted<T>[]): Promise<void> {
    const { load, idOf } = this.#options
    this.#queries += 1
    this.#plan()
    try {
      const rows = await load([...new Set(wanted.map(({ id }) => id))])
      const found = new Map(rows.map((row) => [idOf(row), row]))
      for (const { id, resolve } of wanted) resolve(found.get(id))
    } catch (error) {
      for (const { reject } of wanted) reject(error)
    } finally {
      this.#queries -= 1
      this.#plan()
    }
  }
}
