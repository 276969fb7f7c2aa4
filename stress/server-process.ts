import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import type { Readable } from 'node:stream'

const START_TIMEOUT_MS = 60_000
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
  /** File that gets all that it prints; without one that is dropped. */
  readonly log?: string
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
  const child = spawn(process.execPath, [...nodeArguments, script], {
    cwd: folder,
    env: { ...inheritedEnvironment(), ...env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = exitOf(child)
  await once(child, 'spawn')
  const outputs = [child.stdout, child.stderr]
  const file = log === undefined ? undefined : createWriteStream(log, { mode: 0o600 })
  for (const output of outputs) {
    output.resume()
    if (file !== undefined) output.pipe(file, { end: false })
  }
  child.once('close', () => file?.end())
  const stop = () => {
    child.kill('SIGTERM')
    return exited
  }
  try {
    const url = await addressIn(outputs, child, signal)
    return { url, pid: child.pid ?? 0, exited, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** inheritedEnvironment is the part of our environment that children get. */
export function inheritedEnvironment(): Record<string, string> {
  const entries = INHERITED.map((name) => [name, process.env[name]] as const)
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== undefined))
}

/** exitOf resolves with how a child that was spawned has ended. */
export function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 0))
  })
}

/** addressIn resolves with the first address that the server prints. */
function addressIn(outputs: readonly Readable[], child: ChildProcess, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const settle = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      child.removeListener('close', onClose)
      for (const output of outputs) output.removeListener('data', onData)
    }
    const fail = (what: string) => {
      settle()
      reject(new Error(`the server ${what}; it said:\n${text.trim().split('\n').slice(-10).join('\n')}`))
    }
    const onData = (data: Buffer) => {
      text += data.toString('utf8')
      const [address] = ADDRESS.exec(text) ?? []
      if (address === undefined) return
      settle()
      resolve(address)
    }
    const onAbort = () => {
      settle()
      reject(signal.reason)
    }
    const onClose = () => fail('ended')
    const timer = setTimeout(() => fail('did not start in time'), START_TIMEOUT_MS)
    signal.addEventListener('abort', onAbort, { once: true })
    child.once('close', onClose)
    for (const output of outputs) output.on('data', onData)
  })
}
