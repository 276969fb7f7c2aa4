import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { inheritedPostgres } from '../postgres/environment.ts'
import { compileCache } from './compile-cache.ts'
import { UNWATCHED } from './unwatched.ts'

const SERVER = fileURLToPath(new URL('../../src/server.ts', import.meta.url))

interface Scope {
  teardown(fn: () => Promise<void>): void
}

export interface ServiceOptions {
  /** The working directory, where `.env` and `.lessor` are. */
  readonly directory: string
  readonly environment?: Readonly<Record<string, string>>
  /** JavaScript that the process runs before the service. */
  readonly preload?: string
}

/** Service is the real process that `npm start` runs. */
export interface Service {
  readonly pid: number
  stdout(): string
  stderr(): string
  /** Log lines so far. */
  logged(): Record<string, unknown>[]
  kill(signal: NodeJS.Signals): void
  /** Resolves with the exit status, or with the signal that ended it. */
  readonly exited: Promise<number | string>
  /** Resolves with the base URL when it listens; rejects with what it said when it ends before. */
  listening(): Promise<string>
}

/** startService starts src/server.ts on a free port, with no environment but this; ended with `t`. */
export function startService(t: Scope, options: ServiceOptions): Service {
  const { directory, environment = {}, preload } = options
  const before =
    preload === undefined ? [] : ['--import', `data:text/javascript,${encodeURIComponent(preload)}`]
  const child = spawn(process.execPath, [...before, SERVER], {
    cwd: directory,
    env: {
      PATH: process.env.PATH ?? '',
      PORT: '0',
      ...inheritedPostgres(),
      ...compileCache(),
      ...UNWATCHED,
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    output.stderr += text
  })
  const exited = once(child, 'close').then(([code, signal]) => code ?? signal)
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
  })

  function logged(): Record<string, unknown>[] {
    return output.stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line))
  }

  async function listening(): Promise<string> {
    const isOver = exited.then(() => true)
    for (;;) {
      const [, url] = /Server listening at (https?:\/\/[^"]+)"/.exec(output.stdout) ?? []
      if (url !== undefined) return url
      if ((await Promise.race([isOver, once(child.stdout, 'data')])) === true) {
        throw new Error(`the service ended:\n${output.stderr}${output.stdout}`)
      }
    }
  }

  return {
    pid: child.pid ?? 0,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    logged,
    kill: (signal) => child.kill(signal),
    exited,
    listening,
  }
}
