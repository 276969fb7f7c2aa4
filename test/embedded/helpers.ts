import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { type Embedded, type EmbeddedOptions, startEmbedded } from '../../src/embedded/start-embedded.ts'
import { withAdmin } from '../support/template.ts'

/** SERVICE is the stand-in for the service. */
export const SERVICE = fileURLToPath(new URL('./service.ts', import.meta.url))

/** makeFolder makes a temporary folder that other users can pass through, removed at teardown. */
export async function makeFolder(t: Test, mode = 0o711): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'lessor-embedded-')))
  await chmod(folder, mode)
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** start runs the embedded PostgreSQL in this process, with fast settings, stopped at teardown. */
export async function start(
  t: Test,
  directory: string,
  options: Partial<EmbeddedOptions> = {},
): Promise<Embedded> {
  const server = await startEmbedded({ directory, durable: false, ...options })
  t.teardown(() => server.stop())
  return server
}

/** answers says whether the server answers to its own URL. */
export async function answers({ url }: Embedded): Promise<boolean> {
  const rows = await withAdmin(url.reveal(), (sql) => sql`select 1 as one`)
  return rows[0]?.one === 1
}

/** postmasterPid is the process id that PostgreSQL wrote down. */
export async function postmasterPid(directory: string): Promise<number> {
  return Number.parseInt(await readFile(join(directory, 'data', 'postmaster.pid'), 'utf8'), 10)
}

/** isRunning says whether there is such a process that is no zombie. */
export async function isRunning(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
    if (process.platform !== 'linux') return true
    return !/\) Z/.test(await readFile(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** ended resolves when the process is gone. */
export async function ended(pid: number): Promise<void> {
  while (await isRunning(pid)) await sleep(10)
}

/** Service is the stand-in for the service, in a process group of its own like a terminal's job. */
export interface Service {
  readonly process: ChildProcess
  readonly pid: number
  readonly url: string
  /** What it said until it ended, and how it ended. */
  end(): Promise<{ readonly output: readonly string[]; readonly code: number | null }>
}

export async function startService(t: Test, directory: string): Promise<Service> {
  const child = spawn(process.execPath, [SERVICE, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  const exited = once(child, 'close')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
  })
  const output: string[] = []
  const lines = createInterface(child.stdout)
  lines.on('line', (line) => output.push(line))
  await Promise.race([once(lines, 'line'), exited])
  const { url }: { url: string } = JSON.parse(output[0] ?? '{}')
  return {
    process: child,
    pid: child.pid ?? 0,
    url,
    async end() {
      const [code] = await exited
      return { output: output.slice(1), code }
    },
  }
}
