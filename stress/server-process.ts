import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { inheritedPostgres } from '../test/postgres/environment.ts'
import { compileCache } from '../test/support/compile-cache.ts'

const START_TIMEOUT_MS = 60_000
/** How often the log is looked at while the server starts. */
const LOOK_MS = 25
/** What a child gets of our environment; a DATABASE_URL in there must not reach the service. */
const INHERITED = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'XDG_CACHE_HOME']
const ADDRESS = /http:\/\/127\.0\.0\.1:\d+/

/** ServerProcess is an HTTP server of ours in a process of its own. */
export interface ServerProcess {
  /** Without a path. */
  readonly url: string
  readonly pid: number
  /** Resolves when it has ended. */
  readonly exited: Promise<Exit>
  /** stop asks it to end, and resolves when it has. Memoised. */
  stop(): Promise<Exit>
}

/** Exit is a process's exit status, or the signal that ended it. */
export type Exit = number | NodeJS.Signals

export interface ServerProcessOptions {
  /** TypeScript file, run by this very Node. */
  readonly script: string
  /** Arguments for Node itself. */
  readonly nodeArguments?: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Working directory, so that no `.env` file of the developer's is read. */
  readonly folder: string
  /**
   * File that gets all that it prints. The server writes to it directly: through a pipe it would have to
   * wait for us, who are busy with putting load on it.
   */
  readonly log: string
  /** Aborts the start; what was started is stopped. */
  readonly signal: AbortSignal
}

/**
 * startServer starts a server and resolves when it has printed its address. It runs in a session of
 * its own, so that Ctrl-C in the terminal reaches us alone, who stop it in order.
 * @throws Error with what it printed last, when it ends or says nothing
 */
export async function startServer(options: ServerProcessOptions): Promise<ServerProcess> {
  const { script, nodeArguments = [], env, folder, log, signal } = options
  signal.throwIfAborted()
  const file = await open(log, 'w', 0o600)
  try {
    const child = spawn(process.execPath, [...nodeArguments, script], {
      cwd: folder,
      env: { ...inheritedEnvironment(), ...env },
      detached: true,
      stdio: ['ignore', file.fd, file.fd],
    })
    const exited = exitOf(child)
    await once(child, 'spawn')
    const stop = () => {
      child.kill('SIGTERM')
      return exited
    }
    try {
      const url = await addressIn(log, exited, signal)
      return { url, pid: child.pid ?? 0, exited, stop }
    } catch (error) {
      await stop()
      throw error
    }
  } finally {
    await file.close()
  }
}

/** inheritedEnvironment is the part of our environment that children get. */
export function inheritedEnvironment(): Record<string, string> {
  const entries = INHERITED.map((name) => [name, process.env[name]] as const)
  const own = Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== undefined))
  return { ...own, ...inheritedPostgres(), ...compileCache() }
}

/** exitOf resolves with how a child that was spawned has ended. */
export function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 0))
  })
}

/** addressIn resolves with the first address that the server writes into its log. */
async function addressIn(log: string, exited: Promise<Exit>, signal: AbortSignal): Promise<string> {
  let failure: string | undefined
  const deadline = AbortSignal.timeout(START_TIMEOUT_MS)
  void exited.then(() => {
    failure = 'ended'
  })
  for (;;) {
    // Looked at before the log is read, so that what the server said last is in it.
    const failed = deadline.aborted ? 'did not start in time' : failure
    const text = await readFile(log, 'utf8')
    const [address] = ADDRESS.exec(text) ?? []
    if (address !== undefined) return address
    if (failed !== undefined) {
      throw new Error(`the server ${failed}; it said:\n${text.trim().split('\n').slice(-10).join('\n')}`)
    }
    await sleep(LOOK_MS, undefined, { signal })
  }
}
