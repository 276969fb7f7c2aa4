import type { LessorError } from '../../errors.ts'
import { COPY_REFUSED } from '../statement-kind.ts'
import type { MessageSink, Verdict } from './message-reader.ts'
import {
  backendMessage,
  errorFields,
  errorResponse,
  frontendMessage,
  HEADER_BYTES,
  isRowDescription,
  MESSAGE,
  serverError,
  type TransactionStatus,
  transactionStatus,
} from './protocol.ts'
import { type DriverQuery, isExpected, type Turns } from './query.ts'
import { resultTooLarge } from './result-limit.ts'

/** OnNotify is told what was sent to a channel by NOTIFY. */
export type OnNotify = (channel: string, payload: string) => void

export interface PipelineOptions {
  /** Gives the driver a part of an answer. */
  readonly deliver: (bytes: Buffer) => void
  /** Writes past the driver. */
  readonly write: (bytes: Buffer) => void
  /** Called once, when the connection cannot be used any more: what is on it has been told. */
  readonly onViolation: () => void
  /** Called when an answer is complete and its query has been told. */
  readonly onTurn: () => void
  readonly onNotify: OnNotify | undefined
  /** Called with the body of a ParameterStatus. */
  readonly onSetting: (body: Buffer) => void
  /** Limit of one answer: see {@link ROW_BYTES}. */
  readonly maxResultBytes: number
}

/** What a row and a value of it take in memory besides their text, as far as the limit of an answer counts it. */
export const ROW_BYTES = 64
export const VALUE_BYTES = 16
/** A server reports settings and notices by itself, one at a time. */
const MAX_UNASKED = 1_000
/** Of what is neither row nor error; 65,535 parameters make a description of a quarter of this. */
const MAX_MESSAGE_BYTES = 1024 * 1024

const COMPLETE = backendMessage(MESSAGE.commandComplete, Buffer.from('SELECT 0\0'))

/** CopyFail: who asked for rows gets none. */
const NO_ROWS = frontendMessage('f', 'no rows\0')

/**
 * Pipeline is the queries that were handed to the driver and are not answered yet, in the order of the wire. The
 * server ends each answer by ReadyForQuery, in that order; so whose answer it is that arrives is known without the
 * driver, and what the driver makes of it counts only if it speaks of that query, once, and meanwhile. Anything else
 * drops the connection, and everything on it fails.
 */
export class Pipeline implements MessageSink, Turns {
  readonly #options: PipelineOptions
  readonly #queries: DriverQuery[] = []
  /** Whether the driver is reading right now. */
  #isDelivering = false
  #isClosed = false
  /** Of the answer under way. */
  #bytes = 0
  #hasRun = false
  #isComplete = false
  #tooLarge: LessorError | undefined
  /** The last error that the server sent, for whom the connection's end comes too soon. */
  #lastError: Error | undefined
  /** Sync and Query messages that the driver may write: one for each query. */
  #unsent = 0
  /** Messages since the last answer that belong to none. */
  #unasked = 0
  /** Behind the last answer. */
  #status: TransactionStatus = 'I'

  constructor(options: PipelineOptions) {
    this.#options = options
  }

  /** The query that the server works on. */
  get head(): DriverQuery | undefined {
    return this.#queries[0]
  }

  get isEmpty(): boolean {
    return this.#queries.length === 0
  }

  /** Whether nothing can be sent any more. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Why the query's answer will be refused though it still comes; undefined when it will not. */
  refusalOf(query: DriverQuery): LessorError | undefined {
    return query === this.head ? this.#tooLarge : undefined
  }

  /** add is called before the query is handed to the driver. */
  add(query: DriverQuery): void {
    this.#queries.push(query)
    this.#unasked = 0
    this.#unsent += 1
  }

  /** wrote is called with every message that the driver wants to write; false when it must not be written. */
  wrote(type: number): boolean {
    switch (String.fromCharCode(type)) {
      case 'P':
      case 'B':
      case 'D':
      case 'E':
      case 'H':
        if (this.#unsent > 0) return true
        break
      case 'S':
      case 'Q':
        if (this.#unsent > 0) {
          this.#unsent -= 1
          return true
        }
    }
    this.violated('the driver sends something that no statement asked for')
    return false
  }

  settled(query: DriverQuery): void {
    if (this.#isClosed) return
    if (!this.#isDelivering) this.violated('the driver has settled a statement without an answer')
    else if (query !== this.head) this.violated('the driver has settled a statement out of turn')
  }

  /** close fails what is not answered, and returns the error; `why` is the socket's. */
  close(why?: Error): Error {
    this.#isClosed = true
    const error = lost(this.#lastError ?? why)
    for (const query of this.#queries.splice(0)) query.fail(error)
    return error
  }

  /** violated fails all that is on the connection, the statement under way with an error of its own. */
  violated(what: string, own?: Error): void {
    if (this.#isClosed) return
    this.#lastError = own ?? new Error(`bug: ${what}`)
    if (own !== undefined) this.#queries.shift()?.fail(own)
    this.close()
    this.#options.onViolation()
  }

  verdict(type: number, length: number, values: number): Verdict {
    if (this.#isClosed) return 'refuse'
    if (this.isEmpty && type !== MESSAGE.notification) {
      this.#unasked += 1
      if (this.#unasked > MAX_UNASKED) return this.#refuse('it goes on sending what was not asked for')
    }
    switch (type) {
      case MESSAGE.notice:
        return 'drop'
      case MESSAGE.parameterStatus:
      case MESSAGE.errorResponse:
        return 'read'
      case MESSAGE.notification:
        return this.#options.onNotify === undefined ? 'drop' : 'read'
    }
    if (this.isEmpty) return this.#refuse(`a message of type ${type} answers no statement`)
    switch (type) {
      case MESSAGE.dataRow:
        return this.#row(length, values)
      case MESSAGE.readyForQuery:
        return length === HEADER_BYTES + 1 ? 'cut' : this.#refuse('its ReadyForQuery is too long')
      case MESSAGE.bindComplete:
        this.#hasRun = true
        return 'pass'
      case MESSAGE.commandComplete:
      case MESSAGE.emptyQuery:
        if (this.head?.onlyDescribe) return this.#refuse('a description ends as a statement that was run')
        this.#isComplete = true
        return this.#bounded(type, length)
      case MESSAGE.rowDescription:
        this.#isComplete ||= this.head?.onlyDescribe ?? false
        return length <= MAX_MESSAGE_BYTES ? 'whole' : this.#bounded(type, length)
      case MESSAGE.noData:
        this.#isComplete ||= this.head?.onlyDescribe ?? false
        return this.#bounded(type, length)
      case MESSAGE.parseComplete:
      case MESSAGE.parameterDescription:
        return this.#bounded(type, length)
      case MESSAGE.copyIn:
      case MESSAGE.copyOut:
      case MESSAGE.copyBoth:
      case MESSAGE.copyData:
      case MESSAGE.copyDone:
        return this.#copy(type)
      default:
        return this.#refuse(`a message of type ${type} was not asked for`)
    }
  }

  pass(bytes: Buffer): void {
    if (this.#isClosed) return
    this.#isDelivering = true
    try {
      this.#options.deliver(bytes)
    } catch (error) {
      this.violated(`the driver has thrown: ${(error as Error).name}`)
    } finally {
      this.#isDelivering = false
    }
  }

  cut(lastByte: number): void {
    if (this.#isClosed) return
    const query = this.#queries.shift()
    const status = transactionStatus(lastByte)
    const [before, hasRun, isComplete, tooLarge] = [
      this.#status,
      this.#hasRun,
      this.#isComplete,
      this.#tooLarge,
    ]
    this.#status = status ?? 'I'
    this.#bytes = 0
    this.#hasRun = false
    this.#isComplete = false
    this.#tooLarge = undefined
    this.#lastError = undefined
    if (query === undefined) throw new Error('bug: ReadyForQuery was passed on and answers no statement')
    if (!isComplete || status === undefined) {
      query.fail(lost())
      this.#refuse('it is ready for a statement before it has answered the last one')
    } else if (!query.isSettled) {
      query.fail(lost())
      this.violated('the driver has not settled a statement that was answered')
    } else if (!isExpected(query, status)) {
      // A COMMIT that was cancelled leaves its transaction open, and says so itself.
      if (query.hasFailed) query.finish(hasRun, { before, after: status })
      else query.fail(new Error(TRANSACTION_CHANGED))
      this.violated('a statement has begun or ended a transaction')
    } else if (tooLarge !== undefined) query.fail(tooLarge)
    else query.finish(hasRun, { before, after: status })
    this.#options.onTurn()
  }

  read(type: number, body: Buffer, isCut: boolean): void {
    if (this.#isClosed) return
    if (type === MESSAGE.notification) this.#notify(body)
    else if (type === MESSAGE.parameterStatus) this.#options.onSetting(body)
    else if (type === MESSAGE.rowDescription) this.#describe(body)
    else if (type === MESSAGE.copyData) this.head?.copied?.chunks.push(body)
    else {
      this.#lastError = serverError(body)
      // One that no statement is answered by comes before the server hangs up.
      if (this.isEmpty) return
      if (this.head?.onlyDescribe && this.#isComplete) {
        // The driver has ended the description by its Sync, and would send another one for the error.
        this.head.refuse(this.#lastError)
        return
      }
      this.#isComplete = true
      // Else the driver goes on counting rows from where this answer stopped (postgres.js 3.4, `rows` in
      // src/connection.js), and the next one begins with as many holes.
      if (this.#bytes > 0) this.pass(COMPLETE)
      // What is too long for an error is cut off: its first fields say what it is.
      this.pass(isCut ? errorResponse(errorFields(body)) : backendMessage(type, body))
    }
  }

  #bounded(type: number, length: number): Verdict {
    if (length <= MAX_MESSAGE_BYTES) return 'pass'
    return this.#refuse(`a message of type ${type} has ${length} bytes`)
  }

  #copy(type: number): Verdict {
    const copied = this.head?.copied
    if (copied === undefined || type === MESSAGE.copyBoth) {
      this.violated('a copy was begun', new Error(COPY_REFUSED))
      return 'refuse'
    }
    if (type === MESSAGE.copyData) return 'read'
    if (type === MESSAGE.copyIn) {
      copied.wantedRows = true
      this.#options.write(NO_ROWS)
    }
    return 'drop'
  }

  #row(length: number, values: number): Verdict {
    this.#bytes += length + ROW_BYTES + values * VALUE_BYTES
    if (this.#bytes <= this.#options.maxResultBytes) return 'pass'
    // The rest is read and forgotten, so that neighbours on the connection get their answers.
    this.#tooLarge ??= resultTooLarge(this.#options.maxResultBytes)
    return 'drop'
  }

  /** The driver would look for the end of a name that has none for ever (postgres.js 3.4, RowDescription). */
  #describe(body: Buffer): void {
    if (isRowDescription(body)) this.pass(backendMessage(MESSAGE.rowDescription, body))
    else this.#refuse('its description of a row is not one')
  }

  #notify(body: Buffer): void {
    const [channel = '', payload = ''] = body.toString('utf8', 4).split('\0')
    this.#options.onNotify?.(channel, payload)
  }

  #refuse(what: string): 'refuse' {
    this.violated(`the server does not keep to the protocol: ${what}`)
    return 'refuse'
  }
}

const TRANSACTION_CHANGED =
  'The statement began or ended a transaction by itself; use db.transaction() instead. Its connection was dropped.'

/** connectionClosed has the driver's own code for it, so that callers are told CONNECTION_LOST. */
export function connectionClosed(cause?: Error): Error {
  const error = new Error(
    'The connection was closed by the server.',
    cause === undefined ? undefined : { cause },
  )
  return Object.assign(error, { code: 'CONNECTION_CLOSED' })
}

const lost = connectionClosed
