import type { Figures, Scenario } from '../scenario.ts'

const TENANTS = 500
const STORMS = 3
/** The watch looks at the metrics that often, and a look tells of the time before it. */
const LOOK_MS = 300
/**
 * How much longer than by as many requests without a tenant the event loop may be held up. A machine of
 * two cores runs k6, the service and PostgreSQL, so that it is generous: the 25 ms that the engine has to
 * keep are measured where it is alone, by `npm run scale`. All logins in one go would take 300 ms and more.
 */
const MORE_MS = 100

/**
 * coldStorm opens all tenants at the same moment, three times: their pools are swept in between. As many
 * requests that need no pool come before, to tell what HTTP alone does to the event loop.
 */
export const coldStorm: Scenario = {
  name: 'cold-storm',
  about: `${TENANTS} tenants are opened cold at the same moment, ${STORMS} times; a minute`,
  service: {
    POOL_MAX_ENTRIES: String(TENANTS),
    POOL_IDLE_SECONDS: '1',
    // Every storm comes soon after the last, which else would lengthen the idle time.
    POOL_MAX_IDLE_SECONDS: '1',
    POOL_ACQUIRE_TIMEOUT_MS: '15000',
    SWEEP_CRON: '* * * * * *',
    TRUSTED_NETWORKS: '127.0.0.0/8',
  },
  script: { TENANTS: String(TENANTS), STORMS: String(STORMS), CALM_SECONDS: '2' },
  maxSeconds: 240,
  claims(figures) {
    const { opens } = figures.service
    const storms = stallsIn(figures, 'storm')
    const knocks = stallsIn(figures, 'knocks')
    // Other processes only add to a stall, so the shortest of each tells most of this one.
    const [storm, knock] = [Math.min(...storms), Math.min(...knocks)]
    return [
      {
        claim: 'every storm opened every tenant',
        held: (opens.ok ?? 0) >= STORMS * TENANTS,
        seen: `${opens.ok} opened`,
      },
      {
        claim: `storms held up the event loop for ${list(storms)} ms, requests without a tenant for ${list(knocks)} ms: the shortest at most ${MORE_MS} ms longer`,
        held: storm <= knock + MORE_MS,
        seen: `${(storm - knock).toFixed(0)} ms longer`,
      },
    ]
  },
}

/** stallsIn returns the longest stall in each phase of that name. @throws Error when nobody looked then */
function stallsIn({ k6, service }: Figures, phase: 'storm' | 'knocks'): readonly number[] {
  return Array.from({ length: STORMS }, (_, i) => {
    const [from = 0, to = 0] = [k6.gauges[`${phase}_${i}_from`], k6.gauges[`${phase}_${i}_to`]]
    const seen = service.stalls.filter(({ at }) => at > from && at <= to + LOOK_MS)
    if (seen.length === 0) throw new Error(`the service was not looked at in ${phase} ${i}`)
    return Math.max(...seen.map(({ ms }) => ms))
  })
}

function list(times: readonly number[]): string {
  return times.map((ms) => ms.toFixed(0)).join(', ')
}
