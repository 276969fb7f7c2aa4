import type { Scenario } from '../scenario.ts'

/** smoke walks through the whole API of a tenant, with more tenants than may be resident. */
export const smoke: Scenario = {
  name: 'smoke',
  about: 'every route of /v1/users for 48 tenants of which 16 may be resident; half a minute',
  service: {
    POOL_MAX_ENTRIES: '16',
    SERVER_MAX_CONNECTIONS: '24',
    POOL_IDLE_SECONDS: '1',
    // Everything here is reopened soon after its eviction, which else would lengthen the idle time.
    POOL_MAX_IDLE_SECONDS: '1',
    SWEEP_CRON: '* * * * * *',
  },
  script: { TENANTS: '48', CALLERS: '8', SECONDS: '10' },
  maxSeconds: 80,
  claims: ({ service: { evictions } }) =>
    (['capacity', 'idle', 'operator'] as const).map((reason) => ({
      claim: `pools were evicted for the reason ${reason}`,
      held: (evictions[reason] ?? 0) > 0,
    })),
}
