import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { runTest, type TestResult } from './run-test.ts'

type Ended = Omit<TestResult, 'ms'>

async function run(root: string, file: string, limitMs = 60_000, signal?: AbortSignal): Promise<Ended> {
  const env = { FROM_ENV: 'seen' }
  const { ms, ...ended } = await runTest({
    root,
    file,
    env,
    limitMs,
    signal: signal ?? new AbortController().signal,
  })
  return ended
}

t.test('a test is green, red at its first failure or by its exit status, or does not end', async (t) => {
  const root = t.testdir({
    'green.ts': "console.log('ok 1\\n    not ok 1 - later # TODO\\nnot ok 2 # skip')\n",
    'red.ts': "console.log('    not ok 1 - inner'); setInterval(() => {}, 1000)\n",
    'last.ts': "process.stdout.write('not ok 1 - last')\n",
    'status.ts': 'process.exitCode = 3\n',
    'env.ts': "process.exitCode = process.env.FROM_ENV === 'seen' ? 0 : 1\n",
    'hangs.ts': 'setInterval(() => {}, 1000)\n',
  })
  const green: Ended = { outcome: 'green', why: '' }
  t.strictSame(await run(root, 'green.ts'), green)
  t.strictSame(await run(root, 'env.ts'), green)
  t.strictSame(await run(root, 'red.ts'), { outcome: 'red', why: 'not ok 1 - inner' })
  t.strictSame(await run(root, 'last.ts'), { outcome: 'red', why: 'not ok 1 - last' })
  t.strictSame(await run(root, 'status.ts'), { outcome: 'red', why: 'ended with 3' })
  t.strictSame(await run(root, 'hangs.ts', 300), {
    outcome: 'timeout',
    why: 'did not end within 300 ms',
  })
})

t.test('what a test has started ends with it', async (t) => {
  const root = t.testdir({
    'parent.ts': [
      "import { spawn } from 'node:child_process'",
      "const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])",
      "console.log('not ok ' + child.pid)",
    ].join('\n'),
  })
  const { why } = await run(root, 'parent.ts')
  const pid = Number(/\d+/.exec(why)?.[0])
  // Ends when the kernel gets to it; the test's own time limit is the bound.
  while (isAlive(pid)) await delay(5)
  t.equal(isAlive(pid), false)
})

t.test('a run that is stopped is an error', async (t) => {
  const root = t.testdir({ 'hangs.ts': 'setInterval(() => {}, 1000)\n' })
  await t.rejects(run(root, 'hangs.ts', 60_000, AbortSignal.abort(new Error('before'))), /before/)
  const stopped = new AbortController()
  const running = run(root, 'hangs.ts', 60_000, stopped.signal)
  stopped.abort(new Error('meanwhile'))
  await t.rejects(running, /meanwhile/)
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
