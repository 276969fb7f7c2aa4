// One tenant with hundreds of callers, others with one each, and hardly a connection for each of them.
import { check, sleep } from 'k6'
import { Counter, Trend } from 'k6/metrics'
import { integer, isNewUser, listUsers, onboard, sendUserAsync, TREND_STATS } from './lessor.js'

export { handleSummary } from './lessor.js'

const SMALL = integer('SMALL')
const CALLERS = integer('CALLERS')
const QUIET_SECONDS = integer('QUIET_SECONDS')
const NOISY_SECONDS = integer('NOISY_SECONDS')
/** Callers in one k6 user: a user of its own costs a megabyte. */
const CALLERS_PER_USER = 50
/** The trigger makes a user of this name take a while. */
const SLOW = 'slow'
const THINK_SECONDS = 0.02

const quietMs = new Trend('own_small_in_quiet', true)
const besideMs = new Trend('own_small_beside', true)
const noisyMs = new Trend('own_noisy', true)
const besideCount = new Counter('own_small_requests_beside')

export const options = {
  scenarios: {
    quiet: {
      executor: 'constant-vus',
      exec: 'quiet',
      vus: SMALL,
      duration: `${QUIET_SECONDS}s`,
    },
    noisy: {
      executor: 'per-vu-iterations',
      exec: 'noisy',
      vus: CALLERS / CALLERS_PER_USER,
      iterations: 1,
      startTime: `${QUIET_SECONDS}s`,
      maxDuration: `${NOISY_SECONDS + 30}s`,
    },
    beside: {
      executor: 'constant-vus',
      exec: 'beside',
      vus: SMALL,
      // The noisy one's callers have all come by then.
      startTime: `${QUIET_SECONDS + 2}s`,
      duration: `${NOISY_SECONDS - 2}s`,
    },
  },
  setupTimeout: '60s',
  thresholds: { checks: ['rate==1'], http_req_failed: ['rate==0'] },
  summaryTrendStats: TREND_STATS,
}

/** The first is the noisy one. */
export function setup() {
  return { tenants: onboard(SMALL + 1, 1) }
}

export function quiet({ tenants }) {
  callOf(tenants, quietMs)
}

export function beside({ tenants }) {
  callOf(tenants, besideMs)
  besideCount.add(1)
}

export async function noisy({ tenants: [tenant] }) {
  const until = Date.now() + 1000 * NOISY_SECONDS
  await Promise.all(Array.from({ length: CALLERS_PER_USER }, () => callUntil(tenant, until)))
}

function callOf([, ...small], trend) {
  const start = Date.now()
  listUsers(small[__VU % small.length])
  trend.add(Date.now() - start)
  sleep(THINK_SECONDS)
}

async function callUntil(tenant, until) {
  while (Date.now() < until) {
    const response = await sendUserAsync(tenant, SLOW)
    noisyMs.add(response.timings.duration)
    check(response, { 'the noisy one is served as well': (r) => isNewUser(tenant, r, SLOW) })
  }
}
