import type { Rows, Running } from './contract.ts'
import { commandText, DriverQuery, type DriverSeam, type Outcome, type QueryText } from './driver-query.ts'

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

/**
 * BoundRun sends a statement between its BEGIN and its COMMIT. Its result is what the statement returned, once the
 * server has confirmed the commit. The first of the three that failed says why: after a failure of the binding
 * the statement is refused, and the COMMIT of a failed transaction is a silent ROLLBACK.
 *
 * The driver sends what it is given in one turn of the event loop in one write. One statement that it has to
 * describe first holds back what comes after it, and keeps the order.
 */
export class BoundRun implements Running {
  readonly result: Promise<Rows>
  readonly #seam: DriverSeam
  readonly #text: QueryText
  readonly #begin: QueryText
  #query: DriverQuery

  constructor(seam: DriverSeam, text: QueryText, binding: string) {
    this.#seam = seam
    this.#text = text
    this.#begin = commandText(beginBound(binding))
    const { promise, resolve, reject } = Promise.withResolvers<Rows>()
    this.result = promise
    this.#query = this.#send(new Unit({ resolve, reject, again: (unit) => this.#again(unit) }))
  }

  cancel(): Promise<void> {
    return this.#seam.cancel(this.#query)
  }

  /** Nothing of the first one has taken effect: its transaction was rolled back. */
  #again(unit: Unit): void {
    this.#query = this.#send(unit)
  }

  /** Returns the statement's query. */
  #send(unit: Unit): DriverQuery {
    const { send } = this.#seam
    const query = new BoundQuery(this.#text, unit.statement)
    send(new DriverQuery(this.#begin, unit))
    send(query)
    send(new DriverQuery(COMMIT, unit))
    return query
  }
}

const COMMIT = commandText('commit')

/** StalePlanError says that a statement was refused since a table has changed after it was prepared. */
class StalePlanError extends Error {}

/**
 * The driver sends a statement once more whose prepared plan is stale (postgres.js 3.4, `retry` in
 * src/connection.js), which would be behind our COMMIT, bound to nobody. It notes that in a field first: this one.
 */
class BoundQuery extends DriverQuery {
  get retried(): undefined {
    return undefined
  }

  set retried(error: Error) {
    this.cancelled = true
    this.reject(new StalePlanError(error.message, { cause: error }))
  }
}

interface UnitOutcome extends Outcome {
  readonly again: (unit: Unit) => void
}

/** Unit is what has come of a statement, its BEGIN and its COMMIT. It hears of the two commands itself. */
class Unit implements Outcome {
  /** Hears of the statement. */
  readonly statement: Outcome
  #rows: Rows | undefined
  /** The tag of the last of the two commands. */
  #command: string | undefined
  #failure: Error | undefined
  #missing = 3
  #isSecond = false
  readonly #outcome: UnitOutcome

  constructor(outcome: UnitOutcome) {
    this.#outcome = outcome
    this.statement = {
      resolve: (rows) => {
        // A copy's stream, which comes before the statement's end.
        if (!Array.isArray(rows)) this.#outcome.resolve(rows)
        this.#rows = rows
        this.#settled()
      },
      reject: (error) => this.reject(error),
    }
  }

  resolve({ command }: Rows): void {
    this.#command = command
    this.#settled()
  }

  reject(error: Error): void {
    this.#failure ??= error
    this.#settled()
  }

  #settled(): void {
    this.#missing -= 1
    if (this.#missing > 0) return
    const { resolve, reject, again } = this.#outcome
    if (this.#failure instanceof StalePlanError && !this.#isSecond) {
      this.#isSecond = true
      this.#failure = undefined
      this.#missing = 3
      again(this)
    } else if (this.#failure !== undefined) reject(this.#failure)
    else if (this.#command !== 'COMMIT' || this.#rows === undefined)
      reject(new Error('bug: a transaction without a failure was rolled back'))
    else resolve(this.#rows)
  }
}
