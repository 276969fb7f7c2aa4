import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

export interface TestRun {
  /** Where the test's process works; `file` is below it. */
  readonly root: string
  readonly file: string
  /** On top of this process' own environment. */
  readonly env: Readonly<Record<string, string>>
  /** After so long it is ended. */
  readonly limitMs: number
  readonly signal: AbortSignal
}

export interface TestResult {
  readonly outcome: 'green' | 'red' | 'timeout'
  /** The first test point that failed, or how the process ended. */
  readonly why: string
  readonly ms: number
}

/** A test point of TAP that failed; one that is to do or skipped does not count. */
const FAILED = /^\s*not ok\b(?!.*#\s*(todo|skip))/i

/**
 * runTest runs one test file with this Node until its first failure, its end or the limit, and ends it with all that it
 * has started. @throws the signal's reason when the signal is aborted
 */
export async function runTest({ root, file, env, limitMs, signal }: TestRun): Promise<TestResult> {
  signal.throwIfAborted()
  const startedAt = performance.now()
  const child = spawn(process.execPath, [file], {
    cwd: root,
    // The limit is this one's business: tap's own is for tests that run alone.
    env: { ...process.env, TAP_TIMEOUT: String(Math.ceil(limitMs / 1000)), ...env },
    stdio: ['ignore', 'pipe', 'ignore'],
    // A group of its own, so that it can be ended with its children.
    detached: true,
  })
  const stop = (): void => killGroup(child)
  const timer = setTimeout(() => end('timeout', `did not end within ${Math.round(limitMs)} ms`), limitMs)
  signal.addEventListener('abort', stop)
  let found: Omit<TestResult, 'ms'> | undefined
  const end = (outcome: TestResult['outcome'], why: string): void => {
    found ??= { outcome, why }
    stop()
  }
  createInterface(child.stdout).on('line', (line) => {
    if (FAILED.test(line)) end('red', line.trim())
  })
  try {
    const status = await new Promise<string>((resolve, reject) => {
      child.once('error', reject)
      // Not "close": a child that has left the group could hold the pipe open.
      child.once('exit', (code, by) => resolve(code === 0 ? '' : `ended with ${code ?? by}`))
    })
    signal.throwIfAborted()
    // What was printed last is read after the exit.
    await new Promise((resolve) => setImmediate(resolve))
    found ??= status === '' ? { outcome: 'green', why: '' } : { outcome: 'red', why: status }
    return { ...found, ms: performance.now() - startedAt }
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
    stop()
    child.stdout.destroy()
  }
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // All of the group has ended.
  }
}
