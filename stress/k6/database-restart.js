// Callers go on while PostgreSQL is restarted under the service; afterwards all must be well.
import { check, sleep } from 'k6'
import { Counter, Gauge } from 'k6/metrics'
import { anyOf, codeOf, integer, isNewUser, listUsers, onboard, sendUser, TREND_STATS } from './lessor.js'

export { handleSummary } from './lessor.js'

const DURING_SECONDS = integer('DURING_SECONDS')
const AFTER_SECONDS = integer('AFTER_SECONDS')
/** What may be told to callers while the database is away; everything else is a fault of the service's. */
const ALLOWED = [
  'CONNECTION_LOST',
  'POOL_OPEN_FAILED',
  'POOL_SATURATED',
  'TENANT_UNAVAILABLE',
  'SERVER_UNAVAILABLE',
  'CONTROL_UNAVAILABLE',
]

const told = new Map(ALLOWED.map((code) => [code, new Counter(`own_${code}`)]))
const served = new Counter('own_served_during')
/** When the last request was refused, epoch milliseconds; the runner knows when the database was back. */
const lastRefusal = new Gauge('own_last_refusal_at')

const callers = { executor: 'constant-vus', vus: integer('CALLERS') }

export const options = {
  scenarios: {
    during: { ...callers, exec: 'during', duration: `${DURING_SECONDS}s`, gracefulStop: '10s' },
    after: {
      ...callers,
      exec: 'after',
      startTime: `${DURING_SECONDS}s`,
      duration: `${AFTER_SECONDS}s`,
    },
  },
  setupTimeout: '60s',
  thresholds: {
    checks: ['rate==1'],
    'http_req_failed{scenario:after}': ['rate==0'],
    own_served_during: ['count>100'],
  },
  summaryTrendStats: TREND_STATS,
}

export function setup() {
  return { tenants: onboard(integer('TENANTS'), 1) }
}

export function during({ tenants }) {
  const tenant = anyOf(tenants)
  const name = `caller ${__VU} round ${__ITER}`
  const response = sendUser(tenant, name)
  if (isNewUser(tenant, response, name)) {
    served.add(1)
    return
  }
  const code = codeOf(response)
  const isAllowed = check(response, {
    'who is refused is told an allowed code': () => told.has(code),
    'who is refused is told when to come again': (r) =>
      code === 'CONNECTION_LOST' || Number(r.headers['Retry-After']) > 0,
  })
  if (!isAllowed) console.error(`${response.status} ${response.error} ${response.body}`)
  else told.get(code).add(1)
  lastRefusal.add(Date.now())
  sleep(0.05)
}

export function after({ tenants }) {
  listUsers(anyOf(tenants))
  sleep(0.01)
}
