import type { Figures } from '../../stress/scenario.ts'

/** GOOD is a run in which everything is as it should be. */
export const GOOD: Figures = {
  k6: {
    exit: 0,
    seconds: 2,
    requests: 10,
    requestsPerSecond: 5,
    failedRate: 0,
    iterations: 5,
    duration: { p50: 1, p95: 2, p99: 3, max: 40 },
    counters: {},
    gauges: {},
    trends: {},
    checks: [{ name: 'right', passes: 10, fails: 0 }],
    crossed: [],
  },
  service: {
    limits: { pools: 5, connections: 8, opening: 4 },
    pools: { peak: 5, last: 2 },
    connections: { peak: 8, last: 2 },
    leases: { peak: 3, last: 0 },
    waiting: { peak: 1, last: 0 },
    opening: { peak: 4, last: 0 },
    stallMs: { peak: 12, last: 3 },
    stalls: [],
    hits: 20,
    opens: { ok: 6, failed: 0 },
    reopened: 1,
    saturated: 0,
    connectionsOpened: 9,
    evictions: { idle: 3, capacity: 1 },
    openMs: { p50: 10, p95: 25 },
    leaseWaitMs: { p50: undefined, p95: Number.POSITIVE_INFINITY },
    drainMs: { p50: 5, p95: 5 },
    statuses: { 200: 20, 404: 2, 500: 0 },
  },
  facts: {},
  end: { exit: 0, isPostgresLeft: false },
}

/** withK6 is that run with other figures of k6. */
export function withK6(k6: Partial<Figures['k6']>, facts: Figures['facts'] = {}): Figures {
  return { ...GOOD, k6: { ...GOOD.k6, ...k6 }, facts }
}

/** withService is that run with other figures of the service. */
export function withService(service: Partial<Figures['service']>, facts: Figures['facts'] = {}): Figures {
  return { ...GOOD, service: { ...GOOD.service, ...service }, facts }
}
