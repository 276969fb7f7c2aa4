import t from 'tap'
import { LineBuffer } from '../../src/http/line-buffer.ts'

function makeBuffer(ms: number) {
  const written: string[] = []
  const { promise: first, resolve } = Promise.withResolvers<void>()
  const target = {
    write: (text: string) => {
      written.push(text)
      resolve()
    },
  }
  return { buffer: new LineBuffer({ target, length: 10, ms }), written, first }
}

t.test('lines are handed on together when there are enough of them', async (t) => {
  const { buffer, written } = makeBuffer(100_000)
  buffer.write('one\n')
  buffer.write('two\n')
  t.strictSame(written, [])
  buffer.write('three\n')
  t.strictSame(written, ['one\ntwo\nthree\n'])
  buffer.write('four\n')
  t.strictSame(written.length, 1)
  buffer.flush()
  t.strictSame(written.at(-1), 'four\n')
  buffer.flush()
  t.strictSame(written.length, 2, 'nothing is written for nothing')
})

t.test('a few lines are handed on after a while', async (t) => {
  const { buffer, written, first } = makeBuffer(5)
  // The buffer's own timer does not keep the process alive.
  const alive = setInterval(() => {}, 1000)
  t.teardown(() => clearInterval(alive))
  buffer.write('one\n')
  t.strictSame(written, [])
  await first
  t.strictSame(written, ['one\n'])
})
