// Every route of a tenant's users, over more tenants than may be resident; then a calm time, in
// which pools are swept and evicted by the operator.
import { check, sleep } from 'k6'
import {
  anyOf,
  confirmUser,
  createUser,
  deleteUser,
  evictPool,
  expectForeign,
  expectNoUser,
  integer,
  listUsers,
  listUsersInside,
  onboard,
  readUser,
  TREND_STATS,
} from './lessor.js'

export { handleSummary } from './lessor.js'

const SECONDS = integer('SECONDS')
const CALM_ROUNDS = 4

export const options = {
  scenarios: {
    busy: { executor: 'constant-vus', exec: 'busy', vus: integer('CALLERS'), duration: `${SECONDS}s` },
    calm: {
      executor: 'per-vu-iterations',
      exec: 'calm',
      vus: 1,
      iterations: CALM_ROUNDS,
      startTime: `${SECONDS}s`,
    },
  },
  setupTimeout: '60s',
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    'http_req_duration{scenario:busy}': ['p(95)<2000'],
  },
  summaryTrendStats: TREND_STATS,
}

export function setup() {
  return { tenants: onboard(integer('TENANTS'), 2) }
}

/** busy walks through a user's life in one tenant, and knocks at the doors of another. */
export function busy({ tenants }) {
  const tenant = anyOf(tenants)
  const other = anyOf(tenants.filter(({ number }) => number !== tenant.number))
  const mark = `caller ${__VU} round ${__ITER}`

  const user = createUser(tenant, mark)
  readUser(tenant, user.id)
  listUsers(tenant, '?page_size=100&sort_column=last_name&sort_direction=ascending')
  const found = listUsers(
    tenant,
    `?search_columns=last_name&search=${encodeURIComponent(mark.toUpperCase())}`,
  )
  check(found, {
    'a search finds the one': ({ records }) => records.length === 1 && records[0].id === user.id,
  })
  confirmUser(tenant, user)
  expectNoUser(other, user.id, "another tenant's user")
  expectForeign(tenant, other)
  deleteUser(tenant, user.id)
  expectNoUser(tenant, user.id, 'a deleted user')
  listUsersInside(other)
}

/** calm gives pools the time to become idle, and has one evicted that is used again at once. */
export function calm({ tenants }) {
  const [tenant] = tenants
  readUser(tenant, tenant.users[0])
  evictPool(tenant)
  readUser(tenant, tenant.users[0])
  sleep(1)
}
