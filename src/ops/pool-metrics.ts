import type { Pools } from '../pool/contract.ts'
import { by, onceATurn, one, type Sample, type ScrapedMetric } from './scraped.ts'

/** poolMetrics is what the engine counts, by pools, callers and connections. */
export function poolMetrics(pools: Pick<Pools, 'counters' | 'gauges'>): readonly ScrapedMetric[] {
  const gauges = onceATurn(() => pools.gauges())
  const counters = onceATurn(() => pools.counters())
  return [
    gauge('lessor_pools', 'Pools by state', () => by('state', gauges().entries)),
    gauge('lessor_pools_outdated', 'Draining pools whose tenant has a newer generation', () =>
      one(gauges().outdated),
    ),
    gauge('lessor_pool_leases', 'Leases held', () => one(gauges().leases)),
    gauge('lessor_pool_waiting', 'Callers that wait for a pool or a connection', () => one(gauges().waiting)),
    gauge('lessor_pool_connections', 'Server connections by state', () => by('state', gauges().connections)),
    counter('lessor_pool_opens_total', 'Pools opened', () => by('outcome', { ...counters().opens })),
    counter('lessor_pool_hits_total', 'Leases of a pool that was open', () => one(counters().hits)),
    counter('lessor_pool_evictions_total', 'Pools evicted', () => by('reason', counters().evictions)),
    counter('lessor_pool_reopened_total', 'Pools reopened shortly after an eviction', () =>
      one(counters().reopened),
    ),
    counter('lessor_pool_idle_extended_total', 'Times that thrash lengthened the idle time of a pool', () =>
      one(counters().idleExtended),
    ),
    counter('lessor_pool_saturated_total', 'Callers refused for want of a connection', () =>
      one(counters().saturated),
    ),
    counter('lessor_pool_displaced_total', 'Waiting callers refused for one of a tenant with fewer', () =>
      one(counters().displaced),
    ),
    counter('lessor_pool_yielded_total', 'Connections given up by a pool in use to one that had less', () =>
      one(counters().yielded),
    ),
    counter('lessor_pool_cancelled_total', 'Statements cancelled at the server', () =>
      one(counters().cancelled),
    ),
    counter(
      'lessor_pool_sent_again_total',
      'Statements sent once more, since the server had no room for their locks and had rolled them back',
      () => one(counters().sentAgain),
    ),
    counter('lessor_pool_connections_opened_total', 'Server connections opened', () =>
      one(counters().connectionsOpened),
    ),
    counter('lessor_pool_connections_closed_total', 'Server connections closed', () =>
      one(counters().connectionsClosed),
    ),
    gauge('lessor_breakers', 'Breakers that are not closed', () => breakers(gauges().breakers)),
    counter('lessor_breaker_opened_total', 'Breakers that opened', () =>
      by('scope', counters().breakers.opened),
    ),
    counter('lessor_breaker_refused_total', 'Callers refused by an open breaker', () =>
      by('scope', counters().breakers.refused),
    ),
  ]
}

/** budgetMetrics is the hard limits, and what of them is in use. */
export function budgetMetrics(pools: Pick<Pools, 'budget'>): readonly ScrapedMetric[] {
  const budget = onceATurn(() => pools.budget())

  function usages(field: 'used' | 'limit' | 'peak'): readonly Sample[] {
    const { entries, connections, opening, waiting, servers } = budget()
    const own = { entries: entries[field], connections: connections[field] }
    return [
      ...by('kind', { ...own, opening: opening[field], waiting: waiting[field] }),
      ...servers.map((each) => [{ kind: 'server', server: each.server }, each[field]] as const),
    ]
  }

  return [
    gauge('lessor_budget_used', 'What of a hard limit is in use', () => usages('used')),
    gauge('lessor_budget_limit', 'Hard limits', () => usages('limit')),
    gauge('lessor_budget_peak', 'The most of a hard limit that was in use since the start', () =>
      usages('peak'),
    ),
    gauge('lessor_server_claims', 'Pools that wait for a connection to a data server', () =>
      budget().servers.map(({ server, claims }) => [{ server }, claims] as const),
    ),
  ]
}

function gauge(name: string, help: string, read: ScrapedMetric['read']): ScrapedMetric {
  return { name, help, type: 'gauge', read }
}

function counter(name: string, help: string, read: ScrapedMetric['read']): ScrapedMetric {
  return { name, help, type: 'counter', read }
}

function breakers(
  scopes: {
    readonly [scope in 'tenant' | 'server']: { readonly open: number; readonly half_open: number }
  },
): readonly Sample[] {
  return Object.entries(scopes).flatMap(([scope, states]) =>
    Object.entries(states).map(([state, count]) => [{ scope, state }, count] as const),
  )
}
