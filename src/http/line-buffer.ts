/** Chunks is where a LineBuffer's text goes, many lines at a time. */
export interface Chunks {
  write(text: string): unknown
}

export interface LineBufferOptions {
  readonly target: Chunks
  /** Lines are handed on when so many characters of them are there, or after so many milliseconds. */
  readonly length: number
  readonly ms: number
}

/**
 * LineBuffer gathers log lines, so that a line costs little more than the making of it: adding to a
 * string is nearly free, while each write is a system call.
 */
export class LineBuffer {
  readonly #target: Chunks
  readonly #length: number
  readonly #ms: number
  #text = ''
  #timer: NodeJS.Timeout | undefined

  constructor({ target, length, ms }: LineBufferOptions) {
    this.#target = target
    this.#length = length
    this.#ms = ms
  }

  write(line: string): void {
    this.#text += line
    if (this.#text.length >= this.#length) this.flush()
    else this.#timer ??= setTimeout(() => this.flush(), this.#ms).unref()
  }

  /** flush hands on what is there. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#text === '') return
    const text = this.#text
    this.#text = ''
    this.#target.write(text)
  }
}
