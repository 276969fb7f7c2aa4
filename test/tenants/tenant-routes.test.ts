import { randomUUID } from 'node:crypto'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { fastify } from 'fastify'
import t, { type Test } from 'tap'
import { accessPlugin } from '../../src/access/access-plugin.ts'
import { Authenticator } from '../../src/access/authenticator.ts'
import { TrustedNetworks } from '../../src/access/trusted-networks.ts'
import { systemClock } from '../../src/clock.ts'
import { problemPlugin } from '../../src/http/problem-plugin.ts'
import { validatorCompiler } from '../../src/http/validation.ts'
import { Secret } from '../../src/secret.ts'
import { serverRoutes } from '../../src/servers/server-routes.ts'
import { namespaceRoutes } from '../../src/tenants/namespace-routes.ts'
import { tenantRoutes } from '../../src/tenants/tenant-routes.ts'
import { testDatabase } from '../support/database.ts'
import { like } from '../support/like.ts'
import { openHouse } from './house.ts'

const { url } = await testDatabase(t, { template: 'control' })
const OPERATOR_KEY = 'operator-key-of-this-test-0123456789'

interface Call {
  readonly body?: unknown
  readonly headers?: Record<string, string>
  readonly key?: string
}

async function open(t: Test) {
  const house = await openHouse(t, { url })
  const app = fastify({ exposeHeadRoutes: false }).withTypeProvider<TypeBoxTypeProvider>()
  t.teardown(() => app.close())
  app.setValidatorCompiler(validatorCompiler())
  const { directory, tenants, namespaces, servers } = house
  const operatorKey = new Secret(OPERATOR_KEY)
  const authenticator = new Authenticator({ db: house.db, operatorKey, clock: systemClock })
  await app.register(problemPlugin)
  await app.register(accessPlugin, { authenticator, directory, trustedNetworks: new TrustedNetworks([]) })
  await app.register(tenantRoutes, { tenants, batchLimitBytes: 1_048_576 })
  await app.register(namespaceRoutes, { namespaces })
  await app.register(serverRoutes, { servers })
  async function call(route: string, { body, headers = {}, key = OPERATOR_KEY }: Call = {}) {
    const [method, path] = route.split(' ') as ['GET', string]
    const answer = await app.inject({
      method,
      url: path,
      headers: { authorization: `Bearer ${key}`, ...headers },
      ...(body !== undefined && { payload: body as object }),
    })
    return { status: answer.statusCode, headers: answer.headers, body: answer.json() }
  }
  return { ...house, call }
}

t.test('a tenant is onboarded, read, changed, suspended, resumed and deleted', async (t) => {
  const { call, tenants } = await open(t)
  const onboarded = await call('POST /v1/tenants', { body: { name: 'Acme', quota: { connections: 2 } } })
  t.equal(onboarded.status, 201)
  const { tenant } = onboarded.body
  like(t, onboarded, {
    headers: { location: `/v1/tenants/${tenant.id}`, 'cache-control': 'no-store' },
    body: { api_key: { id: String, key: /^lsr_[0-9a-f]/ } },
  })
  t.strictSame(Object.keys(onboarded.body), ['tenant', 'api_key'])
  t.strictSame(Object.keys(tenant), [
    'id',
    'name',
    'namespace',
    'placement',
    'server',
    'status',
    'quota',
    'generation',
    'colour',
    'schema_version',
    'partition',
    'block',
    'unsettled_logins',
    'job',
    'created_at',
    'updated_at',
  ])
  like(t, tenant, {
    name: 'Acme',
    namespace: 'default',
    placement: 'role',
    server: 'default',
    status: 'active',
  })
  t.match(tenant.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  const path = `/v1/tenants/${tenant.id}`
  t.strictSame(await call(`GET ${path}`).then((each) => each.body), tenant)
  t.strictSame(
    await call(`GET ${path.toUpperCase().replace('/V1/TENANTS', '/v1/tenants')}`).then((each) => each.body),
    tenant,
  )
  like(t, await call('GET /v1/tenants?limit=1'), {
    status: 200,
    body: { records: [tenant], next_cursor: null },
  })
  like(t, await call(`PATCH ${path}`, { body: { name: 'Acme 2' } }), {
    status: 200,
    body: { name: 'Acme 2', quota: { connections: 2 } },
  })
  like(t, await call(`PATCH ${path}`, { body: { quota: { connections: 2, weight: 3 } } }), {
    status: 200,
    body: { quota: { connections: 2, weight: 3 } },
  })
  t.strictSame((await call(`PATCH ${path}`, { body: { quota: { weight: 100 } } })).body.quota, {
    weight: 100,
  })
  t.strictSame((await call(`GET ${path}`)).body.quota, { weight: 100 })
  t.strictSame((await call(`PATCH ${path}`, { body: { quota: {} } })).body.quota, {})
  like(t, await call(`POST ${path}/suspend`), { status: 200, body: { status: 'suspended' } })
  like(t, await call(`POST ${path}/resume`), { status: 200, body: { status: 'active' } })
  like(t, await call(`DELETE ${path}`), { status: 202, body: { id: tenant.id, status: 'deleting' } })
  t.equal((await call(`DELETE ${path}`)).status, 202)
  await tenants.close()
  like(t, await call(`GET ${path}`), { status: 200, body: { status: 'deleted' } })
  like(t, await call('GET /v1/tenants'), { body: { records: [] } })
  like(t, await call('GET /v1/tenants?status=deleted'), { body: { records: [{ id: tenant.id }] } })
})

t.test('a credential is rotated, and the answer comes while the old login is still there', async (t) => {
  const { call, pools, tenants } = await open(t)
  const { tenant } = (await call('POST /v1/tenants', { body: { name: 'Rotated' } })).body
  like(t, tenant, { generation: 1, colour: 'blue', job: null })
  const path = `/v1/tenants/${tenant.id}`
  const lease = await pools.acquire({ tenantId: tenant.id, generation: 1 }, new AbortController())
  like(t, await call(`POST ${path}/rotate-credential`.replace(tenant.id, tenant.id.toUpperCase())), {
    status: 202,
    body: {
      id: tenant.id,
      status: 'active',
      generation: 2,
      colour: 'green',
      job: { kind: 'rotate', step: 'drain', attempts: 1, error: null },
    },
  })
  like(t, await call(`POST ${path}/rotate-credential`), {
    status: 409,
    headers: { 'retry-after': '1' },
    body: { code: 'TENANT_BUSY' },
  })
  like(t, await call(`DELETE ${path}`), { status: 409, body: { code: 'TENANT_BUSY' } })
  like(t, await call('GET /v1/tenants'), { body: { records: [{ job: { kind: 'rotate' } }] } })
  lease.release()
  while ((await tenants.get(tenant.id)).job !== null) await new Promise(setImmediate)
  like(t, await call(`GET ${path}`), { status: 200, body: { generation: 2, colour: 'green', job: null } })
  like(t, await call(`POST /v1/tenants/${randomUUID()}/rotate-credential`), {
    status: 404,
    body: { code: 'TENANT_NOT_FOUND' },
  })
  like(t, await call(`POST ${path}/rotate-credential`, { key: 'nobody' }), { status: 401 })
})

t.test('a repeated request with an Idempotency-Key is answered alike', async (t) => {
  const { call } = await open(t)
  const headers = { 'idempotency-key': '"8e03978e-40d5-43dd-bc93-6894a57f9324"' }
  const first = await call('POST /v1/tenants', { body: { name: 'Again' }, headers })
  t.equal(first.status, 201)
  const second = await call('POST /v1/tenants', { body: { name: 'Again' }, headers })
  t.equal(second.status, 201)
  t.strictSame(second.body, first.body)
  like(t, await call('POST /v1/tenants', { body: { name: 'Else' }, headers }), {
    status: 422,
    body: { code: 'IDEMPOTENCY_KEY_REUSED' },
  })
  for (const key of ['', 'x'.repeat(256), 'ü']) {
    like(t, await call('POST /v1/tenants', { body: { name: 'Else' }, headers: { 'idempotency-key': key } }), {
      status: 400,
      body: { code: 'INVALID_REQUEST', errors: [{ in: 'headers' }] },
    })
  }
})

t.test('what is wrong with a request is said by field, and nothing is made', async (t) => {
  const { call } = await open(t)
  const wrong: [route: string, body: unknown, where: { in: string; path?: string | RegExp }][] = [
    ['POST /v1/tenants', {}, { in: 'body', path: /name/ }],
    ['POST /v1/tenants', { name: 1 }, { in: 'body', path: '/name' }],
    ['POST /v1/tenants', { name: '' }, { in: 'body', path: '/name' }],
    ['POST /v1/tenants', { name: '   ' }, { in: 'body', path: '/name' }],
    ['POST /v1/tenants', { name: 'x'.repeat(201) }, { in: 'body', path: '/name' }],
    ['POST /v1/tenants', { name: 'a\tb' }, { in: 'body', path: '/name' }],
    ['POST /v1/tenants', { name: 'x', colour: 'red' }, { in: 'body' }],
    ['POST /v1/tenants', { name: 'x', placement: 'cloud' }, { in: 'body', path: '/placement' }],
    [
      'POST /v1/tenants',
      { name: 'x', quota: { connections: 0 } },
      { in: 'body', path: '/quota/connections' },
    ],
    [
      'POST /v1/tenants',
      { name: 'x', quota: { connections: 5 } },
      { in: 'body', path: '/quota/connections' },
    ],
    [
      'POST /v1/tenants',
      { name: 'x', quota: { connections: '2' } },
      { in: 'body', path: '/quota/connections' },
    ],
    ['POST /v1/tenants', { name: 'x', quota: { rows: 1 } }, { in: 'body' }],
    ['POST /v1/tenants', { name: 'x', quota: { weight: 0 } }, { in: 'body', path: '/quota/weight' }],
    ['POST /v1/tenants', { name: 'x', quota: { weight: 101 } }, { in: 'body', path: '/quota/weight' }],
    ['POST /v1/tenants', { name: 'x', quota: { weight: 1.5 } }, { in: 'body', path: '/quota/weight' }],
    [`PATCH /v1/tenants/${randomUUID()}`, { quota: { weight: '2' } }, { in: 'body', path: '/quota/weight' }],
    [`PATCH /v1/tenants/${randomUUID()}`, {}, { in: 'body' }],
    ['GET /v1/tenants?limit=0', undefined, { in: 'query' }],
    ['GET /v1/tenants?limit=101', undefined, { in: 'query' }],
    ['GET /v1/tenants?limit=x', undefined, { in: 'query' }],
    ['GET /v1/tenants?status=dead', undefined, { in: 'query' }],
    ['GET /v1/tenants?page=1', undefined, { in: 'query' }],
    ['GET /v1/tenants?cursor=x', undefined, { in: 'query', path: 'cursor' }],
    ['GET /v1/tenants/nonsense', undefined, { in: 'params' }],
    [`GET /v1/tenants/urn:uuid:${randomUUID()}`, undefined, { in: 'params' }],
    ['POST /v1/namespaces', { name: 'a b' }, { in: 'body', path: '/name' }],
    ['GET /v1/namespaces?limit=1000', undefined, { in: 'query' }],
    ['GET /v1/servers?limit=1', undefined, { in: 'query' }],
  ]
  const before = await call('GET /v1/tenants')
  for (const [route, body, where] of wrong) {
    like(
      t,
      await call(route, { body }),
      {
        status: 400,
        headers: { 'content-type': /^application\/problem\+json/ },
        body: { code: 'INVALID_REQUEST', errors: [where] },
      },
      `${route} ${JSON.stringify(body)}`,
    )
  }
  t.strictSame((await call('GET /v1/tenants')).body, before.body, 'none of them made or changed a tenant')
})

t.test('what is not there, taken or not offered has its own answer', async (t) => {
  const { call } = await open(t)
  const unknown = `/v1/tenants/${randomUUID()}`
  await call('POST /v1/tenants', { body: { name: 'Taken' } })
  const { body } = await call('POST /v1/tenants', { body: { name: 'Free' } })
  const own = `/v1/tenants/${body.tenant.id}`
  const row = await call('POST /v1/tenants', { body: { name: 'Row', placement: 'row' } })
  const refused: [route: string, body: unknown, status: number, code: string][] = [
    [`GET ${unknown}`, undefined, 404, 'TENANT_NOT_FOUND'],
    [`PATCH ${unknown}`, { name: 'x' }, 404, 'TENANT_NOT_FOUND'],
    [`DELETE ${unknown}`, undefined, 404, 'TENANT_NOT_FOUND'],
    [`POST ${unknown}/suspend`, undefined, 404, 'TENANT_NOT_FOUND'],
    [`POST ${unknown}/resume`, undefined, 404, 'TENANT_NOT_FOUND'],
    ['POST /v1/tenants', { name: 'TAKEN' }, 409, 'TENANT_NAME_TAKEN'],
    [`PATCH ${own}`, { name: 'taken' }, 409, 'TENANT_NAME_TAKEN'],
    ['POST /v1/tenants', { name: 'x', namespace: 'nowhere' }, 404, 'NAMESPACE_NOT_FOUND'],
    ['GET /v1/tenants?namespace=nowhere', undefined, 404, 'NAMESPACE_NOT_FOUND'],
    ['POST /v1/tenants', { name: 'x', server: 'nowhere' }, 404, 'SERVER_NOT_FOUND'],
    [`POST /v1/tenants/${row.body.tenant.id}/rotate-credential`, undefined, 422, 'PLACEMENT_UNAVAILABLE'],
    ['POST /v1/namespaces', { name: 'DEFAULT' }, 409, 'NAMESPACE_NAME_TAKEN'],
  ]
  for (const [route, body, status, code] of refused) {
    like(t, await call(route, { body }), { status, body: { code, status } }, `${route} ${code}`)
  }
})

t.test('namespaces and servers are listed', async (t) => {
  const { call } = await open(t)
  like(t, await call('POST /v1/namespaces', { body: { name: 'Second' } }), {
    status: 201,
    body: { name: 'Second', id: String, created_at: String },
  })
  const first = await call('GET /v1/namespaces?limit=1')
  like(t, first, { status: 200, body: { records: [{ name: 'default' }], next_cursor: String } })
  like(t, await call(`GET /v1/namespaces?limit=1&cursor=${first.body.next_cursor}`), {
    body: { records: [{ name: 'Second' }], next_cursor: null },
  })
  const { hostname, port, pathname } = new URL(url)
  like(t, await call('GET /v1/servers'), {
    status: 200,
    body: {
      records: [
        { name: 'default', host: hostname, port: Number(port), database: pathname.slice(1), tls: 'disable' },
      ],
      next_cursor: null,
    },
  })
})

t.test('all of it is for operators alone', async (t) => {
  const { call, tenants } = await open(t)
  const { api_key: apiKey } = await tenants.onboard({ name: 'Nosy' })
  const id = randomUUID()
  const routes = [
    'GET /v1/tenants',
    'POST /v1/tenants',
    `GET /v1/tenants/${id}`,
    `PATCH /v1/tenants/${id}`,
    `DELETE /v1/tenants/${id}`,
    `POST /v1/tenants/${id}/suspend`,
    `POST /v1/tenants/${id}/resume`,
    'GET /v1/namespaces',
    'POST /v1/namespaces',
    'GET /v1/servers',
  ]
  for (const route of routes) {
    like(t, await call(route, { key: apiKey.key }), { status: 403, body: { code: 'FORBIDDEN' } }, route)
    like(t, await call(route, { key: 'x' }), { status: 401, body: { code: 'UNAUTHENTICATED' } }, route)
  }
})
