import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { includes } from '../support/like.ts'
import { findPromtool, howToGetPromtool, PROMTOOL_VERSION } from '../support/promtool.ts'

const execute = promisify(execFile)
const SCRIPT = fileURLToPath(new URL('../support/rules.ts', import.meta.url))
const CI = new URL('../../.ci/run', import.meta.url)

async function program(path: string, text = '#!/bin/sh\n', mode = 0o755): Promise<string> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, text, { mode })
  return path
}

/** runRules resolves with the script's exit status and what it said. */
async function runRules(environment: Record<string, string>): Promise<{ status: number; said: string }> {
  try {
    const { stdout } = await execute(process.execPath, [SCRIPT], { env: environment })
    return { status: 0, said: stdout }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && 'stderr' in error)) throw error
    return { status: Number(error.code), said: String(error.stderr) }
  }
}

t.test('the variable comes first, then the PATH, then the cache of CI', async (t) => {
  const folder = t.testdir()
  const named = await program(join(folder, 'named', 'my-promtool'))
  const onPath = await program(join(folder, 'bin', 'promtool'))
  const cached = await program(join(folder, 'cache', 'lessor', `promtool-${PROMTOOL_VERSION}`, 'promtool'))
  const XDG_CACHE_HOME = join(folder, 'cache')
  const PATH = [join(folder, 'empty'), dirname(onPath)].join(delimiter)
  t.equal(await findPromtool({ PROMTOOL: named, PATH, XDG_CACHE_HOME }), named)
  t.equal(await findPromtool({ PATH, XDG_CACHE_HOME }), onPath)
  t.equal(await findPromtool({ PATH: '', XDG_CACHE_HOME }), cached)
  t.equal(await findPromtool({ PROMTOOL: '/nowhere', PATH, XDG_CACHE_HOME }), undefined)
})

t.test('CI keeps the version that is looked for', async (t) => {
  const text = await readFile(CI, 'utf8')
  includes(t, text, `promtool-${PROMTOOL_VERSION}"`)
  // Prometheus 3.15.0 is the Go module 0.315.0.
  includes(t, text, `prometheus/prometheus@${PROMTOOL_VERSION.replace('v3.', 'v0.3')}`)
})

t.test('where there is none, people are told where it was looked for', async (t) => {
  const folder = t.testdir()
  await program(join(folder, 'bin', 'promtool'), '', 0o644)
  const environment = { PATH: join(folder, 'bin'), XDG_CACHE_HOME: folder }
  t.equal(await findPromtool(environment), undefined)
  includes(t, howToGetPromtool({ ...environment, PROMTOOL: '/nowhere' }), 'PROMTOOL names /nowhere')
  const { status, said } = await runRules(environment)
  t.equal(status, 3)
  includes(t, said, `promtool is neither on the PATH nor in ${join(folder, 'lessor')}`)
})

t.test('the rules have failed when a single check has', async (t) => {
  const folder = t.testdir()
  const calls = join(folder, 'calls')
  const script = (failing: string) => `#!/bin/sh\necho "$1 $2" >> ${calls}\ntest "$1" != "${failing}"\n`
  const promtool = await program(join(folder, 'promtool'), script('none'))
  t.strictSame((await runRules({ PROMTOOL: promtool })).status, 0)
  t.equal(await readFile(calls, 'utf8'), 'check rules\ntest rules\ncheck rules\n')
  await program(promtool, script('test'))
  t.strictSame((await runRules({ PROMTOOL: promtool })).status, 1)
})
