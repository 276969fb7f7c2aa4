import { statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'

const MEMORY = '/dev/shm'
/** What /dev/shm is where it is memory (TMPFS_MAGIC, statfs(2)); elsewhere it may be a folder of a disk, or missing. */
const TMPFS_MAGIC = 0x01021994
/** A container's has 64 MiB, unless told otherwise. */
const ENOUGH_BYTES = 8 * 1024 ** 3

/**
 * scratchFolder is where tests put what lives as long as they do: memory, where there is plenty of it. Databases are made
 * and dropped by the hundred, and each of them is some three hundred files: ext4 took a third of the processors' time to
 * find an inode that was not deleted just now. TMPDIR, when it is set, is taken instead.
 */
export async function scratchFolder(): Promise<string> {
  if (process.env.TMPDIR !== undefined) return tmpdir()
  const found = await statfs(MEMORY).catch(() => undefined)
  const isMemory = found?.type === TMPFS_MAGIC && found.bavail * found.bsize >= ENOUGH_BYTES
  return isMemory ? MEMORY : tmpdir()
}
