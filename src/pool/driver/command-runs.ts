import type { Rows, TransactionCommand } from '../contract.ts'
import { errorCode } from '../driver-errors.ts'
import { commandText, RESET, transactionText } from './commands.ts'
import type { Copied, Expected, Receiver, Statuses } from './query.ts'
import { ANY, type Line, OUTSIDE, Run } from './runs.ts'

/** CommandRun is SQL text without parameters. */
export abstract class CommandRun extends Run implements Receiver {
  abstract send(): void

  abstract answered(rows: Rows, statuses: Statuses): void

  failed(error: Error): void {
    this.reject(error)
  }

  stale(error: Error): void {
    this.reject(error)
  }
}

/** ScriptRun may be several statements, and leaves the session as it likes. */
export class ScriptRun extends CommandRun {
  readonly #text: string

  constructor(line: Line, text: string) {
    super(line)
    this.#text = text
  }

  send(): void {
    this.query = this.line.send(commandText(this.#text), this, ANY)
  }

  answered(rows: Rows): void {
    this.resolve(rows)
  }
}

/** CopyRun is a COPY to or from the client; see Connection.copy. */
export class CopyRun extends CommandRun {
  readonly #text: string
  readonly #expected: Expected
  readonly #copied: Copied = { chunks: [], wantedRows: false }

  constructor(line: Line, text: string, expected: Expected) {
    super(line)
    this.#text = text
    this.#expected = expected
  }

  send(): void {
    const options = { expected: this.#expected, copied: this.#copied }
    this.query = this.line.send(commandText(this.#text), this, options)
  }

  answered(): void {
    const lines = Buffer.concat(this.#copied.chunks).toString('utf8').split('\n')
    const rows = lines.filter((line) => line !== '').map((line) => ({ line }))
    this.resolve(Object.assign(rows, { command: 'COPY' }))
  }

  override failed(error: Error): void {
    // query_canceled: what PostgreSQL says to CopyFail.
    if (this.#copied.wantedRows && errorCode(error) === '57014')
      this.resolve(Object.assign([], { command: 'COPY', count: 1 }))
    else this.reject(error)
  }
}

/** TransactionRun begins or ends a transaction. */
export class TransactionRun extends CommandRun {
  readonly #command: TransactionCommand
  readonly #binding: string | undefined
  #resetFailure: Error | undefined

  constructor(line: Line, command: TransactionCommand, binding: string | undefined) {
    super(line)
    this.#command = command
    this.#binding = binding
  }

  send(): void {
    const text = transactionText(this.#command, this.#binding)
    // Not behind BEGIN, since it takes a snapshot; see session-reset.ts.
    if (this.#command === 'begin' && this.#binding !== undefined) {
      const note = (error: Error) => {
        this.#resetFailure = error
      }
      this.line.send(RESET, { answered() {}, failed: note, stale: note }, { expected: OUTSIDE })
    }
    this.query = this.line.send(text, this, this.#command === 'begin' ? ANY : { expected: OUTSIDE })
  }

  override failed(error: Error): void {
    // The end itself, or the reset of the session behind it.
    if (this.#command !== 'begin' && this.#binding !== undefined) this.line.spend()
    super.failed(error)
  }

  answered(_rows: Rows, { before }: Statuses): void {
    // A COMMIT of a transaction that has failed is answered with ROLLBACK, and not with an error.
    const command = this.#command === 'commit' && before === 'E' ? 'ROLLBACK' : this.#command.toUpperCase()
    if (this.#resetFailure === undefined) this.resolve(Object.assign([], { command }))
    else this.reject(this.#resetFailure)
  }
}
