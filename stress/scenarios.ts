import type { Scenario } from './scenario.ts'
import { coldStorm } from './scenarios/cold-storm.ts'
import { databaseRestart } from './scenarios/database-restart.ts'
import { drainUnderLoad } from './scenarios/drain-under-load.ts'
import { noisyNeighbour } from './scenarios/noisy-neighbour.ts'
import { residents } from './scenarios/residents.ts'
import { rotateUnderLoad } from './scenarios/rotate-under-load.ts'
import { smoke } from './scenarios/smoke.ts'
import { tenantChurn } from './scenarios/tenant-churn.ts'

/** SCENARIOS is what `npm run stress -- <name>` can run. */
export const SCENARIOS: readonly Scenario[] = [
  smoke,
  residents,
  tenantChurn,
  coldStorm,
  noisyNeighbour,
  rotateUnderLoad,
  drainUnderLoad,
  databaseRestart,
]
