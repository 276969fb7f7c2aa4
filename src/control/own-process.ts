import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** OwnProcess says which process this is, in words that others on the same machine can check. */
export interface OwnProcess {
  /** For people. */
  readonly name: string
  /** Where a process id means the same as here: this start of the kernel and this PID namespace. Null where that cannot be known. */
  readonly space: string | null
  readonly pid: number
  /** When the system started it, in ticks since its own start: a later process may get the same id. Null where that cannot be known. */
  readonly started: string | null
}

/** readOwnProcess reads what the system says; the space is known on Linux only (proc(5), namespaces(7)). */
export function readOwnProcess(): OwnProcess {
  const { pid } = process
  return { name: `${hostname()}:${pid}`, space: readSpace(), pid, started: readStart(pid) }
}

/** isGone says whether there is no such process, or another one has its id; false when in doubt. */
export function isGone(pid: number, started: string | null = null): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return true
  }
  const now = started === null ? null : readStart(pid)
  return now !== null && now !== started
}

/** Field 22 of /proc/<pid>/stat (proc_pid_stat(5)); the name before it may hold anything, and ends with the last parenthesis. */
function readStart(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    return null
  }
}

function readSpace(): string | null {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    // No Linux, or no /proc: then dead processes are found by their leases.
    return null
  }
}
