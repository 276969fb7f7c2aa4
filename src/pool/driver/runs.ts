import { LessorError } from '../../errors.ts'
import type { Rows, Running } from '../contract.ts'
import { errorCode } from '../driver-errors.ts'
import type { StatementText } from '../statement-text.ts'
import { beginBound, transactionText } from './commands.ts'
import type { DriverQuery, Expected, QueryOptions, QueryText, Receiver, Statuses } from './query.ts'
import { decodeRows } from './rows.ts'

/** Line is the connection that a run is on. */
export interface Line {
  /** Limit of one answer. */
  readonly maxResultBytes: number
  /** Hands a query to the driver, behind those before it. */
  send(text: QueryText, receiver: Receiver, options: QueryOptions): DriverQuery
  /** Whether a text is prepared on the connection, or may be. */
  prepares(statement: StatementText, hints: readonly number[]): boolean
  /** Describes the run's statement again and sends it once more. */
  sendAgain(run: StatementRun): void
  /** Takes back a run that is not sent yet, or asks the server to stop the one that it works on. */
  cancel(run: Run): Promise<void>
  /** Why a query's answer will be refused, though it still comes. */
  refusalOf(query: DriverQuery): LessorError | undefined
  /** Describes the run's statement again when it comes next. */
  forget(run: StatementRun): void
  /** Takes nothing more: what is left in the session is not known. */
  spend(): void
}

/** What a statement of a transaction leaves behind: it goes on, or has failed. */
const INSIDE: Expected = 'TE'
/** OUTSIDE is what a statement by itself leaves behind. */
export const OUTSIDE: Expected = 'I'
/** ANY is for what may begin a transaction. */
export const ANY: QueryOptions = { expected: 'ITE' }

/** Run is one unit of work on a connection, from its submission to its answer. */
export abstract class Run implements Running {
  readonly result: Promise<Rows>
  protected readonly resolve: (rows: Rows) => void
  readonly reject: (error: Error) => void
  protected readonly line: Line
  isUndone = false
  /** The query that a cancel request means; undefined until it is sent. */
  query: DriverQuery | undefined

  constructor(line: Line) {
    const { promise, resolve, reject } = Promise.withResolvers<Rows>()
    this.result = promise
    this.resolve = resolve
    this.reject = reject
    this.line = line
  }

  get refusal(): LessorError | undefined {
    return this.query === undefined ? undefined : this.line.refusalOf(this.query)
  }

  cancel(): Promise<void> {
    return this.line.cancel(this)
  }
}

export interface StatementRunOptions {
  readonly statement: StatementText
  /** The OIDs that are declared for its parameters. */
  readonly hints: readonly number[]
  /** Where it runs: by itself, in the transaction that is open, or by itself and bound to a tenant. */
  readonly scope: 'own' | 'inside' | { readonly binding: string }
}

/** StatementRun is one statement with its parameters. */
export abstract class StatementRun extends Run implements Receiver {
  readonly statement: StatementText
  readonly hints: readonly number[]
  /** The types of its parameters, when it was described for this run. */
  types: readonly number[] | undefined
  /** Whether it is sent for the second time, and depends on nothing that is prepared. */
  #isSecond = false

  constructor(line: Line, { statement, hints }: StatementRunOptions) {
    super(line)
    this.statement = statement
    this.hints = hints
  }

  /** Its text and `args` as the driver takes them. */
  queryText(args: readonly unknown[]): QueryText {
    const { isPlanned, text } = this.statement
    return {
      text,
      args,
      form:
        isPlanned && !this.#isSecond && this.line.prepares(this.statement, this.hints) ? 'prepared' : 'once',
    }
  }

  /** What its description leaves behind. */
  abstract readonly describedIn: Expected
  /** Whether tenants share the session, so that it is reset before the description: names are looked up by it. */
  abstract readonly isShared: boolean

  /** send hands it over; `args` are its parameters as the driver takes them. */
  abstract send(args: readonly unknown[]): void

  abstract answered(rows: Rows, statuses: Statuses): void
  abstract failed(error: Error): void
  abstract stale(error: Error): void

  protected finish(rows: Rows): void {
    try {
      this.resolve(decodeRows(rows, this.line.maxResultBytes))
    } catch (error) {
      this.reject(error as Error)
    }
  }

  /** Nothing of it has taken effect: it was refused before it ran. The second time that is its answer. */
  protected tryAgain(error: Error): void {
    if (this.#isSecond) {
      this.reject(refusedOf(error))
      return
    }
    this.#isSecond = true
    this.query = undefined
    this.types = undefined
    this.line.sendAgain(this)
  }
}

/** PlainRun is a statement by itself, or one of a transaction that is open. */
class PlainRun extends StatementRun {
  readonly describedIn: Expected
  readonly isShared = false

  constructor(line: Line, options: StatementRunOptions) {
    super(line, options)
    this.describedIn = options.scope === 'inside' ? INSIDE : OUTSIDE
  }

  send(args: readonly unknown[]): void {
    this.query = this.line.send(this.queryText(args), this, { expected: this.describedIn })
  }

  answered(rows: Rows): void {
    this.finish(rows)
  }

  failed(error: Error): void {
    this.isUndone = this.describedIn === OUTSIDE && this.statement.isPlanned
    this.reject(error)
  }

  stale(error: Error): void {
    // The transaction has failed by it; only who began it can begin it again.
    if (this.describedIn === INSIDE) {
      this.line.forget(this)
      this.reject(refusedOf(error))
    } else this.tryAgain(error)
  }
}

/**
 * BoundRun is a statement between its BEGIN and its COMMIT, bound to a tenant. All three go out in one write. Its
 * result is what the statement returned, once the server has confirmed the commit. The first of the three that failed
 * says why: after a failure of the binding the statement is refused, and the COMMIT of a failed transaction is a
 * silent ROLLBACK.
 */
class BoundRun extends StatementRun {
  readonly describedIn = OUTSIDE
  readonly isShared = true
  readonly #binding: string
  #rows: Rows | undefined
  #failure: Error | undefined
  #isStale = false
  readonly #begin: Receiver = {
    answered: () => {},
    failed: (error, statuses) => this.#unbegun(error, statuses),
    stale: (error) => this.failed(error),
  }
  readonly #commit: Receiver = {
    answered: () => this.#ended(),
    failed: (error) => this.#lost(error),
    stale: (error) => this.#lost(error),
  }

  constructor(line: Line, options: StatementRunOptions, binding: string) {
    super(line, options)
    this.#binding = binding
  }

  send(args: readonly unknown[]): void {
    this.#rows = undefined
    this.#failure = undefined
    this.#isStale = false
    this.line.send(beginBound(this.#binding), this.#begin, ANY)
    this.query = this.line.send(this.queryText(args), this, ANY)
    this.line.send(transactionText('commit', this.#binding), this.#commit, { expected: OUTSIDE })
  }

  answered(rows: Rows, { after }: Statuses): void {
    // Only of a transaction that is open and has not failed is a COMMIT that succeeds a commit.
    if (after === 'T') this.#rows = rows
  }

  failed(error: Error): void {
    this.#failure ??= error
  }

  stale(error: Error): void {
    this.#isStale = this.#failure === undefined
    this.#failure ??= error
  }

  /** Where BEGIN itself failed, and not what follows it, the statement was in no transaction. */
  #unbegun(error: Error, statuses: Statuses | undefined): void {
    if (statuses?.after === 'I') this.line.spend()
    this.failed(error)
  }

  /** The COMMIT failed, or the reset behind it: then the session is as the statement has left it. */
  #lost(error: Error): void {
    if (!isOfCommit(error)) this.line.spend()
    // A stale plan is no answer, and is not sent again over a connection that may be gone.
    this.reject(this.#isStale ? error : (this.#failure ?? error))
  }

  #ended(): void {
    if (this.#failure !== undefined) {
      // Its transaction was rolled back, and the server has said so.
      if (this.#isStale) this.tryAgain(this.#failure)
      else {
        this.isUndone = this.statement.isPlanned
        this.reject(this.#failure)
      }
    } else if (this.#rows === undefined) {
      this.reject(new Error('bug: a statement ran outside of the transaction that binds it'))
    } else this.finish(this.#rows)
  }
}

/** Class 23, a deferred constraint, and class 40, a serialization failure, are refusals of the COMMIT itself. */
function isOfCommit(error: Error): boolean {
  return /^(23|40)/.test(errorCode(error) ?? '')
}

/** What was refused for a name is told as the server says it. */
function refusedOf(error: Error): Error {
  return errorCode(error)?.startsWith('42') ? error : schemaChanged(error)
}

function schemaChanged(cause: Error): LessorError {
  return new LessorError(
    'SCHEMA_CHANGED',
    'A table, or what was prepared for it, changed while the statement was to run. Nothing of it has taken effect, nor of its transaction; try again.',
    { cause, retryAfterSeconds: 1 },
  )
}

/** makeRun makes the run of a statement; nothing is sent yet. */
export function makeRun(line: Line, options: StatementRunOptions): StatementRun {
  const { scope } = options
  return typeof scope === 'object' ? new BoundRun(line, options, scope.binding) : new PlainRun(line, options)
}
