import { HEADER_BYTES, MESSAGE } from './protocol.ts'

/**
 * Verdict is what becomes of a message: `pass` hands it on, `cut` hands it on and ends the run of bytes there,
 * `read` keeps its first {@link MAX_READ_BYTES} for the sink and `whole` all of it, `drop` forgets it, `refuse` ends the
 * reading.
 */
export type Verdict = 'pass' | 'cut' | 'read' | 'whole' | 'drop' | 'refuse'

/** MessageSink decides over messages, and gets what it asked for. */
export interface MessageSink {
  /**
   * verdict is asked once for each message, when its head is there. `length` is in bytes, head included;
   * `values` is the number of values of a DataRow, 0 for others. After `refuse` nothing more is read.
   */
  verdict(type: number, length: number, values: number): Verdict
  /** pass gets bytes of messages to hand on; a message may come in parts. */
  pass(bytes: Buffer): void
  /** cut is called behind the `pass` that ended with such a message, with that message's last byte. */
  cut(lastByte: number): void
  /** read gets a body, without its head; `isCut` when there was more of it. */
  read(type: number, body: Buffer, isCut: boolean): void
}

/** MAX_READ_BYTES is how much of a message is kept at most. */
export const MAX_READ_BYTES = 65_536

/** A DataRow has the number of its values behind the head. */
const ROW_HEADER_BYTES = HEADER_BYTES + 2
const NOTHING = Buffer.alloc(0)

/**
 * MessageReader divides what a server sends into messages and asks its sink about each, before a byte of its
 * body is kept. Of what is passed on nothing is copied or held back; of what is dropped nothing is stored.
 */
export class MessageReader {
  sink: MessageSink
  /** The head of a message that came in two parts. */
  #head: Buffer = NOTHING
  /** Bytes that are still to come of the message under way. */
  #left = 0
  #type = 0
  #verdict: Verdict = 'pass'
  readonly #kept: Buffer[] = []
  #keptBytes = 0
  #isCut = false

  constructor(sink: MessageSink) {
    this.sink = sink
  }

  feed(chunk: Buffer): void {
    if (this.#verdict === 'refuse') return
    const bytes = this.#head.length > 0 ? Buffer.concat([this.#head, chunk]) : chunk
    this.#head = NOTHING
    /** Where the run of bytes begins that is to be passed on; it ends at `at`. */
    let from = 0
    let at = 0
    for (;;) {
      if (this.#left > 0) {
        const start = at
        at = Math.min(bytes.length, at + this.#left)
        this.#left -= at - start
        if (this.#isKept) this.#keep(bytes.subarray(start, at))
        if (this.#isKept || this.#verdict === 'drop') from = at
        if (this.#left > 0) break
        if (this.#isKept) this.#finishRead()
        if (this.#verdict === 'cut') {
          this.sink.pass(bytes.subarray(from, at))
          from = at
          this.sink.cut(bytes[at - 1] ?? 0)
        }
        continue
      }
      if (bytes.length - at < HEADER_BYTES) break
      const type = bytes[at] ?? 0
      const isRow = type === MESSAGE.dataRow
      const length = bytes.readUInt32BE(at + 1) + 1
      if (isRow && length >= ROW_HEADER_BYTES && bytes.length - at < ROW_HEADER_BYTES) break
      const isValid = length >= (isRow ? ROW_HEADER_BYTES : HEADER_BYTES)
      const values = isRow && isValid ? bytes.readUInt16BE(at + HEADER_BYTES) : 0
      this.#type = type
      this.#verdict = isValid ? this.sink.verdict(type, length, values) : 'refuse'
      if (this.#verdict === 'refuse') {
        if (!isValid) this.sink.verdict(0, length, 0)
        return
      }
      if (this.#isKept || this.#verdict === 'drop') {
        if (at > from) this.sink.pass(bytes.subarray(from, at))
        from = at
      }
      this.#left = length
    }
    if (at > from) this.sink.pass(bytes.subarray(from, at))
    // A copy, so that the head does not keep the whole chunk.
    if (at < bytes.length) this.#head = Buffer.from(bytes.subarray(at))
  }

  get #isKept(): boolean {
    return this.#verdict === 'read' || this.#verdict === 'whole'
  }

  #keep(part: Buffer): void {
    const most = this.#verdict === 'whole' ? Number.POSITIVE_INFINITY : MAX_READ_BYTES + HEADER_BYTES
    const room = most - this.#keptBytes
    if (part.length > room) this.#isCut = true
    if (room <= 0) return
    const kept = part.subarray(0, room)
    this.#kept.push(kept)
    this.#keptBytes += kept.length
  }

  #finishRead(): void {
    const message = Buffer.concat(this.#kept.splice(0))
    const isCut = this.#isCut
    this.#keptBytes = 0
    this.#isCut = false
    this.sink.read(this.#type, message.subarray(HEADER_BYTES), isCut)
  }
}
