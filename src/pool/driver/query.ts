import type { Rows } from '../contract.ts'
import { errorCode } from '../driver-errors.ts'
import type { TransactionStatus } from './protocol.ts'

/** QueryText is what the driver makes a query of. */
export interface QueryText {
  readonly text: string
  /** What stands for `$1`, `$2`, ...: text in the form of its type, or null; or the driver's own Parameter of such. */
  readonly args: readonly unknown[]
  /**
   * `simple` may have several statements and has no parameters. `prepared` is prepared the first time and run by its
   * name from then on, with the columns that it had; `once` is parsed and described each time.
   */
  readonly form: 'simple' | 'prepared' | 'once'
}

/** Statuses are the session's transaction status before and behind an answer. */
export interface Statuses {
  readonly before: TransactionStatus
  readonly after: TransactionStatus
}

/** Receiver hears once how a query has ended, when the server is ready for the next one. */
export interface Receiver {
  answered(rows: Rows, statuses: Statuses): void
  /** The server refused it, with `statuses`; or the answer was not accepted, or the connection was lost. */
  failed(error: Error, statuses?: Statuses): void
  /** The server refused it before it ran, since its prepared plan is gone or no longer fits. */
  stale(error: Error): void
}

/**
 * Expected is the transaction statuses that may stand behind a query's answer, in the protocol's letters. Another
 * one means that the statement began or ended a transaction without the engine's knowledge.
 */
export type Expected = 'I' | 'TE' | 'ITE'

/** Copied is what has come of a COPY. */
export interface Copied {
  readonly chunks: Buffer[]
  /** The server waited for rows, and was told that none come. */
  wantedRows: boolean
}

export interface QueryOptions {
  readonly expected: Expected
  /** Whether the driver is only to ask for the types of parameters and columns. */
  readonly onlyDescribe?: boolean
  readonly copied?: Copied
}

/** Turns is what the driver's word about a query is checked by. */
export interface Turns {
  /** Throws nothing; a word out of turn costs the connection. */
  settled(query: DriverQuery): void
}

const NO_STRINGS = ''

/**
 * DriverQuery is a query in the form that the driver's connection takes (postgres.js 3.4: `execute`, `build`,
 * `queryError` in src/connection.js, `handler` in src/index.js). One of the driver's own is a subclass of Promise,
 * whose objects outlive many collections of the young generation with all that they refer to, and takes two more
 * promises and a turn of the microtask queue to be sent: see docs/decisions.md.
 *
 * What the driver says of it is only noted here. It counts when the pipeline has seen on the wire that the answer is
 * complete and that it is this query's turn.
 */
export class DriverQuery {
  readonly strings: readonly string[]
  readonly args: readonly unknown[]
  readonly options: { readonly simple: boolean; readonly prepare: boolean }
  /** Values do not stand between the strings but behind them. */
  readonly tagged = false
  /** Whether the driver only asks for the types of parameters and columns. */
  readonly onlyDescribe: boolean
  /** What the driver appends to an error's stack. */
  readonly origin = NO_STRINGS
  /** Written by the driver, like all below. */
  active = false
  /** The connection does not send one again that is. */
  cancelled: unknown = null
  state: unknown = null
  statement: unknown = null
  parameters: unknown = undefined
  prepare: unknown = undefined
  string = ''
  signature: unknown = ''
  prepared: unknown = undefined
  describeFirst: unknown = undefined

  readonly expected: Expected
  /** Gets what a COPY sends; without it a COPY is refused. */
  readonly copied: Copied | undefined
  readonly #turns: Turns
  readonly #receiver: Receiver
  #rows: Rows | undefined
  #error: Error | undefined
  #isStale = false
  /** An error that the driver was not told of. */
  #refusal: Error | undefined
  /** How often the driver has spoken; once is right, and twice for a description. */
  #words = 0

  constructor(
    { text, args, form }: QueryText,
    turns: Turns,
    receiver: Receiver,
    { expected, onlyDescribe = false, copied }: QueryOptions,
  ) {
    this.strings = [text]
    this.args = args
    this.options = FORMS[form]
    this.expected = expected
    this.onlyDescribe = onlyDescribe
    this.copied = copied
    this.#turns = turns
    this.#receiver = receiver
  }

  /** True when the driver has spoken as often as it should when the answer is complete. */
  get isSettled(): boolean {
    return this.#words === 1 || (this.onlyDescribe && this.#error === undefined && this.#words === 2)
  }

  get hasFailed(): boolean {
    return this.#error !== undefined
  }

  /** refuse is for a description that was complete and failed behind that, as by a time limit. */
  refuse(error: Error): void {
    this.#refusal ??= error
  }

  /** Called by the driver. What it gives for a description is the statement first, and rows at the end. */
  resolve(rows: Rows): void {
    this.#words += 1
    this.#rows ??= rows
    this.#turns.settled(this)
  }

  /** Called by the driver. */
  reject(error: Error): void {
    this.#words += 1
    this.#error ??= error
    this.#turns.settled(this)
  }

  /**
   * The driver writes this before it sends a statement once more whose prepared plan is gone or stale
   * (postgres.js 3.4, `retry` in src/connection.js). It does not send one that is cancelled: who sends what again is
   * the engine's to decide.
   */
  set retried(error: Error) {
    this.cancelled = true
    this.#isStale = true
    this.reject(error)
  }

  /** Read by the driver at the answer to what it has sent again, which is never. */
  get retried(): undefined {
    return undefined
  }

  /** finish tells the receiver what has come of it. `hasRun` is whether the server had begun to execute it. */
  finish(hasRun: boolean, statuses: Statuses): void {
    if (this.#error !== undefined) {
      if (!hasRun && (this.#isStale || this.#isOutdated(this.#error))) this.#receiver.stale(this.#error)
      else this.#receiver.failed(this.#error, statuses)
    } else if (this.#refusal !== undefined) this.#receiver.failed(this.#refusal, statuses)
    else if (this.#rows !== undefined) this.#receiver.answered(this.#rows, statuses)
  }

  /**
   * What was prepared is parsed again after a change of a table, with the types that its parameters had: then names, functions
   * or operators are missing (class 42) that a description would find. A right that is missing (42501) stays so.
   */
  #isOutdated(error: Error): boolean {
    const code = errorCode(error) ?? ''
    return this.prepared === true && code.startsWith('42') && code !== '42501'
  }

  /** fail tells the receiver that there is no answer, or none that counts. */
  fail(error: Error): void {
    this.#receiver.failed(error)
  }
}

const FORMS = {
  simple: { simple: true, prepare: false },
  prepared: { simple: false, prepare: true },
  once: { simple: false, prepare: false },
} as const

/** isExpected says whether a query may leave the session in this status. */
export function isExpected({ expected }: DriverQuery, status: TransactionStatus): boolean {
  return expected.includes(status)
}
