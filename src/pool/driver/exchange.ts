import type { MessageSink, Verdict } from './message-reader.ts'
import { MESSAGE } from './protocol.ts'

/** No message of a log-in is longer, but for errors, notices and settings, of which little is kept. */
const MAX_LOGIN_MESSAGE_BYTES = 16_384
/** A server reports some twenty settings and a few things besides. */
const MAX_MESSAGES = 400

interface Message {
  readonly type: number
  readonly body: Buffer
}

/** Exchange is the messages of a log-in, one after the other. */
export class Exchange implements MessageSink {
  readonly #arrived: Message[] = []
  #count = 0
  #wake: () => void = () => {}
  #error: Error | undefined
  #isOver = false
  /** The server does not keep to the protocol; nothing that it says counts. */
  #isBroken = false
  isAuthenticated = false
  /** Whether a SCRAM exchange has begun, which the server must end by its own proof. */
  #owesProof = false

  constructor(closed: Promise<void>) {
    void closed.then(() => this.#fail(closedWhileOpening()))
  }

  /** @throws Error when the connection is closed, or something came that belongs to no log-in */
  async next(): Promise<Message> {
    for (;;) {
      // What came before a hang-up counts: it says why.
      if (this.#error !== undefined && (this.#isBroken || this.#arrived.length === 0)) throw this.#error
      const message = this.#arrived.shift()
      if (message !== undefined) return message
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  beginScram(): void {
    this.#owesProof = true
  }

  proven(): void {
    this.#owesProof = false
  }

  accept(): void {
    if (this.#owesProof)
      throw violation('it accepts a login without having proven that it knows the password')
    this.isAuthenticated = true
  }

  verdict(type: number, length: number): Verdict {
    if (this.#isBroken) return 'refuse'
    if (this.#isOver) return 'drop'
    switch (type) {
      case MESSAGE.notice:
        return 'drop'
      case MESSAGE.errorResponse:
      case MESSAGE.parameterStatus:
        return 'read'
      case MESSAGE.authentication:
      case MESSAGE.backendKeyData:
      case MESSAGE.readyForQuery:
        if (length <= MAX_LOGIN_MESSAGE_BYTES) return 'read'
    }
    return this.#refuse(`a message of type ${type} and ${length} bytes belongs to no log-in`)
  }

  read(type: number, body: Buffer): void {
    this.#arrived.push({ type, body })
    if (type === MESSAGE.readyForQuery) this.#isOver = true
    this.#count += 1
    if (this.#count > MAX_MESSAGES) this.#refuse('it sends too many messages')
    this.#wake()
  }

  pass(): void {
    throw new Error('bug: nothing of a log-in is passed on')
  }

  cut(): void {
    throw new Error('bug: nothing of a log-in is passed on')
  }

  #refuse(what: string): 'refuse' {
    this.#isBroken = true
    this.#fail(violation(what))
    return 'refuse'
  }

  #fail(error: Error): void {
    this.#error ??= error
    this.#wake()
  }
}

/** violation is the error of a server that does not keep to the protocol. */
export function violation(what: string): Error {
  return withCode('PROTOCOL_VIOLATION', `The server does not keep to the protocol: ${what}.`)
}

function closedWhileOpening(): Error {
  return withCode('CONNECTION_CLOSED', 'The connection was closed while it was being opened.')
}

/** withCode is an error with a code. */
export function withCode(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}
