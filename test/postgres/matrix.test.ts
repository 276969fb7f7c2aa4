import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runMatrix, tableOf } from './matrix.ts'

/**
 * matrix runs a script in place of the tests, and resolves with the outcomes and what was written. It is aborted
 * when the script says that it is under way.
 */
async function matrix(t: Test, script: string) {
  const runner = join(t.testdir(), 'runner.ts')
  await writeFile(runner, script)
  const controller = new AbortController()
  let written = ''
  const outcomes = await runMatrix({
    versions: ['15', '17'],
    args: ['test/pool', '--bail'],
    runner,
    write: (text) => {
      written += text
      if (text === 'under way\n') controller.abort()
    },
    signal: controller.signal,
  })
  return { outcomes: outcomes.map(({ tookMs, ...rest }) => rest), written }
}

t.test('the tests run on one version after the other, and what they print is printed', async (t) => {
  const { outcomes, written } = await matrix(
    t,
    `const [, , ...args] = process.argv
    console.log(args.join(' '))
    console.log('1 passed, 2 failed of a test that prints this')
    console.log(args[1] === '15' ? '7 passed, 0 failed' : '5 passed, 2 failed')
    process.exitCode = args[1] === '15' ? 0 : 1`,
  )
  t.strictSame(outcomes, [
    { version: '15', passed: 7, failed: 0 },
    { version: '17', passed: 5, failed: 2 },
  ])
  t.equal(
    written,
    ['15', '17']
      .map(
        (version) => `PostgreSQL ${version}
--postgres ${version} test/pool --bail
1 passed, 2 failed of a test that prints this
${version === '15' ? '7 passed, 0 failed' : '5 passed, 2 failed'}
`,
      )
      .join(''),
  )
})

t.test('a run that ended without a count, without tests, or in a wrong way has failed', async (t) => {
  const failed = async (script: string) => (await matrix(t, script)).outcomes.map(({ failed }) => failed)
  t.strictSame(await failed('process.exitCode = 1'), [1, 1])
  t.strictSame(await failed(''), [1, 1])
  t.strictSame(await failed("console.log('0 passed, 0 failed')"), [1, 1])
  t.strictSame(await failed("console.log('3 passed, 0 failed'); process.exitCode = 2"), [1, 1])
  t.strictSame(
    await failed("console.log('3 passed, 0 failed'); process.kill(process.pid, 'SIGKILL')"),
    [1, 1],
  )
})

t.test('an abort ends the run that is under way, in order, and starts no other', async (t) => {
  const { outcomes, written } = await matrix(
    t,
    `process.on('SIGTERM', () => { console.log('4 passed, 1 failed'); process.exit(1) })
    setTimeout(() => {}, 20_000)
    console.log('under way')`,
  )
  t.strictSame(outcomes, [{ version: '15', passed: 4, failed: 1 }])
  t.equal(written, 'PostgreSQL 15\nunder way\n4 passed, 1 failed\n')
})

t.test('the table ends with the sum', async (t) => {
  t.equal(
    tableOf([
      { version: '15', passed: 1234, failed: 0, tookMs: 65_400 },
      { version: '18', passed: 1200, failed: 34, tookMs: 600_000 },
    ]),
    `PostgreSQL     passed     failed       time
        15       1234          0       1:05
        18       1200         34      10:00
2434 passed, 34 failed
`,
  )
})
