import type { Rows } from './contract.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * beginBound is the text that opens a transaction bound to a tenant. SET takes no parameters, and
 * `set_config()` would not reach the workers of a Citus cluster, so the id stands in the text.
 * @throws TypeError when it is no canonical UUID
 */
export function beginBound(binding: string): string {
  if (!UUID.test(binding)) throw new TypeError('"binding" must be a UUID in lower case with hyphens')
  return `begin; set local rls.tenant_id = '${binding}'`
}

/** DriverQuery is what is used here of the driver's Query class; its types leave it out (postgres.js 3.4, src/query.js). */
export interface DriverQuery {
  /** True while it is the statement that the server works on. */
  active: boolean
  resolve: (rows: Rows) => void
  reject: (error: Error) => void
  /** The connection does not send one again that is. */
  cancelled: unknown
  /** Hands a query to the connection, in the order of the calls. */
  readonly handler: (query: object) => void
}

/**
 * BoundRun sends a statement between its BEGIN and its COMMIT. Its result is what the statement returned, once the
 * server has confirmed the commit. The first of the three that failed says why: after a failure of the binding
 * the statement is refused, and the COMMIT of a failed transaction is a silent ROLLBACK.
 *
 * The driver sends what it is given in one turn of the event loop in one write. One statement that it has to
 * describe first holds back what comes after it, and keeps the order.
 */
export class BoundRun {
  readonly result: Promise<Rows>
  readonly #begin: string
  readonly #make: () => DriverQuery
  #query: DriverQuery

  /** `make` makes the statement's query, once more when its prepared plan turns out stale. */
  constructor(make: () => DriverQuery, binding: string) {
    this.#begin = beginBound(binding)
    this.#make = make
    this.#query = make()
    this.result = new Promise((resolve, reject) => {
      this.#send(new Unit({ resolve, reject, again: (unit) => this.#again(unit) }))
    })
  }

  /** The query that is on the wire. */
  get query(): DriverQuery {
    return this.#query
  }

  /** Nothing of the first one has taken effect: its transaction was rolled back. */
  #again(unit: Unit): void {
    this.#query = this.#make()
    this.#send(unit)
  }

  #send(unit: Unit): void {
    const query = this.#query
    query.resolve = (rows) => {
      query.active = false
      unit.rows = rows
      unit.settled()
    }
    query.reject = (error) => {
      query.active = false
      unit.failed(error)
    }
    Object.defineProperty(query, 'retried', RETRIED)
    query.handler(new Command(this.#begin, unit))
    query.handler(query)
    query.handler(new Command('commit', unit))
  }
}

/** StalePlanError says that a statement was refused since a table has changed after it was prepared. */
class StalePlanError extends Error {}

/**
 * The driver sends a statement once more whose prepared plan is stale (postgres.js 3.4, `retry` in
 * src/connection.js), which would be behind our COMMIT, bound to nobody. It notes that in a field first: this one.
 */
const RETRIED: PropertyDescriptor & ThisType<DriverQuery> = {
  get: () => undefined,
  set(error: Error) {
    this.cancelled = true
    this.reject(new StalePlanError(error.message, { cause: error }))
  },
}

interface Outcome {
  readonly resolve: (rows: Rows) => void
  readonly reject: (error: Error) => void
  readonly again: (unit: Unit) => void
}

/** Unit is what has come of a statement, its BEGIN and its COMMIT. */
class Unit {
  rows: Rows | undefined
  /** The tag of the last of the two commands. */
  command: string | undefined
  #failure: Error | undefined
  #missing = 3
  #isSecond = false
  readonly #outcome: Outcome

  constructor(outcome: Outcome) {
    this.#outcome = outcome
  }

  failed(error: Error): void {
    this.#failure ??= error
    this.settled()
  }

  settled(): void {
    this.#missing -= 1
    if (this.#missing > 0) return
    const { resolve, reject, again } = this.#outcome
    if (this.#failure instanceof StalePlanError && !this.#isSecond) {
      this.#isSecond = true
      this.#failure = undefined
      this.#missing = 3
      again(this)
    } else if (this.#failure !== undefined) reject(this.#failure)
    else if (this.command !== 'COMMIT' || this.rows === undefined)
      reject(new Error('bug: a transaction without a failure was rolled back'))
    else resolve(this.rows)
  }
}

const SIMPLE = { simple: true, prepare: false }
const NO_ARGUMENTS: readonly never[] = []

/**
 * Command is a query without parameters in the form that the driver's connection takes (postgres.js 3.4, execute,
 * build and queryError in src/connection.js). One of the driver's own would be a promise as well, and two of
 * them cost a bound statement a fifth of its time in this process.
 */
class Command {
  readonly strings: readonly string[]
  readonly args = NO_ARGUMENTS
  readonly options = SIMPLE
  readonly tagged = false
  /** What the driver appends to an error's stack. */
  readonly origin = ''
  /** The driver writes these. */
  active = false
  cancelled: unknown = null
  state: unknown = null
  statement: unknown = null
  parameters: unknown
  readonly #unit: Unit

  constructor(text: string, unit: Unit) {
    this.strings = [text]
    this.#unit = unit
  }

  resolve({ command }: Rows): void {
    this.active = false
    this.#unit.command = command
    this.#unit.settled()
  }

  reject(error: Error): void {
    this.active = false
    this.#unit.failed(error)
  }
}
