import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { argumentsRefused } from '../src/start-error.ts'
import { compileCache } from './support/compile-cache.ts'
import { rejectsLike } from './support/like.ts'

t.test('what is written as an argument is set by a variable', async (t) => {
  const tail = 'in the environment or in .env.'
  for (const [args, said] of [
    [['--port', '9000'], `got --port 9000. Set PORT=9000 ${tail}`],
    [['--log-level=debug'], `got --log-level=debug. Set LOG_LEVEL=debug ${tail}`],
    [['--colour'], `got --colour. Set variables of .env.example ${tail}`],
    [['9000'], `got 9000. Set variables of .env.example ${tail}`],
  ] as const) {
    t.equal(argumentsRefused(args), `The service takes no arguments, and ${said}`)
  }
})

t.test('the service does not start with an argument', async (t) => {
  const run = promisify(execFile)(process.execPath, ['src/server.ts', '--port', '9000'], {
    env: { PATH: process.env.PATH, ...compileCache() },
  })
  await rejectsLike(t, run, { code: 2, stderr: /Set PORT=9000/ })
})
