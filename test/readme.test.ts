import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { testApp } from './support/app.ts'
import { includes } from './support/like.ts'

const README = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

t.test('the first tenant of the README works as printed', async (t) => {
  const [, printed] = /## A first tenant\n[^`]*```sh\n([^`]*(?:`(?!``)[^`]*)*)```/.exec(README) ?? []
  if (printed === undefined) throw new Error('README.md has no first tenant')
  t.equal(printed.trim().split('\n').length, 3, 'in three lines')
  const { operatorKey, listen } = await testApp(t)
  const url = await listen()
  const folder = t.testdir()
  mkdirSync(join(folder, '.lessor'))
  writeFileSync(join(folder, '.lessor', 'operator-key'), `${operatorKey}\n`)
  includes(t, printed, 'http://127.0.0.1:8080', 'the address of npm start')
  const script = printed.replaceAll('http://127.0.0.1:8080', url)
  const { stdout } = await promisify(execFile)('bash', ['-euc', script], { cwd: folder })
  t.match(stdout, /"records":\[\{"id":"[0-9a-f-]{36}","first_name":"Ada","last_name":"Lovelace"/)
})
