/**
 * The parts of PostgreSQL's frontend/backend protocol 3.0 that the engine speaks or reads by itself (PostgreSQL
 * manual, "Message Formats"). What carries statements and rows is left to the driver.
 */

/** MESSAGE is the first byte of the messages that a server sends. */
export const MESSAGE = {
  parseComplete: 0x31, // 1
  bindComplete: 0x32, // 2
  closeComplete: 0x33, // 3
  notification: 0x41, // A
  commandComplete: 0x43, // C
  dataRow: 0x44, // D
  errorResponse: 0x45, // E
  copyIn: 0x47, // G
  copyOut: 0x48, // H
  emptyQuery: 0x49, // I
  backendKeyData: 0x4b, // K
  notice: 0x4e, // N
  authentication: 0x52, // R
  parameterStatus: 0x53, // S
  rowDescription: 0x54, // T
  copyBoth: 0x57, // W
  readyForQuery: 0x5a, // Z
  copyDone: 0x63, // c
  copyData: 0x64, // d
  noData: 0x6e, // n
  parameterDescription: 0x74, // t
  negotiateProtocolVersion: 0x76, // v
} as const

/** Bytes before a message's body: its type, and its length, which counts itself but not the type. */
export const HEADER_BYTES = 5

/** TransactionStatus is the last byte of ReadyForQuery: idle, in a transaction, in a failed transaction. */
export type TransactionStatus = 'I' | 'T' | 'E'

/** transactionStatus reads the status byte of ReadyForQuery; undefined when it is none of the three. */
export function transactionStatus(byte: number | undefined): TransactionStatus | undefined {
  return byte === 0x49 ? 'I' : byte === 0x54 ? 'T' : byte === 0x45 ? 'E' : undefined
}

/** startupMessage opens a session with these parameters; ones that are empty are left out. */
export function startupMessage(parameters: Readonly<Record<string, string>>): Buffer {
  const body = Object.entries(parameters)
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${name}\0${value}\0`)
    .join('')
  const message = Buffer.alloc(8 + Buffer.byteLength(body) + 1)
  message.writeInt32BE(message.length, 0)
  message.writeInt32BE(0x0003_0000, 4)
  message.write(body, 8)
  return message
}

/** cancelRequest asks the server to stop what the backend runs; sent alone, on a socket of its own. */
export function cancelRequest({ pid, secret }: BackendKey): Buffer {
  const message = Buffer.alloc(16)
  message.writeInt32BE(16, 0)
  message.writeInt32BE(80_877_102, 4)
  message.writeUInt32BE(pid, 8)
  message.writeUInt32BE(secret, 12)
  return message
}

/** BackendKey is what a cancel request names a session by. */
export interface BackendKey {
  readonly pid: number
  readonly secret: number
}

/** frontendMessage is a message of the client's: its type, its length, its body. */
export function frontendMessage(type: string, body: Buffer | string = ''): Buffer {
  const content = typeof body === 'string' ? Buffer.from(body) : body
  const message = Buffer.alloc(HEADER_BYTES + content.length)
  message.write(type, 0, 'latin1')
  message.writeInt32BE(4 + content.length, 1)
  content.copy(message, HEADER_BYTES)
  return message
}

/** backendMessage is a message as a server would send it. */
export function backendMessage(type: number, body: Buffer = Buffer.alloc(0)): Buffer {
  return frontendMessage(String.fromCharCode(type), body)
}

/** TERMINATE ends a session. */
export const TERMINATE = frontendMessage('X')

/** What stands behind a column's name: table, number, type, size, modifier, format. */
const COLUMN_BYTES = 18

/** isRowDescription says whether a body has as many columns as it says, each with the end of its name and all behind it. */
export function isRowDescription(body: Buffer): boolean {
  if (body.length < 2) return false
  let at = 2
  for (let left = body.readUInt16BE(0); left > 0; left--) {
    const end = body.indexOf(0, at)
    if (end === -1) return false
    at = end + 1 + COLUMN_BYTES
    if (at > body.length) return false
  }
  return at === body.length
}

/** errorFields reads the fields of an ErrorResponse by their one-letter names; a field that is cut off ends there. */
export function errorFields(body: Buffer): ReadonlyMap<string, string> {
  const fields = new Map<string, string>()
  let at = 0
  while (at < body.length && body[at] !== 0) {
    const end = body.indexOf(0, at + 1)
    const stop = end === -1 ? body.length : end
    fields.set(String.fromCharCode(body[at] ?? 0), body.toString('utf8', at + 1, stop))
    at = stop + 1
  }
  return fields
}

/** errorResponse is an ErrorResponse of these fields. */
export function errorResponse(fields: ReadonlyMap<string, string>): Buffer {
  const body = [...fields].map(([name, value]) => `${name}${value}\0`).join('')
  return backendMessage(MESSAGE.errorResponse, Buffer.from(`${body}\0`))
}

/** What the driver's own PostgresError calls the fields (postgres.js 3.4, errorFields in src/connection.js). */
const FIELD_NAMES: Readonly<Record<string, string>> = {
  S: 'severity_local',
  V: 'severity',
  C: 'code',
  M: 'message',
  D: 'detail',
  H: 'hint',
  R: 'routine',
}

/** serverError makes of an ErrorResponse's body an error like the driver's own PostgresError. */
export function serverError(body: Buffer): Error {
  const fields = errorFields(body)
  const error = new Error(fields.get('M') ?? 'The server sent an error without a message.')
  error.name = 'PostgresError'
  for (const [letter, value] of fields) {
    const name = FIELD_NAMES[letter]
    if (name !== undefined && name !== 'message') Object.assign(error, { [name]: value })
  }
  return error
}
