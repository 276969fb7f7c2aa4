import type { Rows } from '../contract.ts'
import { PROTO_COLUMN } from './columns.ts'
import { type Decoder, decoderOf } from './decode.ts'
import { ARRAYS, OID } from './oids.ts'
import { resultTooLarge } from './result-limit.ts'

const NESTED: ReadonlySet<number> = new Set([OID.json, OID.jsonb])

/** Column is what the driver keeps of a RowDescription. */
interface Column {
  readonly name: string
  readonly type: number
}

/** Plan is the columns of a result whose text becomes another value; undefined when there are none. */
type Plan = readonly PlannedColumn[] | undefined

interface PlannedColumn {
  readonly name: string
  readonly decode: Decoder
  /** Whether its text can become many objects. */
  readonly isNested: boolean
}

/** By the array that the driver keeps as long as the statement is prepared. */
const plans = new WeakMap<readonly Column[], { readonly plan: Plan }>()

/** What an object or array, and an item of one, take in memory, roughly. */
const CONTAINER_BYTES = 64
const ITEM_BYTES = 16
/** Shorter texts are not counted but taken for as much as they can become. */
const SHORT = 64

/**
 * decodeRows turns the texts in a result into values, in place. JSON and arrays can become fifty times their text, so
 * what they hold is counted before.
 * @param maxBytes limit of an answer
 * @throws DecodeError when one cannot be read; LessorError RESULT_TOO_LARGE
 */
export function decodeRows(rows: Rows, maxBytes: number): Rows {
  const { columns } = rows as Rows & { readonly columns?: readonly Column[] }
  if (columns === undefined || rows.length === 0) return rows
  const plan = planOf(columns)
  if (plan !== undefined) {
    let bytes = 0
    for (const row of rows as readonly Record<string, unknown>[]) {
      for (const { name, decode, isNested } of plan) {
        const text = row[name]
        if (typeof text !== 'string') continue
        if (isNested) bytes += weigh(text)
        if (bytes > maxBytes) throw resultTooLarge(maxBytes)
        row[name] = decode(text)
      }
    }
  }
  if (columns.some(({ name }) => name === PROTO_COLUMN)) {
    const named = rows as unknown as Record<string, unknown>[]
    named.forEach((row, i) => {
      named[i] = renamed(row)
    })
  }
  return rows
}

/** weigh estimates what JSON, or an array's text, takes in memory once it is read. */
function weigh(text: string): number {
  if (text.length <= SHORT) return text.length * CONTAINER_BYTES
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x5b: // [
      case 0x7b: // {
        bytes += CONTAINER_BYTES
        break
      case 0x2c: // ,
      case 0x3b: // ; of box[]
        bytes += ITEM_BYTES
    }
  }
  return bytes
}

/** The same values in the same order, one of them as a property of its own named `__proto__`. */
function renamed(row: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name === PROTO_COLUMN ? '__proto__' : name, value]),
  )
}

function planOf(columns: readonly Column[]): Plan {
  let known = plans.get(columns)
  if (known === undefined) {
    known = { plan: makePlan(columns) }
    plans.set(columns, known)
  }
  return known.plan
}

/** Of columns of one name the last one's value is in the row, so it is the last one's type that counts. */
function makePlan(columns: readonly Column[]): Plan {
  const decoders = new Map<string, { readonly type: number; readonly decode: Decoder | undefined }>()
  for (const { name, type } of columns) decoders.set(name, { type, decode: decoderOf(type) })
  const plan: PlannedColumn[] = []
  for (const [name, { type, decode }] of decoders) {
    if (decode !== undefined) plan.push({ name, decode, isNested: NESTED.has(type) || ARRAYS.has(type) })
  }
  return plan.length === 0 ? undefined : plan
}
