// Runs the tests on a PostgreSQL of their own: node test/support/run.ts [arguments for tap].
// The last line it prints is "N passed, N failed", the number of assertions.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { constants, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { startTestServer } from './server.ts'
import { type Tally, tally } from './tally.ts'

const execute = promisify(execFile)

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'lessor-run-'))
  // Under root the embedded tests run PostgreSQL as another user, who must pass through.
  await chmod(folder, 0o711)
  const output = join(folder, 'output.tap')
  await buildTap()
  const server = await startTestServer()
  try {
    // Tests that are killed leave their temporary files in this folder as well.
    const status = await runTap(args, output, { TEST_DATABASE_URL: server.url, TMPDIR: folder })
    const counted = tally(await readFile(output, 'utf8'))
    return report(counted, status)
  } finally {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * runTap resolves with tap's exit status and leaves its TAP in the file `output`. tap's reporter for
 * people redraws the screen, so that a log gets the TAP itself. (Both at once are no way: with
 * `--reporter=tap` and `--output-file` tap 21 prints every line twice.)
 */
async function runTap(args: readonly string[], output: string, env: Record<string, string>): Promise<number> {
  const drawn = process.stdout.isTTY
  const how = drawn ? [`--output-file=${output}`] : ['--reporter=tap']
  const tap = spawn(process.execPath, [tapCommand(), ...how, ...args], {
    stdio: ['inherit', drawn ? 'inherit' : 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  })
  // A signal to stop goes to tap, which ends its children; then all is cleaned up here.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => tap.kill(signal))
  const exited = once(tap, 'exit')
  if (tap.stdout !== null) {
    tap.stdout.pipe(process.stdout, { end: false })
    await pipeline(tap.stdout, createWriteStream(output))
  }
  const [code, signal]: (number | NodeJS.Signals | null)[] = await exited
  if (typeof code === 'number') return code
  return 128 + (typeof signal === 'string' ? constants.signals[signal] : 0)
}

/**
 * buildTap builds tap with the plugins of .taprc where it is not yet. tap does so itself when it
 * runs tests, but too late for that run (@tapjs/run, src/run.ts), and the plugin that .taprc turns
 * off does not start with TypeScript 7.
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

function report({ passed, failed, failures }: Tally, status: number): number {
  const missing =
    failed > 0 ? [] : passed === 0 ? ['no assertion ran'] : status !== 0 ? [`tap ended with ${status}`] : []
  for (const { name, why } of failures) {
    console.log(`failed: ${name}`)
    if (why !== '') console.log(why.replaceAll(/^/gm, '    '))
  }
  for (const each of missing) console.log(`failed: ${each}`)
  console.log(`${passed} passed, ${failed + missing.length} failed`)
  return status !== 0 ? status : failed + missing.length > 0 ? 1 : 0
}
