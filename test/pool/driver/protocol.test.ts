import t from 'tap'
import {
  backendMessage,
  cancelRequest,
  errorFields,
  errorResponse,
  frontendMessage,
  isRowDescription,
  MESSAGE,
  serverError,
  startupMessage,
  TERMINATE,
  transactionStatus,
} from '../../../src/pool/driver/protocol.ts'

function hex(bytes: Buffer): string {
  return bytes.toString('hex')
}

t.test('a startup message has the version and each parameter that is not empty', async (t) => {
  const message = startupMessage({ user: 'ä', options: '', database: 'd' })
  t.equal(message.toString('utf8'), `${Buffer.from([0, 0, 0, 28, 0, 3, 0, 0])}user\0ä\0database\0d\0\0`)
  t.equal(message.length, 28)
  t.equal(hex(startupMessage({})), '000000090003000000')
})

t.test('a cancel request names the session', async (t) => {
  t.equal(hex(cancelRequest({ pid: 1, secret: 0xffff_fffe })), '0000001004d2162e00000001fffffffe')
})

t.test('a message has its type, its length and its body', async (t) => {
  t.equal(hex(frontendMessage('Q', 'ä')), '5100000006c3a4')
  t.equal(hex(frontendMessage('p', Buffer.of(1, 2))), '70000000060102')
  t.equal(hex(TERMINATE), '5800000004')
  t.equal(hex(backendMessage(MESSAGE.readyForQuery, Buffer.from('I'))), '5a0000000549')
  t.equal(hex(backendMessage(MESSAGE.noData)), '6e00000004')
})

t.test('a session is idle, in a transaction, in a failed one, or the byte is none of these', async (t) => {
  t.strictSame(
    [...'ITEX'].map((letter) => transactionStatus(letter.charCodeAt(0))),
    ['I', 'T', 'E', undefined],
  )
  t.equal(transactionStatus(undefined), undefined)
})

function rowDescription(count: number, ...names: readonly string[]): Buffer {
  const columns = names.map((name) => Buffer.concat([Buffer.from(`${name}\0`), Buffer.alloc(18)]))
  return Buffer.concat([Buffer.of(count >> 8, count & 0xff), ...columns])
}

t.test('a row description has as many columns as it says, and nothing behind them', async (t) => {
  t.equal(isRowDescription(rowDescription(0)), true)
  t.equal(isRowDescription(rowDescription(1, 'a')), true)
  t.equal(isRowDescription(rowDescription(2, 'a', '')), true)
  const whole = rowDescription(2, 'a', 'b')
  for (let length = 0; length < whole.length; length++) {
    t.equal(isRowDescription(whole.subarray(0, length)), false, `cut to ${length} bytes`)
  }
  t.equal(isRowDescription(Buffer.concat([whole, Buffer.alloc(1)])), false)
  t.equal(isRowDescription(rowDescription(1, 'a', 'b')), false)
  t.equal(isRowDescription(Buffer.concat([Buffer.of(0, 1), Buffer.from('no end')])), false)
})

const FIELDS = [
  ['S', 'FEHLER'],
  ['V', 'ERROR'],
  ['C', '42501'],
  ['M', 'verböten'],
  ['D', 'why'],
  ['H', 'do'],
  ['R', 'aclcheck'],
  ['q', 'of no name'],
] as const

t.test('the fields of an error are written and read, and one that is cut off ends there', async (t) => {
  const message = errorResponse(new Map(FIELDS))
  t.equal(message[0], 0x45)
  const body = message.subarray(5)
  t.equal(message.readInt32BE(1), body.length + 4)
  t.equal(body.subarray(-2).toString(), '\0\0')
  t.strictSame([...errorFields(body)], FIELDS)
  t.strictSame(
    [...errorFields(Buffer.from('SERROR\0Mcut'))],
    [
      ['S', 'ERROR'],
      ['M', 'cut'],
    ],
  )
  t.strictSame([...errorFields(Buffer.from('SERROR\0\0Mbehind the end\0'))], [['S', 'ERROR']])
  t.strictSame([...errorFields(Buffer.alloc(0))], [])
})

t.test('an error of the server has the names of the driver’s own', async (t) => {
  const error = serverError(errorResponse(new Map(FIELDS)).subarray(5))
  t.strictSame(
    { ...error, name: error.name, message: error.message },
    {
      name: 'PostgresError',
      message: 'verböten',
      severity_local: 'FEHLER',
      severity: 'ERROR',
      code: '42501',
      detail: 'why',
      hint: 'do',
      routine: 'aclcheck',
    },
  )
  t.equal(serverError(Buffer.alloc(1)).message, 'The server sent an error without a message.')
})
