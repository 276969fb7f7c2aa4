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
    const responses = http.batch(numbers.map(onboardingOf))
    for (const [i, response] of responses.entries()) tenants.push(onboarded(numbers[i], response))
  }
  for (const tenant of tenants) {
    for (let i = 0; i < seeds; i++) tenant.users.push(createUser(tenant, `seed ${i}`).id)
  }
  return tenants
}

/** onboardOne makes one more tenant; the number is any that no other has. */
export function onboardOne(number) {
  return onboarded(number, http.request(...onboardingOf(number)))
}

/** deleteTenant asks for a tenant's deletion, which goes on after the answer. */
export function deleteTenant(tenant) {
  const response = http.del(`${URL}/v1/tenants/${tenant.id}`, null, asOperator('DELETE /v1/tenants/:id'))
  check(response, { 'a deletion is taken on': (r) => r.status === 202 })
}

/** readStatus reads a tenant's status as operators see it. */
export function readStatus(tenant) {
  const response = http.get(`${URL}/v1/tenants/${tenant.id}`, asOperator('GET /v1/tenants/:id'))
  return expectStatus(response, 200).status
}

/** rotateCredential gives a tenant a new login, which is in use when it returns; the old one is dropped later. */
export function rotateCredential(tenant) {
  const path = `${URL}/v1/tenants/${tenant.id}/rotate-credential`
  const response = http.post(path, null, asOperator('POST /v1/tenants/:id/rotate-credential'))
  check(response, { 'a new login is in use': (r) => r.status === 202 })
}

/** sendUser asks for a new user of this tenant and leaves the answer to the caller. */
export function sendUser(tenant, lastName, headers = {}) {
  return http.post(...newUser(tenant, lastName, headers))
}

/** sendUserAsync is sendUser for many callers in one. */
export function sendUserAsync(tenant, lastName) {
  return http.asyncRequest('POST', ...newUser(tenant, lastName))
}

/** isNewUser says whether the answer is this tenant's new user. */
export function isNewUser(tenant, response, lastName) {
  if (response.status !== 201) return false
  const user = response.json()
  return isOwn(tenant, user) && user.last_name === lastName && !user.confirmed
}

/** createUser adds a user of this tenant and returns it. */
export function createUser(tenant, lastName) {
  const response = sendUser(tenant, lastName)
  const user = expectStatus(response, 201)
  check(response, {
    'a new user has its values': (r) => isNewUser(tenant, r, lastName),
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
  return checkList(tenant, http.get(`${URL}/v1/internal/users`, inside(tenant, 'GET /v1/internal/users')))
}

/** listAllAtOnce reads the users of each tenant, all at the same moment; from inside, since keys cost time. */
export function listAllAtOnce(tenants) {
  const responses = http.batch(
    tenants.map((tenant) => [
      'GET',
      `${URL}/v1/internal/users`,
      null,
      inside(tenant, 'GET /v1/internal/users'),
    ]),
  )
  return responses.map((response, i) => checkList(tenants[i], response))
}

/** createAllAtOnce adds a user to each tenant, all at the same moment. */
export function createAllAtOnce(tenants, lastName) {
  const responses = http.batch(
    tenants.map((tenant) => [
      'POST',
      `${URL}/v1/internal/users`,
      userBody(tenant, lastName),
      inside(tenant, 'POST /v1/internal/users', JSON_BODY),
    ]),
  )
  for (const [i, response] of responses.entries()) {
    check(response, { 'a new user has its values': (r) => isNewUser(tenants[i], r, lastName) })
  }
}

/** knockAtOnce makes as many requests that need no tenant, all at the same moment. */
export function knockAtOnce(count) {
  const request = ['GET', `${URL}/livez`, null, { tags: { name: 'GET /livez' } }]
  for (const response of http.batch(Array.from({ length: count }, () => request))) {
    check(response, { 'the service lives': (r) => r.status === 200 })
  }
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

/** expectClosed checks that a tenant that is being deleted, or is gone, lets nobody in. */
export function expectClosed(tenant) {
  const response = http.get(`${URL}/v1/users`, {
    ...asTenant(tenant, 'GET /v1/users'),
    responseCallback: http.expectedStatuses(401, 403, 404, 409),
  })
  check(response, { "a deleted tenant's door is closed": (r) => [401, 403, 404, 409].includes(r.status) })
}

/** evictPool evicts a tenant's pool as an operator would. One that was evicted meanwhile is fine. */
export function evictPool(tenant) {
  const response = http.post(`${URL}/ops/pools/${tenant.id}/evict`, null, {
    ...asOperator('POST /ops/pools/:id/evict'),
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

function onboardingOf(number) {
  const body = JSON.stringify({ name: `stress ${number}` })
  return ['POST', `${URL}/v1/tenants`, body, asOperator('POST /v1/tenants', JSON_BODY)]
}

function onboarded(number, response) {
  if (response.status !== 201) fail(`onboarding answered ${response.status}: ${response.body}`)
  const { tenant, api_key } = response.json()
  return { number, id: tenant.id, key: api_key.key, users: [] }
}

function newUser(tenant, lastName, headers = {}) {
  const params = asTenant(tenant, 'POST /v1/users', { ...JSON_BODY, ...headers })
  return [`${URL}/v1/users`, userBody(tenant, lastName), params]
}

function userBody(tenant, lastName) {
  return JSON.stringify({ first_name: firstName(tenant), last_name: lastName })
}

function asOperator(name, headers = {}) {
  return { headers: { ...OPERATOR, ...headers }, tags: { name } }
}

function inside(tenant, name, headers = {}) {
  return { headers: { 'x-tenant-id': tenant.id, ...headers }, tags: { name } }
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

/** codeOf reads the code of a problem; null where the answer is none. */
export function codeOf(response) {
  const type = response.headers['Content-Type'] || ''
  return type.startsWith('application/problem+json') ? response.json('code') : null
}
