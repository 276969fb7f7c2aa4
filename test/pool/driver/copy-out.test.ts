import t from 'tap'
import { Pipeline } from '../../../src/pool/driver/pipeline.ts'
import { MESSAGE } from '../../../src/pool/driver/protocol.ts'
import { DriverQuery } from '../../../src/pool/driver/query.ts'
import { openConnection } from '../../../src/pool/open-connection.ts'
import { testDatabase } from '../../support/database.ts'
import { sameRows } from '../../support/like.ts'
import { targetOf } from '../../support/target.ts'

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

t.test('a COPY may be within a transaction as well as by itself, before and behind it', async (t) => {
  const { url } = await testDatabase(t)
  const connection = await openConnection(targetOf(url), new AbortController().signal)
  const copied = async () =>
    sameRows(t, await connection.copy('copy (select 7) to stdout').result, [{ line: '7' }])
  await copied()
  for (const end of ['commit', 'rollback'] as const) {
    await connection.command('begin').result
    await copied()
    t.equal((await connection.command(end).result).command, end.toUpperCase())
    await copied()
  }
  t.equal(connection.isUsable, true)
  await connection.close()
})
