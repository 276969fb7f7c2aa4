import type { LessorError } from '../../errors.ts'
import type { Connection, Running, Standing, TransactionCommand } from '../contract.ts'
import type { SocketTarget } from '../open-socket.ts'
import type { Statement } from '../statement.ts'
import { checked, type StatementText, statementText } from '../statement-text.ts'
import { sendCancelRequest } from './cancel.ts'
import { type CommandRun, CopyRun, ScriptRun, TransactionRun } from './command-runs.ts'
import { RESET } from './commands.ts'
import type { Driver, DriverOutput } from './driver.ts'
import { checkCount, encodeAll, typeHint } from './encode.ts'
import { connectionClosed, type OnNotify, Pipeline } from './pipeline.ts'
import { DriverQuery, type QueryOptions, type QueryText, type Receiver } from './query.ts'
import { MAX_RESULT_BYTES } from './result-limit.ts'
import { type Line, makeRun, OUTSIDE, type Run, StatementRun, type StatementRunOptions } from './runs.ts'
import type { Session } from './session.ts'

export interface ConnectionOptions {
  readonly onNotify?: OnNotify
  /** Limit of one answer in bytes; 64 MiB by default. */
  readonly maxResultBytes?: number
}

/** Described is the types of a statement's parameters, as the server tells them when these are declared. */
interface Described {
  readonly hints: readonly number[]
  readonly types: readonly number[]
}

const NO_TYPES: readonly number[] = []
/**
 * What is prepared stays, at the server and here, for as long as the connection. Texts beyond these, as of a program
 * that writes values into them, are parsed each time.
 */
const MAX_PREPARED = 1_000

/**
 * DriverConnection is a {@link Connection} over a session that has logged in, with postgres.js as its codec. It can
 * also run scripts, for the service's own databases.
 *
 * Statements go out in the order in which they came. One whose parameters' types are not known on this connection is
 * described first, and those behind it wait: parameters are written by us, by the types that the server wants, before
 * the driver sees them (see encode.ts).
 */
export class DriverConnection implements Connection, Line, DriverOutput {
  readonly pid: number
  readonly lost: Promise<void>
  readonly maxResultBytes: number
  readonly #target: SocketTarget
  readonly #session: Session
  readonly #driver: Driver
  readonly #pipeline: Pipeline
  /** What is not sent yet, in order. */
  readonly #waiting: (CommandRun | StatementRun)[] = []
  /** The first of them, while the server describes it. */
  #describing: { readonly run: StatementRun; readonly query: DriverQuery } | undefined
  /** What is prepared, by its text and what is declared of its parameters; at most {@link MAX_PREPARED}. */
  readonly #prepared = new Set<string>()
  /** What was described and is prepared, by its text. */
  readonly #described = new Map<string, Described[]>()
  /** Whether a transaction is open, from its BEGIN on until its end was asked for. */
  #isInTransaction = false
  #isClosing = false
  #isSpent = false
  /** Cancel requests under way. */
  #cancels = 0

  constructor(
    session: Session,
    driver: Driver,
    target: SocketTarget,
    { onNotify, maxResultBytes = MAX_RESULT_BYTES }: ConnectionOptions = {},
  ) {
    this.#target = target
    this.#session = session
    this.#driver = driver
    this.pid = session.key.pid
    this.maxResultBytes = maxResultBytes
    this.lost = session.closed
    this.#pipeline = new Pipeline({
      deliver: (bytes) => driver.deliver(bytes),
      onViolation: () => session.destroy(),
      onTurn: () => this.#turned(),
      write: (bytes) => session.write(bytes),
      onNotify,
      onSetting: (body) => session.note(body),
      maxResultBytes,
    })
    driver.open(this)
    session.hear(this.#pipeline)
    void this.lost.then(() => this.#fail(session.failure))
  }

  get isUsable(): boolean {
    return !this.#session.isBroken && !this.#pipeline.isClosed && !this.#isClosing && !this.#isSpent
  }

  get standing(): Standing {
    return this.#session.standing
  }

  run(statement: Statement, binding?: string): Running {
    if (!this.isUsable) return refused(connectionClosed())
    try {
      return this.#submit(makeRun(this, this.#prepare(statement, binding)))
    } catch (error) {
      return refused(error)
    }
  }

  command(command: TransactionCommand, binding?: string): Running {
    if (!this.isUsable) return refused(connectionClosed())
    this.#isInTransaction = command === 'begin'
    return this.#submit(new TransactionRun(this, command, binding))
  }

  copy(text: string): Running {
    if (!this.isUsable) return refused(connectionClosed())
    return this.#submit(new CopyRun(this, checked(text), this.#isInTransaction ? 'TE' : 'I'))
  }

  /** script runs SQL text of several statements as one simple query; see ScriptDb. @throws TypeError, and as `run` */
  async script(text: string): Promise<void> {
    if (!this.isUsable) throw connectionClosed()
    await this.#submit(new ScriptRun(this, checked(text))).result
  }

  async close(): Promise<void> {
    this.#isClosing = true
    this.#endWhenIdle()
    await this.lost
  }

  destroy(): void {
    this.#session.destroy()
    this.#fail()
  }

  wrote(type: number): boolean {
    return this.#pipeline.wrote(type)
  }

  write(bytes: Buffer): void {
    this.#session.write(bytes)
  }

  send(text: QueryText, receiver: Receiver, options: QueryOptions): DriverQuery {
    return this.#hand(new DriverQuery(text, this.#pipeline, receiver, options))
  }

  prepares({ text }: StatementText, hints: readonly number[]): boolean {
    // What is declared of its parameters makes another statement of it, as for the driver.
    const key = hints.every((hint) => hint === 0) ? text : `${hints.join()} ${text}`
    if (this.#prepared.has(key)) return true
    if (this.#prepared.size >= MAX_PREPARED) return false
    this.#prepared.add(key)
    return true
  }

  forget({ statement }: StatementRun): void {
    this.#described.delete(statement.text)
  }

  spend(): void {
    this.#isSpent = true
  }

  sendAgain(run: StatementRun): void {
    if (this.#session.isBroken || this.#pipeline.isClosed) {
      run.reject(connectionClosed())
      return
    }
    this.forget(run)
    this.#waiting.unshift(run)
  }

  async cancel(run: Run): Promise<void> {
    const { head } = this.#pipeline
    const query = run === this.#describing?.run ? this.#describing.query : run.query
    if (query === undefined) {
      // The server knows nothing of it yet.
      const place = this.#waiting.indexOf(run as CommandRun | StatementRun)
      if (place !== -1) this.#waiting.splice(place, 1)[0]?.reject(cancelled())
    } else if (query === head) {
      // The request stops whatever the server works on when it arrives.
      this.#cancels += 1
      try {
        await sendCancelRequest(this.#target, this.#session.key)
      } finally {
        this.#cancels -= 1
        this.#turned()
      }
    }
  }

  refusalOf(query: DriverQuery): LessorError | undefined {
    return this.#pipeline.refusalOf(query)
  }

  /** @throws TypeError */
  #prepare(statement: Statement, binding: string | undefined): StatementRunOptions {
    const text = statementText(statement)
    const { values } = text
    checkCount(values.length)
    const hints = values.length === 0 ? NO_TYPES : values.map((value) => typeHint(value))
    if (this.#isInTransaction) return { statement: text, hints, scope: 'inside' }
    return { statement: text, hints, scope: binding === undefined ? 'own' : { binding } }
  }

  #submit<R extends CommandRun | StatementRun>(run: R): R {
    this.#waiting.push(run)
    this.#pump()
    return run
  }

  /** pump sends what waits, up to the first statement that has to be described. */
  #pump(): void {
    // A cancel request under way would stop whatever is sent meanwhile.
    while (this.#describing === undefined && this.#cancels === 0) {
      const [run] = this.#waiting
      if (run === undefined) return
      const types = run instanceof StatementRun ? this.#typesOf(run) : NO_TYPES
      if (types === undefined) {
        this.#describe(run as StatementRun)
        return
      }
      this.#waiting.shift()
      try {
        if (run instanceof StatementRun) run.send(this.#arguments(run, types))
        else run.send()
      } catch (error) {
        // Nothing of it was handed to the driver.
        run.reject(error as Error)
      }
    }
  }

  #typesOf({ hints, statement, types }: StatementRun): readonly number[] | undefined {
    if (hints.length === 0) return NO_TYPES
    if (types !== undefined) return types
    const described = this.#described.get(statement.text)
    return described?.find((each) => each.hints.every((hint, i) => hint === hints[i]))?.types
  }

  /** @throws ParameterError */
  #arguments({ statement, hints }: StatementRun, types: readonly number[]): readonly unknown[] {
    if (types.length === 0) return NO_TYPES
    return this.#declared(encodeAll(statement.values, types), hints)
  }

  /** Arguments with the types that are declared for them. */
  #declared(texts: readonly (string | null)[], hints: readonly number[]): readonly unknown[] {
    if (hints.every((hint) => hint === 0)) return texts
    return texts.map((text, i) => (hints[i] ? this.#driver.typed(text, hints[i]) : text))
  }

  #remember({ hints, statement }: StatementRun, types: readonly number[]): void {
    const described = this.#described.get(statement.text) ?? []
    this.#described.set(statement.text, described)
    described.push({ hints, types })
  }

  /** describe asks the server for the types of a statement's parameters, which prepares it as well. */
  #describe(run: StatementRun): void {
    const { hints } = run
    // Of the parameters only the declared types are sent.
    const args = this.#declared(
      hints.map(() => ''),
      hints,
    )
    const text = run.queryText(args)
    let resetFailure: Error | undefined
    const receiver: Receiver = {
      answered: (description) => {
        if (resetFailure !== undefined) {
          receiver.failed(resetFailure)
          return
        }
        this.#describing = undefined
        run.types = typesOf(description)
        if (text.form === 'prepared') this.#remember(run, run.types)
      },
      failed: (error) => {
        this.#describing = undefined
        const place = this.#waiting.indexOf(run)
        if (place !== -1) this.#waiting.splice(place, 1)
        // Nothing of it has run.
        run.isUndone = run.describedIn === OUTSIDE
        run.reject(error)
      },
      stale: (error) => receiver.failed(error),
    }
    const query = new DriverQuery(run.queryText(args), this.#pipeline, receiver, {
      expected: run.describedIn,
      onlyDescribe: true,
    })
    this.#describing = { run, query }
    if (run.isShared) {
      const note = (error: Error) => {
        resetFailure = error
      }
      this.send(RESET, { answered() {}, failed: note, stale: note }, { expected: 'I' })
    }
    this.#hand(query)
  }

  #hand(query: DriverQuery): DriverQuery {
    if (this.#pipeline.isClosed) {
      query.fail(connectionClosed())
      return query
    }
    this.#pipeline.add(query)
    try {
      this.#driver.send(query)
    } catch (error) {
      this.#pipeline.violated(`the driver has thrown: ${(error as Error).name}`)
    }
    return query
  }

  /** An answer is complete. */
  #turned(): void {
    this.#pump()
    if (this.#isClosing) this.#endWhenIdle()
  }

  #endWhenIdle(): void {
    if (this.#pipeline.isEmpty && this.#waiting.length === 0) this.#session.end()
  }

  /** Nothing more can be answered. */
  #fail(why?: Error): void {
    const error = this.#pipeline.close(why)
    for (const run of this.#waiting.splice(0)) run.reject(error)
  }
}

/** What the driver resolves a description with (postgres.js 3.4, RowDescription and NoData in src/connection.js). */
function typesOf(description: unknown): readonly number[] {
  const { types } = description as { readonly types: readonly number[] }
  return [...types]
}

/** As the server says it of a statement that it has begun. */
function cancelled(): Error {
  return Object.assign(new Error('The statement was cancelled before it was sent.'), { code: '57014' })
}

function refused(error: unknown): Running {
  return { result: Promise.reject(error), refusal: undefined, cancel: async () => {} }
}
