import { spawnSync } from 'node:child_process'
import t from 'tap'
import { isGone, readOwnProcess } from '../../src/control/own-process.ts'

t.test('a process that runs is there, one that has ended is gone', async (t) => {
  const { pid, started } = readOwnProcess()
  t.equal(pid, process.pid)
  t.equal(isGone(pid), false)
  t.equal(isGone(pid, started), false)
  const { pid: ended = 0 } = spawnSync(process.execPath, ['--version'])
  t.equal(isGone(ended), true)
  t.equal(isGone(ended, '1'), true)
})

t.test('a process with the id of one that was started at another time is not that one', async (t) => {
  const { pid, started } = readOwnProcess()
  // Where there is no /proc nothing is known of when a process started, and it is not taken for gone.
  t.equal(isGone(pid, '1'), started !== null)
})

t.test('the start of a process is read whatever its name holds', async (t) => {
  const { started } = readOwnProcess()
  const { title } = process
  t.teardown(() => {
    process.title = title
  })
  process.title = 'a) S 1 2 3 (b'
  t.equal(readOwnProcess().started, started)
})
