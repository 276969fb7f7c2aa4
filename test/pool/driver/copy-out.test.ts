import t from 'tap'
import { Pipeline } from '../../../src/pool/driver/pipeline.ts'
import { MESSAGE } from '../../../src/pool/driver/protocol.ts'
import { DriverQuery } from '../../../src/pool/driver/query.ts'

t.test('a COPY to the client is read, and nothing is sent to it', async (t) => {
  const written: Buffer[] = []
  const pipeline = new Pipeline({
    deliver() {},
    write: (bytes) => written.push(bytes),
    onViolation: () => t.fail('no message of it is a violation'),
    onTurn() {},
    onNotify: undefined,
    onSetting() {},
    maxResultBytes: 10_000,
  })
  const receiver = { answered() {}, failed() {}, stale() {} }
  const copied = { chunks: [], wantedRows: false }
  const text = { text: 'copy', args: [], form: 'simple' } as const
  pipeline.add(new DriverQuery(text, pipeline, receiver, { expected: 'I', copied }))
  t.equal(pipeline.verdict(MESSAGE.copyOut, 9, 0), 'drop')
  t.equal(pipeline.verdict(MESSAGE.copyData, 9, 0), 'read')
  t.equal(copied.wantedRows, false)
  t.strictSame(written, [])
})
