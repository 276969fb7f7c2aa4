import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Binaries } from './binaries.ts'
import { CHILD_ENV } from './cluster.ts'
import { EmbeddedError } from './errors.ts'
import type { Home } from './home.ts'
import { isAlive, isServing, readPidFile, removePidFile } from './pid-file.ts'

const POLL_MS = 20
const FAST_STOP_MS = 15_000
const IMMEDIATE_STOP_MS = 10_000

/** Postmaster is the running server: PostgreSQL's first process, the parent of all others. */
export class Postmaster {
  /** Resolves when it has ended, for whatever reason. */
  readonly exited: Promise<void>
  readonly #child: ChildProcess
  readonly #home: Home
  readonly #logFile: string
  #stopping: Promise<void> | undefined

  private constructor(child: ChildProcess, home: Home, logFile: string) {
    this.#child = child
    this.#home = home
    this.#logFile = logFile
    this.exited = new Promise((resolve) => child.once('exit', () => resolve()))
    // However this process exits, be it in a hurry, PostgreSQL does not outlive it. What was committed survives.
    const quit = () => child.kill('SIGQUIT')
    process.once('exit', quit)
    child.once('exit', () => process.off('exit', quit))
  }

  /**
   * start runs PostgreSQL in a session of its own, so that Ctrl-C in the terminal reaches the
   * service alone, which stops it when it is done with it. It writes to a file rather than to a
   * pipe, so that it outlives a service that is killed. Resolves when the process runs; await
   * {@link ready} before use.
   */
  static async start(
    binaries: Binaries,
    home: Home,
    settings: Readonly<Record<string, string>>,
  ): Promise<Postmaster> {
    const logFile = join(home.path, 'log')
    await rm(logFile, { force: true })
    const log = await open(logFile, 'ax', 0o600)
    try {
      const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
      const child = spawn(binaries.postgres, ['-D', home.data, ...flags], {
        ...home.account,
        cwd: home.path,
        env: CHILD_ENV,
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
      })
      await once(child, 'spawn')
      return new Postmaster(child, home, logFile)
    } finally {
      await log.close()
    }
  }

  /**
   * ready resolves with true when connections are accepted, and with false when it ended first.
   * @throws AbortError when the signal aborts
   */
  async ready(signal: AbortSignal): Promise<boolean> {
    while (this.#running()) {
      const file = await readPidFile(this.#home)
      if (file?.ready === true && file.pid === this.#child.pid) return true
      await sleep(POLL_MS, undefined, { signal })
    }
    return false
  }

  /** output resolves with the last lines that it wrote. */
  async output(): Promise<string> {
    return (await readFile(this.#logFile, 'utf8')).trim().split('\n').slice(-12).join('\n')
  }

  /** stop ends all sessions and shuts down; resolves when the process is gone. Memoised. */
  stop(): Promise<void> {
    this.#stopping ??= shutDown(
      (signal) => this.#child.kill(signal),
      async () => !this.#running(),
    )
    return this.#stopping
  }

  #running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }
}

/**
 * stopLeftover ends a server that a killed process left running on this data, and says whether
 * there was one. Only for who holds the lock of the folder. A pid file whose pid went to another
 * process is removed: PostgreSQL would take that process for itself and not start. Any other stale
 * one is left to PostgreSQL, which looks through it for survivors of the old server.
 * @throws EmbeddedError when it does not end
 */
export async function stopLeftover(home: Home): Promise<boolean> {
  const file = await readPidFile(home)
  if (file === undefined) return false
  if (!(await isServing(file.pid, home))) {
    if (isAlive(file.pid)) await removePidFile(home)
    return false
  }
  await shutDown(
    (signal) => process.kill(file.pid, signal),
    // Not by its pid: where nothing reaps orphans, it stays a zombie.
    async () => !(await isServing(file.pid, home)),
  )
  return true
}

/**
 * shutDown asks for a fast shutdown (SIGINT), then for an immediate one (SIGQUIT), then kills
 * (PostgreSQL's manual, "Shutting Down the Server"). What was committed survives each of them.
 * @throws EmbeddedError when none of them helps
 */
async function shutDown(kill: (signal: NodeJS.Signals) => void, gone: () => Promise<boolean>): Promise<void> {
  const steps: readonly (readonly [NodeJS.Signals, number])[] = [
    ['SIGINT', FAST_STOP_MS],
    ['SIGQUIT', IMMEDIATE_STOP_MS],
    ['SIGKILL', IMMEDIATE_STOP_MS],
  ]
  for (const [signal, patienceMs] of steps) {
    if (await gone()) return
    kill(signal)
    for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += POLL_MS) {
      if (await gone()) return
      await sleep(POLL_MS)
    }
  }
  throw new EmbeddedError('The embedded PostgreSQL does not end, not even by SIGKILL.')
}
