import { inspect } from 'node:util'

/**
 * Secret carries a password or key through the process without ever printing it: string
 * conversion, JSON, `util.inspect` and the loggers built on them show `[secret]`.
 */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** reveal returns the plain value. Call it where the value is used, and keep no copy. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  [inspect.custom](): string {
    return '[secret]'
  }
}
