// What the scenarios share: onboarding, and calls that check that an answer is right.
import { check, fail } from 'k6'
import http from 'k6/http'

const URL = __ENV.LESSOR_URL
const OPERATOR = { authorization: `Bearer ${__ENV.OPERATOR_KEY}` }
const JSON_BODY = { 'content-type': 'application/json' }
/** argon2 makes onboarding dear; more at once would only wait for each other. */
const ONBOARDED_AT_ONCE = 4

/** TREND_STATS are the figures that the runner reads; each script names them in its options. */
export const TREND_STATS = ['med', 'p(95)', 'p(99)', 'max']

/** integer reads a number that the runner set. */
export function integer(name) {
  return Number.parseInt(__ENV[name], 10)
}

/** handleSummary leaves all figures to the runner, which prints them with the service's own. */
export function handleSummary(data) {
  return { [__ENV.SUMMARY_FILE]: JSON.stringify(data) }
}

/** anyOf returns one of the items at random. */
export function anyOf(items) {
  return items[Math.floor(Math.random() * items.length)]
}

/**
 * onboard makes tenants 0 to count - 1, each with `seeds` users. Whose a user is shows in its first
 * name, so that every answer can be checked for rows of others.
 */
export function onboard(count, seeds) {
  const tenants = []
  while (tenants.length < count) {
    const numbers = Array.from(
      { length: Math.min(ONBOARDED_AT_ONCE, count - tenants.length) },
      (_, i) => tenants.length + i,
    )
    const requests = numbers.map((number) => [
      'POST',
      `${URL}/v1/tenants`,
      JSON.stringify({ name: `stress ${number}` }),
      { headers: { ...OPERATOR, ...JSON_BODY }, tags: { name: 'POST /v1/tenants' } },
    ])
    for (const [i, response] of http.batch(requests).entries()) {
      if (response.status !== 201) fail(`onboarding answered ${response.status}: ${response.body}`)
      const { tenant, api_key } = response.json()
      tenants.push({ number: numbers[i], id: tenant.id, key: api_key.key, users: [] })
    }
  }
  for (const tenant of tenants) {
    for (let i = 0; i < seeds; i++) tenant.users.push(createUser(tenant, `seed ${i}`).id)
  }
  return tenants
}

/** createUser adds a user of this tenant and returns it. */
export function createUser(tenant, lastName) {
  const body = JSON.stringify({ first_name: firstName(tenant), last_name: lastName })
  const response = http.post(`${URL}/v1/users`, body, asTenant(tenant, 'POST /v1/users', JSON_BODY))
  const user = expectStatus(response, 201)
  check(response, {
    'a new user has its values': () => isOwn(tenant, user) && user.last_name === lastName && !user.confirmed,
    'a new user has its location': (r) => r.headers.Location === `/v1/users/${user.id}`,
  })
  return user
}

/** listUsers reads a page and checks that every row is this tenant's. */
export function listUsers(tenant, query = '') {
  const response = http.get(`${URL}/v1/users${query}`, asTenant(tenant, 'GET /v1/users'))
  return checkList(tenant, response)
}

/** listUsersInside does the same by the route for trusted networks, which takes no key. */
export function listUsersInside(tenant) {
  const params = { headers: { 'x-tenant-id': tenant.id }, tags: { name: 'GET /v1/internal/users' } }
  return checkList(tenant, http.get(`${URL}/v1/internal/users`, params))
}

/** readUser reads a user of this tenant and checks that it is the one. */
export function readUser(tenant, id) {
  const response = http.get(`${URL}/v1/users/${id}`, asTenant(tenant, 'GET /v1/users/:id'))
  const user = expectStatus(response, 200)
  check(response, { 'a user read is the one': () => user.id === id && isOwn(tenant, user) })
  return user
}

/** confirmUser changes a user and checks that only that was changed. */
export function confirmUser(tenant, before) {
  const params = asTenant(tenant, 'PATCH /v1/users/:id', JSON_BODY)
  const response = http.patch(`${URL}/v1/users/${before.id}`, JSON.stringify({ confirmed: true }), params)
  const after = expectStatus(response, 200)
  check(response, {
    'a change changes what it names': () =>
      after.confirmed === true && after.last_name === before.last_name && isOwn(tenant, after),
  })
}

export function deleteUser(tenant, id) {
  const response = http.del(`${URL}/v1/users/${id}`, null, asTenant(tenant, 'DELETE /v1/users/:id'))
  check(response, { 'a user is deleted': (r) => r.status === 204 })
}

/** expectNoUser checks that this tenant sees no such user. */
export function expectNoUser(tenant, id, what) {
  const params = asTenant(tenant, 'GET /v1/users/:id')
  const response = http.get(`${URL}/v1/users/${id}`, {
    ...params,
    responseCallback: http.expectedStatuses(404),
  })
  check(response, { [`${what} is not found`]: (r) => r.status === 404 && codeOf(r) === 'USER_NOT_FOUND' })
}

/** expectForeign checks that this tenant's key does not open another tenant. */
export function expectForeign(tenant, other) {
  const response = http.get(`${URL}/v1/users`, {
    ...asTenant(tenant, 'GET /v1/users', { 'x-tenant-id': other.id }),
    responseCallback: http.expectedStatuses(403),
  })
  check(response, {
    "another tenant's door is closed": (r) => r.status === 403 && codeOf(r) === 'TENANT_FORBIDDEN',
  })
}

/** evictPool evicts a tenant's pool as an operator would. One that was evicted meanwhile is fine. */
export function evictPool(tenant) {
  const response = http.post(`${URL}/ops/pools/${tenant.id}/evict`, null, {
    headers: OPERATOR,
    tags: { name: 'POST /ops/pools/:id/evict' },
    responseCallback: http.expectedStatuses(202, 404),
  })
  check(response, { 'an operator may evict': (r) => r.status === 202 || codeOf(r) === 'POOL_NOT_FOUND' })
}

function checkList(tenant, response) {
  const list = expectStatus(response, 200)
  check(response, {
    'a list holds rows of its tenant alone': () => list.records.every((user) => isOwn(tenant, user)),
    'a list counts what it holds': () =>
      list.total >= list.records.length && list.records.length <= list.page_size,
  })
  return list
}

function expectStatus(response, status) {
  const isRight = check(response, { 'the status is right': (r) => r.status === status })
  if (!isRight) fail(`${response.request.method} answered ${response.status}: ${response.body}`)
  return response.json()
}

function asTenant(tenant, name, headers = {}) {
  return { headers: { authorization: `Bearer ${tenant.key}`, ...headers }, tags: { name } }
}

function firstName(tenant) {
  return `Tenant ${tenant.number}`
}

function isOwn(tenant, user) {
  return user.first_name === firstName(tenant)
}

function codeOf(response) {
  return response.json('code')
}
