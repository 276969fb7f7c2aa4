import fc from 'fast-check'
import t from 'tap'
import {
  MAX_READ_BYTES,
  MessageReader,
  type MessageSink,
  type Verdict,
} from '../../../src/pool/driver/message-reader.ts'
import { backendMessage, MESSAGE } from '../../../src/pool/driver/protocol.ts'
import { holds } from '../../support/holds.ts'

/** Sink keeps what it is given, and gives the verdicts by the type of a message. */
class Sink implements MessageSink {
  readonly verdicts: Readonly<Record<number, Verdict>>
  readonly asked: (readonly [type: number, length: number, values: number])[] = []
  /** What was passed on, a run of bytes each; runs that a part of a message divides are one. */
  readonly runs: Buffer[] = [Buffer.alloc(0)]
  readonly kept: (readonly [type: number, body: string, isCut: boolean])[] = []
  readonly lastBytes: number[] = []

  constructor(verdicts: Readonly<Record<number, Verdict>>) {
    this.verdicts = verdicts
  }

  verdict(type: number, length: number, values: number): Verdict {
    this.asked.push([type, length, values])
    return this.verdicts[type] ?? 'refuse'
  }

  pass(bytes: Buffer): void {
    this.runs.push(Buffer.concat([this.runs.pop() ?? Buffer.alloc(0), bytes]))
  }

  cut(lastByte: number): void {
    this.lastBytes.push(lastByte)
    this.runs.push(Buffer.alloc(0))
  }

  read(type: number, body: Buffer, isCut: boolean): void {
    this.kept.push([type, body.toString('latin1'), isCut])
  }
}

const VERDICTS = {
  [MESSAGE.dataRow]: 'pass',
  [MESSAGE.commandComplete]: 'pass',
  [MESSAGE.notice]: 'drop',
  [MESSAGE.errorResponse]: 'read',
  [MESSAGE.readyForQuery]: 'cut',
} as const

interface Message {
  readonly type: number
  readonly body: Buffer
}

const message: fc.Arbitrary<Message> = fc
  .tuple(
    fc.constantFrom(...Object.keys(VERDICTS).map(Number)),
    fc.uint8Array({ maxLength: 40 }),
    fc.nat({ max: 1600 }),
  )
  .map(([type, bytes, values]) => {
    const body = Buffer.from(bytes)
    if (type === MESSAGE.readyForQuery) return { type, body: Buffer.from('I') }
    if (type !== MESSAGE.dataRow) return { type, body }
    const head = Buffer.alloc(2)
    head.writeUInt16BE(values)
    return { type, body: Buffer.concat([head, body]) }
  })

/** What a sink must have been given of these messages. */
function expected(messages: readonly Message[]) {
  const runs: Buffer[][] = [[]]
  for (const { type, body } of messages) {
    const verdict: Verdict | undefined = VERDICTS[type as keyof typeof VERDICTS]
    if (verdict === 'pass' || verdict === 'cut') runs.at(-1)?.push(backendMessage(type, body))
    if (verdict === 'cut') runs.push([])
  }
  return {
    asked: messages.map(({ type, body }) => [
      type,
      5 + body.length,
      type === MESSAGE.dataRow ? body.readUInt16BE(0) : 0,
    ]),
    runs: runs.map((parts) => Buffer.concat(parts).toString('hex')),
    kept: messages
      .filter(({ type }) => type === MESSAGE.errorResponse)
      .map(({ type, body }) => [type, body.toString('latin1'), false]),
    lastBytes: messages.filter(({ type }) => type === MESSAGE.readyForQuery).map(() => 0x49),
  }
}

t.test('messages are told apart and dealt with alike, however they are cut into chunks', async (t) => {
  await holds(
    t,
    fc.property(
      fc.array(message, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
      (messages, sizes) => {
        const bytes = Buffer.concat(messages.map(({ type, body }) => backendMessage(type, body)))
        const sink = new Sink(VERDICTS)
        const reader = new MessageReader(sink)
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = sizes[i % sizes.length] ?? 1
          reader.feed(bytes.subarray(at, at + size))
          at += size
        }
        const { asked, kept, lastBytes } = sink
        const seen = { asked, runs: sink.runs.map((run) => run.toString('hex')), kept, lastBytes }
        return JSON.stringify(seen) === JSON.stringify(expected(messages))
      },
    ),
    { numRuns: 2_000 },
  )
  t.pass('as many times as fast-check tries')
})

t.test('of a message that is read no more is kept than may be', async (t) => {
  const sink = new Sink(VERDICTS)
  const reader = new MessageReader(sink)
  for (const length of [MAX_READ_BYTES, MAX_READ_BYTES + 1, 3 * MAX_READ_BYTES, 5]) {
    const bytes = backendMessage(MESSAGE.errorResponse, Buffer.alloc(length, 'x'))
    for (let at = 0; at < bytes.length; at += 1_000) reader.feed(bytes.subarray(at, at + 1_000))
  }
  t.strictSame(
    sink.kept.map(([, body, isCut]) => [body.length, isCut]),
    [
      [MAX_READ_BYTES, false],
      [MAX_READ_BYTES, true],
      [MAX_READ_BYTES, true],
      [5, false],
    ],
  )
})

t.test(
  'nothing is read behind a message that is refused, or that is shorter than its own head',
  async (t) => {
    const odd = Buffer.from([MESSAGE.commandComplete, 0, 0, 0, 3])
    const shortRow = Buffer.from([MESSAGE.dataRow, 0, 0, 0, 5, 0])
    for (const first of [backendMessage(0x21), odd, shortRow]) {
      const sink = new Sink(VERDICTS)
      const reader = new MessageReader(sink)
      reader.feed(Buffer.concat([first, backendMessage(MESSAGE.commandComplete)]))
      reader.feed(backendMessage(MESSAGE.commandComplete))
      t.equal(sink.asked.length, 1)
      t.strictSame(Buffer.concat(sink.runs).length, 0)
    }
  },
)
