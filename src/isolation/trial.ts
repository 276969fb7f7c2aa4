import type { Identity, Trial } from './report.ts'
import type { Stage } from './stage.ts'

/** trialOf notes one attack of a stage. */
export function trialOf(
  { placement, server }: Stage,
  role: string,
  identity: Identity,
  rest: Pick<Trial, 'object' | 'attack' | 'expected' | 'outcome' | 'holds'>,
): Trial {
  return { placement, server, role, identity, ...rest }
}
