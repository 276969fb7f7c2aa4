import { readFileSync } from 'node:fs'
import t from 'tap'
import { ERRORS, isLessorError, LessorError } from '../src/errors.ts'
import { like } from './support/like.ts'

t.test('docs/errors.md lists every error with its code, status and title, and says what to do', async (t) => {
  const text = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8')
  const rows = text
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').map((cell) => cell.trim()))
  t.strictSame(
    rows.map(([, code, status, title]) => [code, status, title]),
    Object.entries(ERRORS).map(([code, { status, title }]) => [`\`${code}\``, String(status), title]),
  )
  t.strictSame(
    rows.filter((row) => row[4] === '').map(([, code]) => code),
    [],
    'every row says what to do',
  )
})

t.test('an error without a detail has its title for one', async (t) => {
  const error = new LessorError('POOL_NOT_FOUND')
  like(t, error, { message: `${ERRORS.POOL_NOT_FOUND.title}.`, status: 404, code: 'POOL_NOT_FOUND' })
  t.ok(isLessorError(error, 'POOL_NOT_FOUND', 'INTERNAL'))
  t.notOk(isLessorError(error, 'INTERNAL'))
  t.notOk(isLessorError(new Error('POOL_NOT_FOUND')))
})
