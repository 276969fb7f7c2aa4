import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** OwnProcess says which process this is, in words that others on the same machine can check. */
export interface OwnProcess {
  /** For people. */
  readonly name: string
  /** Where a process id means the same as here: this start of the kernel and this PID namespace. Null where that cannot be known. */
  readonly space: string | null
  readonly pid: number
}

/** readOwnProcess reads what the system says; the space is known on Linux only (proc(5), namespaces(7)). */
export function readOwnProcess(): OwnProcess {
  const { pid } = process
  return { name: `${hostname()}:${pid}`, space: readSpace(), pid }
}

/** isGone says whether there is no such process; false when in doubt. */
export function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH'
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
