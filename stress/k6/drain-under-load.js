// Callers write until the service is gone; which of their writes were confirmed is counted.
import { check, sleep } from 'k6'
import { Counter } from 'k6/metrics'
import { anyOf, integer, isNewUser, onboard, sendUser, TREND_STATS } from './lessor.js'

export { handleSummary } from './lessor.js'

/** Nobody listens any more: "dial: connection refused" (k6, error codes). */
const REFUSED = 1212

const confirmed = new Counter('own_confirmed')
const refused = new Counter('own_refused')
/** The connection ended before an answer came: the service must not have taken such a request on. */
const cutOff = new Counter('own_cut_off')

const callers = { vus: integer('CALLERS'), duration: `${integer('SECONDS')}s`, executor: 'constant-vus' }

export const options = {
  scenarios: {
    // Half of them keep their connection, half of them come with a new one each time.
    keeping: { ...callers, exec: 'write', tags: { connection: 'kept' } },
    coming: { ...callers, exec: 'writeAnew', tags: { connection: 'new' } },
  },
  setupTimeout: '60s',
  thresholds: { checks: ['rate==1'], own_confirmed: ['count>100'], own_refused: ['count>0'] },
  summaryTrendStats: TREND_STATS,
}

export function setup() {
  return { tenants: onboard(integer('TENANTS'), 1) }
}

export function write({ tenants }) {
  send(anyOf(tenants), {})
}

export function writeAnew({ tenants }) {
  send(anyOf(tenants), { connection: 'close' })
}

function send(tenant, headers) {
  const name = `caller ${__VU} round ${__ITER}`
  const response = sendUser(tenant, name, headers)
  if (response.status === 0) {
    if (response.error_code === REFUSED) refused.add(1)
    else cutOff.add(1)
    sleep(0.2)
    return
  }
  const isRight = check(response, {
    'whoever is answered is answered right': (r) => isNewUser(tenant, r, name),
  })
  if (isRight) confirmed.add(1)
}
