/** Ends is what a test's end would be, for a run by hand. */
export class Ends implements AsyncDisposable {
  readonly #fns: (() => unknown)[] = []

  teardown(fn: () => unknown): void {
    this.#fns.push(fn)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const fn of this.#fns.toReversed()) await fn()
  }
}
