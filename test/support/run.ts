// Runs the tests on a PostgreSQL of their own: node test/support/run.ts [options] [files and folders]; see --help.
// The last line it prints is "N passed, N failed", the number of assertions.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { environmentOf } from '../postgres/choose.ts'
import { InstallError } from '../postgres/install.ts'
import { INSTALLED_VERSION } from '../postgres/versions.ts'
import { shortcomings } from './floor.ts'
import { RUN_USAGE, type RunOptions, readRunOptions } from './run-options.ts'
import { scratchFolder } from './scratch.ts'
import { answers, startTestServer } from './server.ts'
import { type FileTally, TapReader } from './tally.ts'
import { findTestFiles, UnknownTests, writeTimes } from './test-files.ts'

const execute = promisify(execFile)
const ALL = fileURLToPath(new URL('./all.ts', import.meta.url))
/** How many of the slowest files are named in the end. */
const SLOWEST = 10

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const options = readRunOptions(args)
  if (options === undefined) {
    process.stdout.write(RUN_USAGE)
    return 0
  }
  if (typeof options === 'string') return refuse(options, 2)
  const [version = INSTALLED_VERSION, ...more] = options.versions
  if (more.length > 0) return refuse('A run is on one --postgres; npm run test:matrix takes several.', 2)
  try {
    const files = await findTestFiles(options.paths)
    if (options.checks && !(await check())) return 1
    // For all that is started here, and what that starts.
    Object.assign(process.env, await environmentOf(version))
    return await runTests(options, files)
  } catch (error) {
    if (error instanceof UnknownTests) return refuse(error.message, 2)
    if (error instanceof InstallError) return refuse(error.message, 1)
    throw error
  }
}

/** False when types or lint are wrong; what is wrong was printed. */
async function check(): Promise<boolean> {
  const [code] = await once(spawn('npm', ['run', 'check'], { stdio: 'inherit' }), 'exit')
  return code === 0
}

function refuse(problem: string, status: number): number {
  process.stderr.write(`${problem}\n`)
  return status
}

async function runTests(options: RunOptions, files: readonly string[]): Promise<number> {
  const folder = await mkdtemp(join(await scratchFolder(), 'lessor-run-'))
  // Under root the embedded tests run PostgreSQL as another user, who must pass through.
  await chmod(folder, 0o711)
  // Tests that are killed leave their temporary files in this folder as well.
  process.env.TMPDIR = folder
  await buildTap()
  const server = await startTestServer()
  try {
    const env = {
      TEST_DATABASE_URL: server.url,
      // What one process has compiled the next need not, and types are taken out once.
      NODE_COMPILE_CACHE: join(folder, 'compiled'),
    }
    const reader = new TapReader(show(files.length))
    const status = await runAll(options.jobs, files, reader, env)
    const tallies = reader.end()
    const isServing = await answers(server.url)
    if (options.savesTimes) await writeTimes(new Map(tallies.map(({ file, seconds }) => [file, seconds])))
    return report(files, tallies, { status, isServing, isWhole: options.paths.length === 0 })
  } finally {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

/** runAll resolves with the exit status of what runs the files. */
async function runAll(
  jobs: number,
  files: readonly string[],
  reader: TapReader,
  env: Record<string, string>,
): Promise<number> {
  const all = spawn(process.execPath, [ALL, `${jobs}`, JSON.stringify(files)], {
    stdio: ['inherit', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  })
  // A signal to stop goes to tap, which ends its children; then all is cleaned up here.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => all.kill(signal))
  const exited = once(all, 'exit')
  all.stdout.setEncoding('utf8')
  for await (const text of all.stdout) reader.write(text)
  const [code, signal]: (number | NodeJS.Signals | null)[] = await exited
  if (typeof code === 'number') return code
  return 128 + (typeof signal === 'string' ? constants.signals[signal] : 0)
}

/**
 * buildTap builds tap with the plugins of .taprc where it is not yet: the plugin that .taprc turns off does not start with
 * TypeScript 7.
 */
async function buildTap(): Promise<void> {
  const { stdout } = await execute(process.execPath, [tapCommand(), 'node-options'])
  if (stdout.includes('@tapjs/typescript')) await execute(process.execPath, [tapCommand(), 'build'])
}

/** tapCommand is the script behind the command `tap`, run by this very Node rather than one on the PATH. */
function tapCommand(): string {
  const manifest = createRequire(import.meta.url).resolve('tap/package.json')
  const { bin }: { bin: { tap: string } } = createRequire(import.meta.url)(manifest)
  return join(dirname(manifest), bin.tap)
}

/** show prints a line for each file once it is done, and what failed in it. */
function show(count: number): (tally: FileTally) => void {
  let done = 0
  return ({ file, passed, failed, failures, seconds }) => {
    const place = `${++done}`.padStart(`${count}`.length)
    const what = failed === 0 ? `${passed} passed` : `${passed} passed, ${failed} FAILED`
    console.log(`${place}/${count} ${seconds.toFixed(1).padStart(6)} s  ${file}: ${what}`)
    for (const failure of failures) console.log(told(failure))
  }
}

function told({ name, why }: FileTally['failures'][number]): string {
  return `failed: ${name}${why === '' ? '' : `\n${why.replaceAll(/^/gm, '    ')}`}`
}

interface Ending {
  readonly status: number
  /** Whether the PostgreSQL of the run still answers: without it, tests may have tried nothing. */
  readonly isServing: boolean
  /** Whether all files were asked for. */
  readonly isWhole: boolean
}

function report(
  files: readonly string[],
  tallies: readonly FileTally[],
  { status, isServing, isWhole }: Ending,
): number {
  const slowest = tallies.toSorted((a, b) => b.seconds - a.seconds).slice(0, SLOWEST)
  console.log(
    `\nslowest: ${slowest.map(({ file, seconds }) => `${file} ${Math.round(seconds)} s`).join(', ')}`,
  )
  const passed = tallies.reduce((sum, each) => sum + each.passed, 0)
  const failed = tallies.reduce((sum, each) => sum + each.failed, 0)
  const missing = shortcomings(files, tallies, isWhole)
  if (!isServing) missing.push('the PostgreSQL of the tests has ended before them')
  // Once more at the end, where it is looked for.
  for (const { failures } of tallies) for (const failure of failures) console.log(told(failure))
  if (status !== 0 && failed + missing.length === 0) missing.push(`the run ended with ${status}`)
  for (const each of missing) console.log(`failed: ${each}`)
  console.log(`${passed} passed, ${failed + missing.length} failed`)
  return status !== 0 ? status : failed + missing.length > 0 ? 1 : 0
}
