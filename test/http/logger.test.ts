import { execFileSync } from 'node:child_process'
import t from 'tap'
import { createLogger } from '../../src/http/logger.ts'
import { Secret } from '../../src/secret.ts'
import { excludes, like } from '../support/like.ts'

function makeLogger() {
  const lines: string[] = []
  const { logger } = createLogger('info', { write: (line) => lines.push(line) })
  return { logger, lines }
}

t.test('an error is logged with type, message, code, stack and cause, and nothing else of it', async (t) => {
  const { logger, lines } = makeLogger()
  const cause = Object.assign(new Error('refused'), { code: 'ECONNREFUSED', parameters: ['hidden'] })
  logger.error({ err: Object.assign(new TypeError('failed', { cause }), { query: 'hidden' }) }, 'x')
  const { err } = JSON.parse(lines[0] ?? '')
  like(t, err, { type: 'TypeError', message: 'failed', stack: /^TypeError: failed\n/ })
  like(t, err.cause, { type: 'Error', message: 'refused', code: 'ECONNREFUSED' })
  excludes(t, lines[0], /hidden/)
})

t.test('what should never be logged is hidden when it is', async (t) => {
  const { logger, lines } = makeLogger()
  logger.info({
    password: 'hidden',
    headers: { authorization: 'hidden' },
    request: { body: 'hidden' },
    key: new Secret('hidden'),
  })
  excludes(t, lines[0], /hidden/)
  like(t, JSON.parse(lines[0] ?? ''), { password: '[redacted]', headers: '[redacted]', key: '[secret]' })
})

t.test('buffered lines are written when the process exits after a flush', async (t) => {
  const module = JSON.stringify(new URL('../../src/http/logger.ts', import.meta.url).href)
  const script = `import { createLogger } from ${module}
    const { logger, flush } = createLogger('info')
    process.on('exit', flush)
    for (let i = 0; i < 1000; i++) logger.info({ i }, 'line')
    process.exit(0)`
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  const numbers = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).i)
  t.strictSame(numbers, [...Array(1000).keys()])
})

t.test('lines are written soon, without a flush', async (t) => {
  const module = JSON.stringify(new URL('../../src/http/logger.ts', import.meta.url).href)
  const script = `import { createLogger } from ${module}
    createLogger('info').logger.info('soon')
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), 1000)`
  let output = ''
  try {
    execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  } catch (error) {
    output = (error as { stdout: string }).stdout
  }
  like(t, JSON.parse(output), { msg: 'soon' })
})
