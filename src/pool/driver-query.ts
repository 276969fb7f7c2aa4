import { Stream } from 'node:stream'
import type { Rows, Running } from './contract.ts'

/** QueryText is what the driver makes the SQL text and the parameters of. */
export interface QueryText {
  /** The same array for the same text each time, so that the driver's caches by identity work. */
  readonly strings: readonly string[]
  readonly args: readonly unknown[]
  readonly options: { readonly simple?: boolean; readonly prepare?: boolean }
  /** Whether the values stand between the strings; else there are none. */
  readonly tagged: boolean
}

/** DriverSeam hands queries to one connection of the driver. */
export interface DriverSeam {
  /** Sends a query, behind those that were sent before. */
  readonly send: (query: DriverQuery) => void
  /** Asks the server to stop a query, if it is the one that runs. */
  readonly cancel: (query: DriverQuery) => Promise<void>
}

/** Outcome hears once how a query has ended. */
export interface Outcome {
  /** A COPY to or from the client resolves with a stream instead, before its end. */
  resolve(rows: Rows): void
  reject(error: Error): void
}

/**
 * DriverQuery is a query in the form that the driver's connection takes (postgres.js 3.4: `execute`, `build`,
 * `queryError` in src/connection.js, `handler`, `cancel` in src/index.js). One of the driver's own is a
 * subclass of Promise, whose objects outlive many collections of the young generation with all that they refer
 * to, and takes two more promises and a turn of the microtask queue to be sent: see docs/decisions.md.
 */
export class DriverQuery {
  readonly strings: QueryText['strings']
  readonly args: QueryText['args']
  readonly options: QueryText['options']
  readonly tagged: boolean
  /** What the driver appends to an error's stack. */
  readonly origin = ''
  /** True while it is the statement that the server works on; written by the driver, like all below. */
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
  readonly #outcome: Outcome

  constructor({ strings, args, options, tagged }: QueryText, outcome: Outcome) {
    this.strings = strings
    this.args = args
    this.options = options
    this.tagged = tagged
    this.#outcome = outcome
  }

  resolve(rows: Rows): void {
    this.active = false
    if (Array.isArray(rows)) mend(rows)
    else quieten(rows)
    this.#outcome.resolve(rows)
  }

  reject(error: Error): void {
    this.active = false
    this.#outcome.reject(error)
  }
}

/**
 * A statement that fails after some of its rows leaves their number behind in the driver, and the next
 * result on the connection begins with as many holes (postgres.js 3.4, `rows` in src/connection.js).
 */
function mend(rows: unknown[]): void {
  if (rows.length === 0 || 0 in rows) return
  const { length } = rows
  let holes = 0
  while (holes < length && !(holes in rows)) holes++
  rows.splice(0, holes)
}

/** What COPY resolves with is a stream. The end of its connection is an error of it, which must not end the process. */
function quieten(stream: unknown): void {
  if (stream instanceof Stream) stream.on('error', () => {})
}

/** PlainRun is one query by itself. */
export class PlainRun implements Running {
  readonly result: Promise<Rows>
  readonly #seam: DriverSeam
  readonly #query: DriverQuery

  constructor(seam: DriverSeam, text: QueryText) {
    const { promise, resolve, reject } = Promise.withResolvers<Rows>()
    this.result = promise
    this.#seam = seam
    this.#query = new DriverQuery(text, { resolve, reject })
    seam.send(this.#query)
  }

  cancel(): Promise<void> {
    return this.#seam.cancel(this.#query)
  }
}

const SIMPLE = { simple: true, prepare: false }
const NO_ARGUMENTS: readonly never[] = []

/** commandText is SQL text without parameters, sent as a simple query. */
export function commandText(text: string): QueryText {
  return { strings: [text], args: NO_ARGUMENTS, options: SIMPLE, tagged: false }
}
