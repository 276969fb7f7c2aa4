import t from 'tap'
import { MetricsText } from '../../stress/prometheus.ts'
import { Peaks } from '../../stress/service-figures.ts'

interface Look {
  readonly ready: number
  readonly waiting: number
  readonly stallSeconds: number
}

function scrape({ ready, waiting, stallSeconds }: Look): MetricsText {
  return new MetricsText(`
lessor_pools{state="opening"} 1
lessor_pools{state="ready"} ${ready}
lessor_pool_leases 0
lessor_pool_waiting ${waiting}
lessor_budget_peak{kind="opening"} 8
lessor_budget_peak{kind="entries"} 500
lessor_budget_used{kind="opening"} 0
nodejs_eventloop_lag_max_seconds ${stallSeconds}
lessor_pool_hits_total 5
lessor_pool_opens_total{outcome="ok"} 3
lessor_pool_reopened_total 0
lessor_pool_saturated_total 0
lessor_pool_connections_opened_total 4
lessor_pool_evictions_total{reason="idle"} 2
lessor_pool_open_seconds_bucket{le="+Inf"} 0
lessor_pool_lease_wait_seconds_bucket{le="+Inf"} 0
lessor_pool_drain_seconds_bucket{le="+Inf"} 0
http_request_duration_seconds_count{status="200"} 9
`)
}

t.test('peaks are the highest of all looks, and a stall is told with when it was', async (t) => {
  const peaks = new Peaks({ pools: 500, connections: 80, opening: 8 })
  peaks.see({ at: 1000, sessions: 3, metrics: scrape({ ready: 7, waiting: 2, stallSeconds: 0.06 }) })
  peaks.seeSessions(12)
  const figures = peaks.figures({
    at: 2000,
    sessions: 4,
    metrics: scrape({ ready: 2, waiting: 0, stallSeconds: 0.01 }),
  })
  t.strictSame(figures.pools, { peak: 8, last: 3 })
  t.strictSame(figures.connections, { peak: 12, last: 4 })
  t.strictSame(figures.waiting, { peak: 2, last: 0 })
  t.strictSame(figures.opening, { peak: 8, last: 0 })
  // The service looks every 10 ms; what is above that is a stall.
  t.strictSame(figures.stalls, [
    { at: 1000, ms: 50 },
    { at: 2000, ms: 0 },
  ])
  t.strictSame(figures.stallMs, { peak: 50, last: 0 })
})
