import { isLessorError } from '../errors.ts'
import { sharedFiles } from '../placement/applied-files.ts'
import type { DataFiles } from '../placement/data-files.ts'
import { withLockTimeout } from '../placement/lock-timeout.ts'
import type { AdminDb } from '../placement/placement.ts'
import type { Placements } from '../tenants/login.ts'

/** pendingShared names what the shared tables of a data server lack, and changes nothing. */
export async function pendingShared(admin: AdminDb, files: DataFiles): Promise<readonly string[]> {
  return files.missing(await sharedFiles(admin))
}

/**
 * prepareShared makes a data server ready for all placements that it carries, its shared tables with them,
 * and resolves with the names of the files of sql/app that ran.
 * @throws LessorError PLACEMENT_UNAVAILABLE when it carries none
 */
export async function prepareShared(
  admin: AdminDb,
  placements: Placements,
  lockTimeoutMs: number,
): Promise<readonly string[]> {
  const before = new Set((await sharedFiles(admin)).map(({ name }) => name))
  let unavailable: unknown
  let carried = 0
  for (const placement of placements.values()) {
    try {
      await placement.prepare(withLockTimeout(admin, lockTimeoutMs))
      carried++
    } catch (error) {
      if (!isLessorError(error, 'PLACEMENT_UNAVAILABLE')) throw error
      unavailable = error
    }
  }
  if (carried === 0 && unavailable !== undefined) throw unavailable
  return (await sharedFiles(admin)).map(({ name }) => name).filter((name) => !before.has(name))
}
