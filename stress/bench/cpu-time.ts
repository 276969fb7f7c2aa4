import { readFileSync } from 'node:fs'

/** Linux counts CPU time in ticks of 10 ms (proc(5), sysconf(_SC_CLK_TCK)). */
const TICK_MS = 10

/** cpuTimeMs is the CPU time that a process has had, in milliseconds; undefined where the system does not tell. */
export function cpuTimeMs(pid: number): number | undefined {
  if (process.platform !== 'linux') return undefined
  // proc(5): the second field is the program's name in parentheses, and may hold spaces.
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

/** cpuTimesMs is that of several processes together; undefined where one of them is gone as well. */
export function cpuTimesMs(pids: readonly number[]): number | undefined {
  try {
    return pids.reduce<number | undefined>((sum, pid) => {
      const ms = cpuTimeMs(pid)
      return sum === undefined || ms === undefined ? undefined : sum + ms
    }, 0)
  } catch {
    return undefined
  }
}
