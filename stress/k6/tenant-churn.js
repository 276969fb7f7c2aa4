// Tenants come, work and are deleted, while others work on.
import { check, fail, sleep } from 'k6'
import { Counter } from 'k6/metrics'
import {
  anyOf,
  createUser,
  deleteTenant,
  deleteUser,
  expectClosed,
  integer,
  listUsers,
  onboard,
  onboardOne,
  readStatus,
  readUser,
  TREND_STATS,
} from './lessor.js'

export { handleSummary } from './lessor.js'

const SECONDS = integer('SECONDS')
const WRITES = 0.2
/** Numbers of the tenants that come and go, apart from those that stay. */
const FIRST_NUMBER = 10_000
const PER_CALLER = 1000
const DELETED_WITHIN_S = 15

const churned = new Counter('own_tenants_come_and_gone')

export const options = {
  scenarios: {
    stayers: { executor: 'constant-vus', exec: 'stay', vus: integer('STAYERS'), duration: `${SECONDS}s` },
    comers: { executor: 'constant-vus', exec: 'come', vus: integer('COMERS'), duration: `${SECONDS}s` },
  },
  setupTimeout: '120s',
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    'http_req_duration{scenario:stayers}': ['p(95)<3000'],
    own_tenants_come_and_gone: ['count>=8'],
  },
  summaryTrendStats: TREND_STATS,
}

export function setup() {
  return { tenants: onboard(integer('TENANTS'), 1) }
}

export function stay({ tenants }) {
  const tenant = anyOf(tenants)
  if (Math.random() < WRITES) {
    const { id } = createUser(tenant, `caller ${__VU} round ${__ITER}`)
    deleteUser(tenant, id)
  } else {
    listUsers(tenant, '?page_size=100')
    readUser(tenant, anyOf(tenant.users))
  }
}

export function come() {
  const tenant = onboardOne(FIRST_NUMBER + PER_CALLER * __VU + __ITER)
  const { id } = createUser(tenant, `caller ${__VU} round ${__ITER}`)
  readUser(tenant, id)
  const list = listUsers(tenant)
  check(list, { 'a new tenant has its one user': ({ total }) => total === 1 })
  deleteTenant(tenant)
  expectClosed(tenant)
  const deadline = Date.now() + 1000 * DELETED_WITHIN_S
  for (let status = readStatus(tenant); status !== 'deleted'; status = readStatus(tenant)) {
    if (Date.now() > deadline) fail(`a tenant is ${status} ${DELETED_WITHIN_S} s after its deletion`)
    sleep(0.1)
  }
  expectClosed(tenant)
  churned.add(1)
}
