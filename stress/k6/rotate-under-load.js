// Tenants are given new logins, one after the other, while all of them work.
import { Counter } from 'k6/metrics'
import {
  anyOf,
  createUser,
  deleteUser,
  integer,
  listUsers,
  onboard,
  readUser,
  rotateCredential,
  TREND_STATS,
} from './lessor.js'

export { handleSummary } from './lessor.js'

const SECONDS = integer('SECONDS')
const TENANTS = integer('TENANTS')
const WRITES = 0.2

const rotations = new Counter('own_rotations')

export const options = {
  scenarios: {
    load: { executor: 'constant-vus', exec: 'load', vus: integer('CALLERS'), duration: `${SECONDS}s` },
    rotator: { executor: 'constant-vus', exec: 'rotate', vus: 1, duration: `${SECONDS}s` },
  },
  setupTimeout: '60s',
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    'http_req_duration{scenario:load}': ['p(95)<2000'],
    own_rotations: [`count>=${TENANTS}`],
  },
  summaryTrendStats: TREND_STATS,
}

export function setup() {
  return { tenants: onboard(TENANTS, 1) }
}

export function load({ tenants }) {
  const tenant = anyOf(tenants)
  if (Math.random() < WRITES) {
    const { id } = createUser(tenant, `caller ${__VU} round ${__ITER}`)
    deleteUser(tenant, id)
  } else {
    listUsers(tenant, '?page_size=100')
    readUser(tenant, anyOf(tenant.users))
  }
}

export function rotate({ tenants }) {
  rotateCredential(tenants[__ITER % tenants.length])
  rotations.add(1)
}
