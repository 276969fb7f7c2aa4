// Every tenant is opened cold at the same moment, several times.
import { check, sleep } from 'k6'
import { Gauge } from 'k6/metrics'
import { createAllAtOnce, integer, knockAtOnce, listAllAtOnce, onboard, TREND_STATS } from './lessor.js'

export { handleSummary } from './lessor.js'

const TENANTS = integer('TENANTS')
const STORMS = integer('STORMS')
const CALM_SECONDS = integer('CALM_SECONDS')

/** When each phase began and ended, epoch milliseconds: the runner reads the stalls in between. */
const phases = Array.from({ length: STORMS }, (_, i) => ({
  knocks: { from: new Gauge(`own_knocks_${i}_from`), to: new Gauge(`own_knocks_${i}_to`) },
  storm: { from: new Gauge(`own_storm_${i}_from`), to: new Gauge(`own_storm_${i}_to`) },
}))

export const options = {
  scenarios: { storms: { executor: 'per-vu-iterations', vus: 1, iterations: 1, maxDuration: '120s' } },
  setupTimeout: '150s',
  batch: TENANTS,
  batchPerHost: 0,
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
  },
  summaryTrendStats: TREND_STATS,
}

export function setup() {
  return { tenants: onboard(TENANTS, 0) }
}

export default function storms({ tenants }) {
  // The HTTP connections are opened now, and not by the first storm.
  knockAtOnce(TENANTS)
  for (const [i, { knocks, storm }] of phases.entries()) {
    sleep(CALM_SECONDS)
    timed(knocks, () => knockAtOnce(TENANTS))
    sleep(CALM_SECONDS)
    timed(storm, () => {
      if (i === 0) createAllAtOnce(tenants, 'storm')
      else {
        check(listAllAtOnce(tenants), {
          'every tenant has its one user': (lists) => lists.every(({ total }) => total === 1),
        })
      }
    })
  }
}

function timed({ from, to }, call) {
  from.add(Date.now())
  call()
  to.add(Date.now())
}
