/**
 * Question is asked of something that may not answer, such as a database that hangs: who asks waits
 * for so long and no longer, and while one is under way nobody asks anew.
 */
export class Question<T> {
  readonly #ask: () => Promise<T>
  readonly #timeoutMs: number
  #underWay: Promise<T> | undefined

  constructor(ask: () => Promise<T>, timeoutMs: number) {
    this.#ask = ask
    this.#timeoutMs = timeoutMs
  }

  /** answer resolves with the answer. @throws what was asked throws; NoAnswerError when it takes too long */
  async answer(): Promise<T> {
    this.#underWay ??= this.#ask().finally(() => {
      this.#underWay = undefined
    })
    const { promise: late, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => reject(new NoAnswerError(this.#timeoutMs)), this.#timeoutMs)
    try {
      return await Promise.race([this.#underWay, late])
    } finally {
      clearTimeout(timer)
    }
  }
}

/** NoAnswerError says that a question was not answered in time. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError'

  constructor(timeoutMs: number) {
    super(`There was no answer within ${timeoutMs} ms.`)
  }
}
