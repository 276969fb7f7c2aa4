import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { PostgresVersion } from './versions.ts'

/** Outcome is how the tests went on one version. */
export interface Outcome {
  readonly version: PostgresVersion
  readonly passed: number
  readonly failed: number
  readonly tookMs: number
}

export interface MatrixOptions {
  readonly versions: readonly PostgresVersion[]
  /** What is tap's. */
  readonly args: readonly string[]
  /** Script that runs the tests, as test/support/run.ts does. */
  readonly runner: string
  readonly write: (text: string) => void
  /** Aborts the run that is under way, in order; the others are left out. */
  readonly signal: AbortSignal
}

/** runMatrix runs the tests on one version after the other: each run has the machine to itself. */
export async function runMatrix(options: MatrixOptions): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = []
  for (const version of options.versions) {
    if (options.signal.aborted) break
    options.write(`PostgreSQL ${version}\n`)
    outcomes.push(await runOn(version, options))
  }
  return outcomes
}

/** tableOf shows the outcomes; its last line is the sum. */
export function tableOf(outcomes: readonly Outcome[]): string {
  const rows = outcomes.map(({ version, passed, failed, tookMs }) =>
    [version, String(passed), String(failed), timeOf(tookMs)].map((cell) => cell.padStart(10)).join(' '),
  )
  const head = ['PostgreSQL', 'passed', 'failed', 'time'].map((cell) => cell.padStart(10)).join(' ')
  const sum = (of: (outcome: Outcome) => number) => outcomes.reduce((total, each) => total + of(each), 0)
  const total = `${sum(({ passed }) => passed)} passed, ${sum(({ failed }) => failed)} failed`
  return `${[head, ...rows, total].join('\n')}\n`
}

async function runOn(version: PostgresVersion, options: MatrixOptions): Promise<Outcome> {
  const { runner, args, write, signal } = options
  const startedAt = performance.now()
  const child = spawn(process.execPath, [runner, '--postgres', version, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const stop = () => child.kill('SIGTERM')
  signal.addEventListener('abort', stop, { once: true })
  const closed = once(child, 'close')
  let counted = { passed: 0, failed: 0 }
  for await (const line of createInterface(child.stdout)) {
    write(`${line}\n`)
    const [, passed, failed] = /^(\d+) passed, (\d+) failed$/.exec(line) ?? []
    if (passed !== undefined) counted = { passed: Number(passed), failed: Number(failed) }
  }
  const [status]: (number | null)[] = await closed
  signal.removeEventListener('abort', stop)
  // Without a count the run did not come as far as its tests, or was ended.
  const isWrong = counted.failed === 0 && (status !== 0 || counted.passed === 0)
  return {
    version,
    passed: counted.passed,
    failed: isWrong ? 1 : counted.failed,
    tookMs: performance.now() - startedAt,
  }
}

function timeOf(ms: number): string {
  const seconds = Math.round(ms / 1000)
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}
