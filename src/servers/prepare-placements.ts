import { isLessorError } from '../errors.ts'
import type { AdminDb, Placement } from '../placement/placement.ts'
import type { Problem } from './capabilities.ts'
import { reasonOf } from './reason.ts'

/** Prepared is what came of making a data server ready. */
export interface Prepared {
  readonly problems: readonly Problem[]
  /** The first refusal. */
  readonly error: unknown
}

/**
 * preparePlacements makes a data server ready for each placement that it can carry.
 * @throws LessorError SERVER_UNAVAILABLE, and what `prepare` throws that is no refusal
 */
export async function preparePlacements(admin: AdminDb, placements: readonly Placement[]): Promise<Prepared> {
  const problems: Problem[] = []
  let first: unknown
  for (const placement of placements) {
    try {
      await placement.prepare(admin)
    } catch (error) {
      if (!isLessorError(error, 'PLACEMENT_UNAVAILABLE')) throw error
      first ??= error
      problems.push({ placement: placement.name, reason: reasonOf(error) })
    }
  }
  return { problems, error: first }
}
