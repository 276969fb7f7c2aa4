import { parseArray } from './array-text.ts'
import { dateOf } from './date-text.ts'
import { ARRAYS, OID } from './oids.ts'

/** DecodeError says that a result's value cannot be read in JavaScript; it never holds the value. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError'
}

/** Decoder reads one value of a result from its text. @throws DecodeError */
export type Decoder = (text: string) => unknown

const SCALARS: ReadonlyMap<number, Decoder> = new Map<number, Decoder>([
  [OID.bool, readBoolean],
  [OID.bytea, readBytes],
  [OID.int2, readNumber],
  [OID.int4, readNumber],
  [OID.oid, readNumber],
  [OID.float4, readNumber],
  [OID.float8, readNumber],
  [OID.json, readJson],
  [OID.jsonb, readJson],
  [OID.date, readDate],
  [OID.timestamp, readDate],
  [OID.timestamptz, readDate],
])

const DECODERS: ReadonlyMap<number, Decoder> = new Map([
  ...SCALARS,
  ...ARRAYS.entries().map(([type, { item, delimiter }]): [number, Decoder] => {
    const readItem = SCALARS.get(item) ?? asText
    return [type, (text) => readArray(text, delimiter, readItem)]
  }),
])

/**
 * decoderOf returns what makes a value of a column's text by the OID of its type, or undefined where the text is
 * the value: numbers that JavaScript cannot hold exactly (int8, numeric), all that it has no type for, and arrays of
 * enums, domains and composite types, whose OIDs are not known beforehand.
 *
 * Dates are by UTC; 'infinity' and '-infinity' are the numbers Infinity and -Infinity. A decoder throws DecodeError
 * and nothing else.
 */
export function decoderOf(type: number): Decoder | undefined {
  return DECODERS.get(type)
}

function asText(text: string): string {
  return text
}

function readBoolean(text: string): boolean {
  if (text === 't') return true
  if (text === 'f') return false
  throw new DecodeError('the server sent a boolean that is neither t nor f')
}

function readNumber(text: string): number {
  const value = Number(text)
  if (text === '' || (Number.isNaN(value) && text !== 'NaN')) {
    throw new DecodeError('the server sent a number that cannot be read')
  }
  return value
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The parser's own error quotes the text.
    throw new DecodeError('the server sent JSON that cannot be parsed')
  }
}

function readDate(text: string): Date | number {
  if (text === 'infinity') return Number.POSITIVE_INFINITY
  if (text === '-infinity') return Number.NEGATIVE_INFINITY
  const date = dateOf(text)
  if (date === undefined) {
    throw new DecodeError(
      'the server sent a date that cannot be read: DateStyle must be ISO, and dates after the year 275760 or before 271821 BC must be selected as text (`::text`)',
    )
  }
  return date
}

const HEX = '\\x'
const BACKSLASH = '\\'
/** What follows the backslash in the escape format: a second one, or a byte in octal. */
const ESCAPE = /^(?:\\|[0-3][0-7]{2})/

function readBytes(text: string): Buffer {
  if (!text.startsWith(HEX)) return readEscapedBytes(text)
  const bytes = Buffer.from(text.slice(HEX.length), 'hex')
  if (bytes.length * 2 !== text.length - HEX.length) throw badBytes()
  return bytes
}

/** readEscapedBytes reads bytea_output = escape (manual, "bytea Escape Format"). */
function readEscapedBytes(text: string): Buffer {
  const bytes = Buffer.allocUnsafe(text.length)
  let length = 0
  for (let at = 0; at < text.length; at++) {
    let byte = text.charCodeAt(at)
    if (byte < 0x20 || byte > 0x7e) throw badBytes()
    if (text[at] === BACKSLASH) {
      const code = ESCAPE.exec(text.slice(at + 1, at + 4))?.[0]
      if (code === undefined) throw badBytes()
      if (code !== BACKSLASH) byte = Number.parseInt(code, 8)
      at += code.length
    }
    bytes[length++] = byte
  }
  return bytes.subarray(0, length)
}

function badBytes(): DecodeError {
  return new DecodeError('the server sent bytea in neither of the forms hex and escape')
}

function readArray(text: string, delimiter: ',' | ';', readItem: Decoder): unknown[] {
  try {
    return parseArray(text, delimiter, readItem)
  } catch (error) {
    if (error instanceof DecodeError) throw error
    throw new DecodeError('the server sent an array that cannot be read')
  }
}
