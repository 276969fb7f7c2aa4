import t from 'tap'
import { type TestApp, testApp } from '../support/app.ts'
import { excludes } from '../support/like.ts'

const app = await testApp(t)
const { operator } = app

/** The last line about a request, without what differs from run to run. */
function lastLine({ logged }: TestApp) {
  const line = logged().findLast(({ msg }) => msg === 'request')
  if (line === undefined) throw new Error('no request was logged')
  const { hostname, level, ms, msg, pid, requestId, time, ...rest } = line
  return rest
}

const OPERATOR = { principal: 'operator' }

t.test('the line of a request says which tenant and key it made, was about, or ended', async (t) => {
  const made = await operator({ method: 'POST', url: '/v1/tenants', payload: { name: 'Logged' } })
  const { tenant, api_key: apiKey } = made.json()
  const route = '/v1/tenants/:id'
  t.strictSame(lastLine(app), {
    ...OPERATOR,
    tenant: tenant.id,
    of_key: apiKey.id,
    method: 'POST',
    route: '/v1/tenants',
    status: 201,
  })
  const issued = await operator({ method: 'POST', url: `/v1/tenants/${tenant.id}/keys` })
  const { id: keyId } = issued.json()
  const keys = { ...OPERATOR, tenant: tenant.id, of_key: keyId }
  t.strictSame(lastLine(app), { ...keys, method: 'POST', route: `${route}/keys`, status: 201 })
  await operator({ method: 'DELETE', url: `/v1/tenants/${tenant.id}/keys/${keyId}` })
  t.strictSame(lastLine(app), { ...keys, method: 'DELETE', route: `${route}/keys/:keyId`, status: 204 })
  await operator({ method: 'POST', url: `/ops/pools/${tenant.id}/evict` })
  const evicted = { ...OPERATOR, tenant: tenant.id, method: 'POST', route: '/ops/pools/:tenantId/evict' }
  t.strictSame(lastLine(app), { ...evicted, status: 404, code: 'POOL_NOT_FOUND' })
  await operator({ method: 'DELETE', url: `/v1/tenants/${tenant.id}` })
  t.strictSame(lastLine(app), { ...OPERATOR, tenant: tenant.id, method: 'DELETE', route, status: 202 })
  excludes(t, app.logText(), apiKey.key)
})

t.test('and which namespace or data server', async (t) => {
  await operator({ method: 'POST', url: '/v1/namespaces', payload: { name: 'Shop' } })
  const shop = { ...OPERATOR, namespace: 'Shop' }
  t.strictSame(lastLine(app), { ...shop, method: 'POST', route: '/v1/namespaces', status: 201 })
  const { id } = (await operator({ method: 'POST', url: '/v1/namespaces/Shop/keys' })).json()
  const route = '/v1/namespaces/:name/keys'
  t.strictSame(lastLine(app), { ...shop, of_key: id, method: 'POST', route, status: 201 })
  await operator({ url: '/v1/servers/default' })
  const server = { ...OPERATOR, server: 'default', method: 'GET', route: '/v1/servers/:name' }
  t.strictSame(lastLine(app), { ...server, status: 200 })
  const payload = { name: 'second', url: 'postgres://keeper:geheim@127.0.0.1:1/none' }
  await operator({ method: 'POST', url: '/v1/servers', payload })
  const refused = { method: 'POST', route: '/v1/servers', status: 503, code: 'SERVER_UNAVAILABLE' }
  t.strictSame(lastLine(app), { ...OPERATOR, server: 'second', ...refused })
  excludes(t, app.logText(), 'geheim')
})

t.test('a batch is logged by how many tenants it made', async (t) => {
  const payload = { tenants: [{ name: 'One' }, { name: 'Two' }, { name: 'Logged' }] }
  await operator({ method: 'POST', url: '/v1/tenants:batch', payload })
  const line = lastLine(app)
  t.equal(line.tenants, 3)
})

t.test('who is not the operator chooses nothing that is logged but his own tenant', async (t) => {
  const { key } = await app.onboard()
  await app.app.inject({ url: `/v1/tenants/${'x'.repeat(50)}`, headers: { authorization: `Bearer ${key}` } })
  excludes(t, JSON.stringify(lastLine(app)), 'xxx')
  await app.app.inject({ url: '/v1/tenants/nobody' })
  excludes(t, JSON.stringify(lastLine(app)), 'nobody')
})

t.test('probes and scrapes that go well are no news', async (t) => {
  const count = () => app.logged().filter(({ msg }) => msg === 'request').length
  const before = count()
  for (const url of ['/livez', '/readyz', '/health_check']) {
    t.equal((await app.app.inject({ url })).statusCode, 200, url)
  }
  t.equal((await operator({ url: '/metrics' })).statusCode, 200)
  t.equal(count(), before)
  t.equal((await app.app.inject({ url: '/metrics' })).statusCode, 401)
  t.equal(count(), before + 1)
  t.strictSame([lastLine(app).route, lastLine(app).status], ['/metrics', 401])
})
