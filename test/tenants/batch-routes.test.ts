import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { testApp } from '../support/app.ts'
import { like } from '../support/like.ts'

interface Answer {
  readonly status: number
  // Bodies are what the test says they are.
  readonly body: Record<string, never>
}

async function open(t: Test) {
  const service = await testApp(t)
  return {
    ...service,
    async batch(payload: object, headers: Record<string, string> = {}): Promise<Answer> {
      const response = await service.operator({ method: 'POST', url: '/v1/tenants:batch', payload, headers })
      return { status: response.statusCode, body: response.json() }
    },
    async list(query: string): Promise<readonly string[]> {
      const response = await service.operator({ method: 'GET', url: `/v1/tenants?${query}` })
      return response.json().records.map(({ name }: { name: string }) => name)
    },
  }
}

function named(...names: string[]): object[] {
  return names.map((name) => ({ name }))
}

t.test('a batch is answered with 201, and with 207 when an item failed', async (t) => {
  const { batch } = await open(t)
  const all = await batch({ tenants: named('acme', 'beta'), quota: { weight: 3 } })
  t.equal(all.status, 201)
  like(t, all.body, {
    records: [
      {
        tenant: { name: 'acme', placement: 'row', status: 'active', quota: { weight: 3 }, server: 'default' },
      },
      { tenant: { name: 'beta' } },
    ],
  })
  const some = await batch({ tenants: named('Acme', 'gamma') })
  t.equal(some.status, 207)
  like(t, some.body, {
    records: [
      {
        error: {
          code: 'TENANT_NAME_TAKEN',
          status: 409,
          title: 'The namespace has a tenant of this name',
          detail: 'The namespace "default" has a tenant "Acme".',
        },
      },
      { tenant: { name: 'gamma' } },
    ],
  })
})

t.test('the tenants of a batch are served by their own keys, and by a key of the namespace', async (t) => {
  const { app, batch, operator } = await open(t)
  const { body } = await batch({ tenants: named('acme', 'beta'), api_keys: true })
  const records: { tenant: { id: string; name: string }; api_key: { key: string } }[] = body.records ?? []
  const call = (key: string, tenantId: string, payload?: object) =>
    app.inject({
      method: payload === undefined ? 'GET' : 'POST',
      url: '/v1/users',
      headers: { authorization: `Bearer ${key}`, 'x-tenant-id': tenantId },
      ...(payload && { payload }),
    })
  const issued = await operator({ method: 'POST', url: '/v1/namespaces/default/keys' })
  t.equal(issued.statusCode, 201)
  const { key } = issued.json()
  for (const { tenant, api_key } of records) {
    const made = await call(api_key.key, tenant.id, { first_name: tenant.name, last_name: 'Row' })
    t.equal(made.statusCode, 201)
    const listed = await call(key, tenant.id)
    like(t, listed.json(), { total: 1, records: [{ first_name: tenant.name }] })
  }
  const [first, second] = records
  const foreign = await call(first?.api_key.key ?? '', second?.tenant.id ?? '')
  t.equal(foreign.statusCode, 403)
})

t.test('a repeated request with the same Idempotency-Key gets the same answer', async (t) => {
  const { batch, list } = await open(t)
  const headers = { 'idempotency-key': 'onboarding of may' }
  const payload = { tenants: named('acme', 'beta'), api_keys: true }
  const first = await batch(payload, headers)
  t.strictSame(await batch(payload, headers), first)
  like(t, await batch({ tenants: named('gamma') }, headers), {
    status: 422,
    body: { code: 'IDEMPOTENCY_KEY_REUSED' },
  })
  t.strictSame((await list('')).toSorted(), ['acme', 'beta'])
})

t.test('what does not fit is answered as everywhere', async (t) => {
  const { app, batch } = await open(t)
  like(t, await batch({ tenants: [] }), { status: 400, body: { code: 'INVALID_REQUEST' } })
  like(t, await batch({ tenants: named('acme', ' ') }), {
    status: 400,
    body: { errors: [{ path: '/tenants/1/name' }] },
  })
  like(t, await batch({ tenants: [{ name: 'acme', key: 1 }] }), { status: 400 })
  const many = Array.from({ length: 1001 }, (_, n) => ({ name: `tenant ${n}` }))
  like(t, await batch({ tenants: many }), { status: 400, body: { errors: [{ path: '/tenants' }] } })
  like(t, await batch({ tenants: named('acme'), placement: 'role' }), {
    status: 422,
    body: { code: 'PLACEMENT_UNAVAILABLE', detail: /one by one, by POST \/v1\/tenants/ },
  })
  like(t, await batch({ tenants: named('acme'), namespace: 'none' }), {
    status: 404,
    body: { code: 'NAMESPACE_NOT_FOUND' },
  })
  like(t, await batch({ tenants: named('acme'), server: 'none' }), {
    status: 404,
    body: { code: 'SERVER_NOT_FOUND' },
  })
  const anybody = await app.inject({
    method: 'POST',
    url: '/v1/tenants:batch',
    payload: { tenants: named('acme') },
  })
  t.equal(anybody.statusCode, 401)
  const other = await app.inject({ method: 'POST', url: '/v1/tenantsXbatch' })
  t.equal(other.statusCode, 404)
})

t.test('the description of the API names the route as it is called', async (t) => {
  const { app } = await open(t)
  const { paths } = (await app.inject('/openapi.json')).json()
  t.ok(paths['/v1/tenants:batch']?.post)
})

t.test('a tenant is found by its whole name, whatever its case', async (t) => {
  const { batch, list, operator } = await open(t)
  await operator({ method: 'POST', url: '/v1/namespaces', payload: { name: 'shop' } })
  await batch({ tenants: [...named('acme', 'acme 2'), { name: 'gone', id: randomUUID() }] })
  await batch({ tenants: named('Acme'), namespace: 'shop' })
  t.strictSame((await list('name=ACME')).toSorted(), ['Acme', 'acme'])
  t.strictSame(await list('name=acme&namespace=shop'), ['Acme'])
  t.strictSame(await list('name=acm'), [])
  t.strictSame(await list('name=acme&status=suspended'), [])
  t.strictSame(await list('name=acme&status=active&namespace=default'), ['acme'])
})
