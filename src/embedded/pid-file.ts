import { execFile } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { hasCode } from './errors.ts'
import type { Home } from './home.ts'

const run = promisify(execFile)

/** PidFile is what a running PostgreSQL writes about itself (PostgreSQL, src/include/utils/pidfile.h). */
export interface PidFile {
  readonly pid: number
  readonly port: number
  /** Whether it accepts connections; `pg_ctl start --wait` reads the same line. */
  readonly ready: boolean
}

/** readPidFile resolves with undefined when there is none, or it is only half written. */
export async function readPidFile(home: Home): Promise<PidFile | undefined> {
  let lines: string[]
  try {
    lines = (await readFile(pidFile(home), 'utf8')).split('\n')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
  // The pid is negative when PostgreSQL runs in single-user mode.
  const pid = Math.abs(Number(lines[0]))
  if (!Number.isInteger(pid) || pid === 0) return undefined
  return { pid, port: Number(lines[3]), ready: lines[7]?.trim() === 'ready' }
}

export async function removePidFile(home: Home): Promise<void> {
  await rm(pidFile(home), { force: true })
}

function pidFile(home: Home): string {
  return join(home.data, 'postmaster.pid')
}

/**
 * isServing says whether the process is a PostgreSQL on this data: its working directory is the
 * data folder. That tells it from a process that was given the same pid later, even when the
 * folder was moved in between. A zombie has no working directory, and serves nothing.
 */
export async function isServing(pid: number, home: Home): Promise<boolean> {
  try {
    if (process.platform === 'linux') {
      // Asked as PostgreSQL's own account: root in a container may not look into other users' processes.
      await run('/usr/bin/test', [`/proc/${pid}/cwd`, '-ef', home.data], { ...home.account, cwd: '/' })
      return true
    }
    const { stdout } = await run('/usr/sbin/lsof', ['-a', '-p', String(pid), '-d', 'cwd', '-F', 'n'])
    return stdout.split('\n').includes(`n${home.data}`)
  } catch {
    // Both commands fail for "no" as for a process that is gone.
    return false
  }
}

/** isAlive says whether any process has this pid. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: there is one, of another user.
    return hasCode(error, 'EPERM')
  }
}
