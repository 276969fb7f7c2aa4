// The part of autocannon that the bench uses; the package has no types.
declare module 'autocannon' {
  interface Options {
    readonly url: string
    readonly method?: 'GET' | 'PATCH'
    readonly headers?: Readonly<Record<string, string>>
    readonly body?: string
    /** Each has one request under way. */
    readonly connections: number
    /** Seconds. */
    readonly duration: number
    /** Milliseconds; `duration` and `stop` are looked at as often. */
    readonly sampleInt: number
  }

  interface Result {
    readonly errors: number
    readonly non2xx: number
  }

  /** Run resolves when it has ended. */
  interface Run extends PromiseLike<Result> {
    on(
      event: 'response',
      listener: (client: object, status: number, bytes: number, milliseconds: number) => void,
    ): this
    stop(): void
  }

  export default function autocannon(options: Options): Run
}
