import type { Scenario } from './scenario.ts'
import { residents } from './scenarios/residents.ts'
import { smoke } from './scenarios/smoke.ts'

/** SCENARIOS is what `npm run stress -- <name>` can run. */
export const SCENARIOS: readonly Scenario[] = [smoke, residents]
