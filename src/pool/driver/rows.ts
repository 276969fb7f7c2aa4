import type { Rows } from '../contract.ts'
import { PROTO_COLUMN } from './columns.ts'
import { type Decoder, decoderOf } from './decode.ts'

/** Column is what the driver keeps of a RowDescription. */
interface Column {
  readonly name: string
  readonly type: number
}

/** Plan is the columns of a result whose text becomes another value; undefined when there are none. */
type Plan = readonly (readonly [name: string, decode: Decoder])[] | undefined

/** By the array that the driver keeps as long as the statement is prepared. */
const plans = new WeakMap<readonly Column[], { readonly plan: Plan }>()

/**
 * decodeRows turns the texts in a result into values, in place.
 * @throws DecodeError when one cannot be read
 */
export function decodeRows(rows: Rows): Rows {
  const { columns } = rows as Rows & { readonly columns?: readonly Column[] }
  if (columns === undefined || rows.length === 0) return rows
  const plan = planOf(columns)
  if (plan !== undefined) {
    for (const row of rows as readonly Record<string, unknown>[]) {
      for (const [name, decode] of plan) {
        const text = row[name]
        if (typeof text === 'string') row[name] = decode(text)
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
  const decoders = new Map<string, Decoder | undefined>()
  for (const { name, type } of columns) decoders.set(name, decoderOf(type))
  const plan: [string, Decoder][] = []
  for (const [name, decode] of decoders) if (decode !== undefined) plan.push([name, decode])
  return plan.length === 0 ? undefined : plan
}
