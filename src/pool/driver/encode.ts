import { constants } from 'node:buffer'
import { isAnyArrayBuffer, isDate, isUint8Array } from 'node:util/types'
import { dateText } from './date-text.ts'
import { ARRAYS, type ArrayKind, isJson, OID } from './oids.ts'

/**
 * ParameterError says that a statement's parameters cannot be sent: which (`$3`, or `$3[0][2]` for an item of an
 * array, counted as JavaScript does), why, and what to do. It never holds a value, which may be a secret, and has no
 * `cause`, whose text may quote one.
 */
export class ParameterError extends TypeError {
  override readonly name = 'ParameterError'
  /** 22021, character_not_in_repertoire, for text that PostgreSQL would refuse by that; else undefined. */
  readonly code: string | undefined

  constructor(message: string, code?: string) {
    super(message)
    this.code = code
  }
}

const BAD_CHARACTER = '22021'

/**
 * MAX_PARAMETERS is how many parameters one statement may have. The protocol counts them in 16 bits, so 65,535
 * (PostgreSQL manual, "Message Formats": Bind); postgres.js 3.4 takes two less (`toBuffer` in src/connection.js).
 */
export const MAX_PARAMETERS = 65_533

/**
 * MAX_PARAMETER_BYTES is how much the parameters of one statement may be together. PostgreSQL ends the session at
 * a message of 1 GiB - 1 or more (PQ_LARGE_MESSAGE_LIMIT in src/include/libpq/libpq.h); a kilobyte of it is for the
 * message's other fields.
 */
export const MAX_PARAMETER_BYTES = 2 ** 30 - 2 - 1024

/** What each parameter has besides its text: its length. */
const LENGTH_BYTES = 4
/** Most bytes that one unit of a JavaScript string takes in UTF-8. */
const UNIT_BYTES = 3
/** PostgreSQL's own limit (MAXDIM in src/include/utils/array.h). */
const MAX_DIMENSIONS = 6
/** What a string of hexadecimal digits can hold, behind its `\x`. */
const MAX_BYTEA_BYTES = Math.floor((constants.MAX_STRING_LENGTH - 2) / 2)

const AS_JSON = 'objects are sent as JSON only: cast it (`::jsonb`), or send its text'

/**
 * typeHint returns the OID to declare for a parameter (Parse), or 0 where the server is to find it out. Never
 * throws.
 */
export function typeHint(value: unknown): number {
  switch (typeof value) {
    case 'boolean':
      return OID.bool
    case 'bigint':
      return OID.int8
    case 'object':
      if (isDate(value)) return OID.timestamptz
      return isUint8Array(value) ? OID.bytea : 0
    default:
      return 0
  }
}

/**
 * encode returns a parameter in the text format of `type`, the OID that the server described it with, or null for
 * NULL. It reads the value once.
 *
 * Arrays are sent to array types (within json[] and jsonb[] too, nested arrays are dimensions) and as JSON; objects
 * as JSON only, and as JSON.stringify sees them; strings for JSON are JSON strings, for bytea their UTF-8.
 *
 * @param place how an error names the parameter: `$1`, ...
 * @throws ParameterError and nothing else
 */
export function encode(value: unknown, type: number, place: string): string | null {
  try {
    return write(value, type)
  } catch (error) {
    if (error instanceof Refusal)
      throw new ParameterError(`parameter ${place}${error.path} ${error.problem}`, error.code)
    // What is left is a limit of the language, most likely the longest string.
    throw new ParameterError(`parameter ${place} is too large to be sent; send it in parts`)
  }
}

/**
 * encodeAll encodes the parameters of one statement.
 *
 * @throws ParameterError for the first that cannot be sent, and when they are too many or too large together
 */
export function encodeAll(values: readonly unknown[], types: readonly number[]): readonly (string | null)[] {
  checkCount(values.length)
  if (types.length !== values.length) {
    throw new TypeError(`bug: ${values.length} parameters for ${types.length} types`)
  }
  // Not `map`, which leaves holes out.
  const texts = types.map((type, i) => encode(values[i], type, `$${i + 1}`))
  checkSize(texts)
  return texts
}

/** checkCount throws a ParameterError when a statement has more parameters than can be sent. */
export function checkCount(count: number): void {
  if (count <= MAX_PARAMETERS) return
  throw new ParameterError(
    `the statement has ${count} parameters, and at most ${MAX_PARAMETERS} can be sent; send a list as one array, as in \`any($1::uuid[])\``,
  )
}

/** checkSize throws a ParameterError when the parameters of one statement, as encoded, are more than can be sent. */
export function checkSize(texts: readonly (string | null)[]): void {
  let units = 0
  for (const text of texts) units += text?.length ?? 0
  const lengths = texts.length * LENGTH_BYTES
  // Most statements need no look at the strings.
  if (units * UNIT_BYTES + lengths <= MAX_PARAMETER_BYTES) return
  let bytes = lengths
  for (const text of texts) bytes += text === null ? 0 : Buffer.byteLength(text)
  if (bytes <= MAX_PARAMETER_BYTES) return
  throw new ParameterError(
    `the statement's parameters are ${bytes} bytes, and at most ${MAX_PARAMETER_BYTES} can be sent at once; send them in parts`,
  )
}

/** Refusal is why a value cannot be sent, on the way to the parameter that it is part of. */
class Refusal extends Error {
  readonly problem: string
  /** Of the item in the array, from the outside. */
  path = ''

  readonly code: string | undefined

  constructor(problem: string, code?: string) {
    super(problem)
    this.problem = problem
    this.code = code
  }
}

function write(value: unknown, type: number): string | null {
  switch (typeof value) {
    case 'string':
      return writeString(value, type)
    case 'number':
      return writeNumber(value, type)
    case 'boolean':
      return writeBoolean(value, type)
    case 'bigint':
      return writeBigint(value, type)
    case 'object':
      return value === null ? null : writeObject(value, type)
    case 'undefined':
      throw new Refusal('is undefined; use null for NULL')
    default:
      throw new Refusal(`is a ${typeof value}, which is no value to a database; send a string, a number, ...`)
  }
}

function writeString(value: string, type: number): string {
  if (value.includes('\0'))
    throw new Refusal('contains the character NUL, which PostgreSQL does not store in text', BAD_CHARACTER)
  if (!value.isWellFormed()) {
    throw new Refusal(
      'contains half of a surrogate pair, which UTF-8 does not have; see String.toWellFormed()',
      BAD_CHARACTER,
    )
  }
  if (isJson(type)) return JSON.stringify(value)
  return type === OID.bytea ? hex(Buffer.from(value)) : value
}

function writeNumber(value: number, type: number): string {
  switch (type) {
    case OID.json:
    case OID.jsonb:
      if (!Number.isFinite(value)) throw new Refusal('is NaN or infinite, which JSON does not have')
      return String(value)
    case OID.date:
    case OID.timestamp:
    case OID.timestamptz:
      if (value === Number.POSITIVE_INFINITY) return 'infinity'
      if (value === Number.NEGATIVE_INFINITY) return '-infinity'
      return writeTime(value, type)
    case OID.float4:
    case OID.float8:
      return Object.is(value, -0) ? '-0' : String(value)
    case OID.int8:
      if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
        throw new Refusal(
          'is an integer beyond Number.MAX_SAFE_INTEGER, so its digits are in doubt; send a bigint',
        )
      }
      return String(value)
    case OID.bytea:
      throw new Refusal('is a number, and the parameter is bytea; send a Uint8Array')
    default:
      return String(value)
  }
}

function writeBoolean(value: boolean, type: number): string {
  switch (type) {
    case OID.bool:
      return value ? 't' : 'f'
    case OID.json:
    case OID.jsonb:
    case OID.text:
    case OID.varchar:
    case OID.bpchar:
    case OID.name:
      return String(value)
    default:
      throw new Refusal('is a boolean, and the parameter is not; cast it in SQL, or send text')
  }
}

function writeBigint(value: bigint, type: number): string {
  switch (type) {
    case OID.json:
    case OID.jsonb:
      throw new Refusal('is a bigint, which JSON does not have; send a number or a string')
    case OID.date:
    case OID.timestamp:
    case OID.timestamptz:
      throw new Refusal('is a bigint, and the parameter is a date; send a Date, or text')
    case OID.bytea:
      throw new Refusal('is a bigint, and the parameter is bytea; send a Uint8Array')
    default:
      return String(value)
  }
}

function writeObject(value: object, type: number): string {
  if (isDate(value)) return writeDate(value, type)
  if (isUint8Array(value))
    return writeBytes(Buffer.from(value.buffer, value.byteOffset, value.byteLength), type)
  if (isAnyArrayBuffer(value)) return writeBytes(Buffer.from(value), type)
  if (isJson(type)) return writeJson(value)
  if (!isArray(value)) throw new Refusal(`is an object, and the parameter is not JSON; ${AS_JSON}`)
  const kind = ARRAYS.get(type)
  if (kind === undefined) {
    throw new Refusal(
      'is an array, and the parameter is of no array type that can be sent; cast it (`::int[]`, `::jsonb`), that of an enum, a domain or a composite type twice (`::text[]::mood[]`)',
    )
  }
  return writeArray(value, kind)
}

function writeDate(value: Date, type: number): string {
  // The type's own method, and once: what was checked is what is sent, whatever a subclass does.
  const time = Date.prototype.getTime.call(value)
  switch (type) {
    case OID.date:
    case OID.timestamp:
    case OID.timestamptz:
      return writeTime(time, type)
    case OID.json:
    case OID.jsonb:
      if (Number.isNaN(time)) throw new Refusal('is an invalid Date; send a valid one, or null')
      return JSON.stringify(new Date(time))
    default:
      throw new Refusal('is a Date, and the parameter is no date or timestamp; cast it in SQL, or send text')
  }
}

/** writeTime writes a moment by UTC. `timestamp` and `date` ignore the zone behind it. */
function writeTime(time: number, type: number): string {
  const date = new Date(time)
  if (Number.isNaN(date.getTime())) throw new Refusal('is an invalid Date; send a valid one, or null')
  return dateText(date, type === OID.date)
}

function writeBytes(value: Buffer, type: number): string {
  if (type !== OID.bytea)
    throw new Refusal('is bytes, and the parameter is not bytea; cast it (`::bytea`), or send text')
  if (value.length > MAX_BYTEA_BYTES)
    throw new Refusal(`is longer than ${MAX_BYTEA_BYTES} bytes; send it in parts`)
  return hex(value)
}

function hex(value: Buffer): string {
  return `\\x${value.toString('hex')}`
}

function writeJson(value: object): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (error) {
    throw new Refusal(`cannot be written as JSON: ${jsonProblem(error)}`)
  }
  if (text === undefined) throw new Refusal('is nothing in JSON: its toJSON() gives no value')
  if (hasBadEscape(text)) {
    throw new Refusal(
      'has a string with the character NUL or half of a surrogate pair, which PostgreSQL does not store',
      BAD_CHARACTER,
    )
  }
  return text
}

/** jsonProblem says why JSON.stringify threw, in words of its own: the error's may quote the value. */
function jsonProblem(error: unknown): string {
  let message = ''
  try {
    message = error instanceof Error ? String(error.message) : ''
  } catch {
    // What was thrown cannot be looked at either.
  }
  if (message.includes('BigInt')) return 'it holds a bigint; send a number or a string'
  if (message.startsWith('Converting circular')) return 'it refers to itself'
  if (message.startsWith('Maximum call stack')) return 'it is nested too deeply'
  return 'its toJSON(), or a getter of it, threw'
}

/** Each escape of a JSON text, whole pairs of surrogates as one. */
const ESCAPES = /\\(?:u(d[89ab]..\\ud[c-f]|.{4})|[^u])/gi
const BAD_ESCAPE = /^(?:0000|d[89a-f]..)$/i

/** hasBadEscape finds \u0000, which jsonb refuses, and lone surrogates, which JSON.stringify escapes. */
function hasBadEscape(text: string): boolean {
  if (!text.includes('\\u')) return false
  for (const [, code] of text.matchAll(ESCAPES)) {
    if (code !== undefined && BAD_ESCAPE.test(code)) return true
  }
  return false
}

/** writeArray writes an array literal (manual, "Array Input and Output Syntax"), every item in quotes. */
function writeArray(items: readonly unknown[], kind: ArrayKind): string {
  const { shape, text } = writeDimension(items, kind, 1)
  if (shape.indexOf(0, 1) !== -1) {
    throw new Refusal('has empty arrays within an array, which PostgreSQL does not have')
  }
  return text
}

/** Dimension is the text of an array, or of one within it. */
interface Dimension {
  /** Its length, then that of the arrays in it, and so on inwards. */
  readonly shape: readonly number[]
  readonly text: string
}

/** The shape of an item that is no array. */
const NO_SHAPE: readonly number[] = []

function writeDimension(items: readonly unknown[], kind: ArrayKind, depth: number): Dimension {
  if (depth > MAX_DIMENSIONS) {
    throw new Refusal(`is nested deeper than the ${MAX_DIMENSIONS} dimensions of PostgreSQL's arrays`)
  }
  const length = lengthOf(items)
  let inner = NO_SHAPE
  let text = ''
  let i = 0
  try {
    for (; i < length; i++) {
      const item = read(items, i)
      const nested = isArray(item) ? writeDimension(item, kind, depth + 1) : undefined
      const shape = nested?.shape ?? NO_SHAPE
      if (i === 0) inner = shape
      else if (!isSame(inner, shape)) {
        throw new Refusal(
          'differs in length or depth from the items before it; arrays within an array must be alike',
        )
      }
      text += `${i === 0 ? '' : kind.delimiter}${nested?.text ?? quote(write(item, kind.item))}`
    }
  } catch (error) {
    if (error instanceof Refusal) error.path = `[${i}]${error.path}`
    throw error
  }
  return { shape: [length, ...inner], text: `{${text}}` }
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a === b || (a.length === b.length && a.every((each, i) => each === b[i]))
}

function quote(item: string | null): string {
  if (item === null) return 'NULL'
  const isPlain = !(item.includes('"') || item.includes('\\'))
  return `"${isPlain ? item : item.replace(/["\\]/g, '\\$&')}"`
}

/** isArray is Array.isArray, which throws for a proxy that has been revoked. */
function isArray(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value)
  } catch {
    throw unreadable()
  }
}

function lengthOf(items: readonly unknown[]): number {
  try {
    return items.length
  } catch {
    throw unreadable()
  }
}

function read(items: readonly unknown[], i: number): unknown {
  try {
    return items[i]
  } catch {
    throw unreadable()
  }
}

function unreadable(): Refusal {
  return new Refusal('cannot be read: a getter, or the proxy that it is, threw')
}
