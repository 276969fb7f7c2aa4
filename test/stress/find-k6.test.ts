import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import t from 'tap'
import { findK6, howToGetK6, K6_VERSION } from '../../stress/find-k6.ts'
import { includes } from '../support/like.ts'

async function program(path: string, mode = 0o755): Promise<string> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, '')
  await chmod(path, mode)
  return path
}

t.test('the variable comes first, then the PATH, then the cache', async (t) => {
  const folder = t.testdir()
  const named = await program(join(folder, 'named', 'my-k6'))
  const onPath = await program(join(folder, 'bin', 'k6'))
  const cached = await program(join(folder, 'cache', 'lessor', `k6-${K6_VERSION}`, 'k6'))
  const XDG_CACHE_HOME = join(folder, 'cache')
  const PATH = [join(folder, 'empty'), dirname(onPath)].join(delimiter)

  t.equal(await findK6({ K6: named, PATH, XDG_CACHE_HOME }), named)
  t.equal(await findK6({ PATH, XDG_CACHE_HOME }), onPath)
  t.equal(await findK6({ PATH: '', XDG_CACHE_HOME }), cached)
})

t.test('where there is none, people are told where it was looked for', async (t) => {
  const folder = t.testdir()
  await program(join(folder, 'bin', 'k6'), 0o644)
  const environment = { PATH: join(folder, 'bin'), XDG_CACHE_HOME: folder }
  t.equal(await findK6(environment), undefined)
  includes(t, howToGetK6(environment), join(folder, 'lessor'))
  includes(t, howToGetK6(environment), `go install go.k6.io/k6@${K6_VERSION}`)
  const wrong = { ...environment, K6: '/nowhere/k6' }
  t.equal(await findK6(wrong), undefined)
  includes(t, howToGetK6(wrong), 'K6 names /nowhere/k6')
})
