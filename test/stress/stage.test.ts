import { readFile } from 'node:fs/promises'
import t from 'tap'
import { START_ARGUMENTS } from '../../stress/bench/stage.ts'
import { includes } from '../support/like.ts'

t.test('the benchmark, npm start and the Dockerfile start Lessor alike', async (t) => {
  const { scripts } = JSON.parse(await readFile('package.json', 'utf8')) as { scripts: { start: string } }
  t.equal(scripts.start, `exec node ${START_ARGUMENTS.join(' ')} src/server.ts`)
  const command = JSON.stringify(['node', ...START_ARGUMENTS, 'dist/server.js']).replaceAll(',', ', ')
  includes(t, await readFile('deploy/Dockerfile', 'utf8'), `CMD ${command}`)
})
