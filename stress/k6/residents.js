// Reads and writes at random over many more tenants than may be resident.
import {
  anyOf,
  createUser,
  deleteUser,
  integer,
  listUsers,
  onboard,
  readUser,
  TREND_STATS,
} from './lessor.js'

export { handleSummary } from './lessor.js'

const WRITES = 0.2

export const options = {
  scenarios: {
    random: { executor: 'constant-vus', vus: integer('CALLERS'), duration: `${integer('SECONDS')}s` },
  },
  setupTimeout: '120s',
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    'http_req_duration{scenario:random}': ['p(95)<3000'],
  },
  summaryTrendStats: TREND_STATS,
}

export function setup() {
  return { tenants: onboard(integer('TENANTS'), 1) }
}

export default function random({ tenants }) {
  const tenant = anyOf(tenants)
  if (Math.random() < WRITES) {
    const { id } = createUser(tenant, `caller ${__VU} round ${__ITER}`)
    deleteUser(tenant, id)
  } else {
    listUsers(tenant, '?page_size=100')
    readUser(tenant, anyOf(tenant.users))
  }
}
