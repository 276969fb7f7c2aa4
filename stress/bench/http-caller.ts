import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** HttpRequest is what a caller asks for, again and again. */
export interface HttpRequest {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

const HEAD_END = '\r\n\r\n'
const STATUS_OK = /^HTTP\/1\.1 2\d\d /
const LENGTH = /\r\ncontent-length: *(\d+)/i

/**
 * HttpCaller asks for one thing again and again on one connection, its next as soon as it has its
 * answer. A bare socket, because whoever measures shares the cores with what is measured: autocannon
 * takes two to three times the CPU time. It reads what our servers write: answers with a content-length.
 */
export class HttpCaller {
  readonly #socket: Socket
  readonly #request: Buffer
  readonly #onAnswer: (milliseconds: number) => void
  readonly #ended = Promise.withResolvers<void>()
  /** The answer's first bytes, until its head is complete. */
  #head: Buffer = Buffer.alloc(0)
  /** Bytes of the answer that are still to come; undefined while its head is not complete. */
  #missing: number | undefined
  #sentAt = 0
  #isStopping = false

  /** start connects and begins. @throws Error when it cannot connect */
  static async start(request: HttpRequest, onAnswer: (milliseconds: number) => void): Promise<HttpCaller> {
    const { hostname, port } = new URL(request.url)
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    await once(socket, 'connect')
    return new HttpCaller(socket, encode(request), onAnswer)
  }

  private constructor(socket: Socket, request: Buffer, onAnswer: (milliseconds: number) => void) {
    this.#socket = socket
    this.#request = request
    this.#onAnswer = onAnswer
    // `stop` tells; until then nobody may be listening.
    this.#ended.promise.catch(() => {})
    socket.on('error', (error) => this.#fail(error.message))
    socket.on('close', () => this.#fail('the server closed the connection'))
    socket.on('data', (chunk) => this.#read(chunk))
    this.#send()
  }

  /**
   * stop asks for nothing more and resolves when the answer under way is there.
   * @throws Error when an answer was not 2xx, or the connection was lost
   */
  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#ended.promise
  }

  #send(): void {
    this.#sentAt = performance.now()
    this.#socket.write(this.#request)
  }

  #read(chunk: Buffer): void {
    if (this.#missing !== undefined) {
      this.#missing -= chunk.length
    } else {
      this.#head = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk])
      const end = this.#head.indexOf(HEAD_END)
      if (end === -1) return
      const head = this.#head.toString('latin1', 0, end)
      const [, length] = LENGTH.exec(head) ?? []
      if (!STATUS_OK.test(head) || length === undefined) {
        this.#fail(`the server answered ${this.#head.toString('utf8')}`)
        return
      }
      this.#missing = end + HEAD_END.length + Number(length) - this.#head.length
    }
    if (this.#missing === 0) this.#answered()
    else if (this.#missing < 0) this.#fail('the server sent more than it had announced')
  }

  #answered(): void {
    this.#head = Buffer.alloc(0)
    this.#missing = undefined
    this.#onAnswer(performance.now() - this.#sentAt)
    if (this.#isStopping) this.#end()
    else this.#send()
  }

  #end(): void {
    this.#ended.resolve()
    this.#socket.destroy()
  }

  #fail(what: string): void {
    this.#ended.reject(new Error(what))
    this.#socket.destroy()
  }
}

function encode({ method, url, headers, body }: HttpRequest): Buffer {
  const { host, pathname, search } = new URL(url)
  const lines = [
    `${method} ${pathname}${search} HTTP/1.1`,
    `host: ${host}`,
    'connection: keep-alive',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ...(body === undefined ? [] : [`content-length: ${Buffer.byteLength(body)}`]),
  ]
  return Buffer.from(`${lines.join('\r\n')}${HEAD_END}${body ?? ''}`)
}
