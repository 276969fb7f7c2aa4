import type { IsolationCheck } from '../isolation/isolation-check.ts'
import { by, one, type ScrapedMetric } from './scraped.ts'

/** isolationMetrics is what the last run of the proof found. */
export function isolationMetrics(check: Pick<IsolationCheck, 'state'>): readonly ScrapedMetric[] {
  return [
    {
      name: 'lessor_isolation_held',
      help: 'Whether the walls between tenants held when they were last tried; NaN before that',
      type: 'gauge',
      read: () => one(check.state.held === undefined ? Number.NaN : Number(check.state.held)),
    },
    {
      name: 'lessor_isolation_last_held_timestamp_seconds',
      help: 'When the walls between tenants were last tried and held; 0 before that',
      type: 'gauge',
      read: () => one((check.state.lastHeldAt ?? 0) / 1000),
    },
    {
      name: 'lessor_isolation_attacks',
      help: 'Attacks of the last run: held off, or failed to be',
      type: 'gauge',
      read: () => by('outcome', { ...check.state.attacks }),
    },
  ]
}
