import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { sql } from '../../src/pool/statement.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { until } from '../control/helpers.ts'
import { type TestApp, testApp } from '../support/app.ts'
import { excludes, like } from '../support/like.ts'
import { Pooler } from '../support/pooler.ts'
import { startTestServer } from '../support/server.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { databaseUrl } from '../support/template.ts'

/** The service on a server of its own, with two more: one in `eu` for 20 connections, one in `us` for 10. */
const [app, second, third] = await Promise.all([
  testApp(t, { SERVER_MAX_CONNECTIONS: '20', POOL_MAX_CONNECTIONS: '2' }),
  startTestServer(),
  startTestServer(),
])
t.teardown(() => Promise.all([second.stop(), third.stop()]))

async function call(app: TestApp, route: string, payload?: object) {
  const [method, url] = route.split(' ') as ['GET' | 'POST' | 'PATCH', string]
  const response = await app.operator({ method, url, ...(payload && { payload }) })
  return {
    status: response.statusCode,
    body: response.json(),
    text: response.body,
    headers: response.headers,
  }
}

/** Onboards a tenant and resolves with it and its key. */
async function onboard(wish: object) {
  const name = `tenant-${randomBytes(6).toString('hex')}`
  const { status, body } = await call(app, 'POST /v1/tenants', { name, ...wish })
  return { status, body, server: body.tenant?.server, id: body.tenant?.id, key: body.api_key?.key }
}

async function addUser(t: Test, { key }: { readonly key: string }) {
  const response = await app.app.inject({
    method: 'POST',
    url: '/v1/users',
    headers: { authorization: `Bearer ${key}` },
    payload: { first_name: 'Ada', last_name: 'Lovelace' },
  })
  t.equal(response.statusCode, 201, response.body)
}

/** How many users a data server has of a tenant, by what its own administrator counts. */
async function usersAt(server: string, tenantId: string): Promise<number> {
  const admin = await app.lessor.servers.admin(server)
  const [row] = await admin.query<{ users: number }>(sql`
    select count(*)::integer as users from app.users where tenant_id = ${tenantId}::uuid`)
  return row?.users ?? -1
}

t.test('servers are registered while the service runs', async (t) => {
  like(t, await call(app, 'GET /v1/servers'), {
    status: 200,
    body: {
      records: [
        {
          name: 'default',
          labels: {},
          max_connections: null,
          budget: 20,
          tenants: 0,
          reachable: true,
          capabilities: { engine: 'postgresql', placements: ['row', 'role', 'schema', 'database'] },
          probed_at: String,
        },
      ],
    },
  })
  const eu = await call(app, 'POST /v1/servers', {
    name: 'eu-1',
    url: second.url,
    labels: { region: 'eu' },
  })
  like(t, eu, {
    status: 201,
    headers: { location: '/v1/servers/eu-1' },
    body: { name: 'eu-1', labels: { region: 'eu' }, budget: 20, tenants: 0, reachable: true },
  })
  const us = await call(app, 'POST /v1/servers', {
    name: 'us-1',
    url: third.url,
    tls: 'disable',
    labels: { region: 'us' },
    max_connections: 10,
  })
  like(t, us, { status: 201, body: { name: 'us-1', max_connections: 10, budget: 10 } })
  like(t, await call(app, 'POST /v1/servers', { name: 'eu-1', url: third.url }), {
    status: 409,
    body: { code: 'SERVER_NAME_TAKEN' },
  })
  like(t, await call(app, 'GET /v1/servers'), {
    body: { records: [{ name: 'default' }, { name: 'eu-1' }, { name: 'us-1' }], next_cursor: null },
  })
  like(t, await call(app, 'GET /v1/servers/us-1'), { status: 200, body: { name: 'us-1', tls: 'disable' } })
  like(t, await call(app, 'GET /v1/servers/none'), { status: 404, body: { code: 'SERVER_NOT_FOUND' } })
  like(t, await call(app, 'POST /v1/servers/us-1/probe'), { status: 200, body: { name: 'us-1' } })
  for (const { url } of [second, third]) {
    const { password } = new URL(url)
    for (const { text } of [eu, us]) excludes(t, text, password)
    excludes(t, app.logText(), password)
  }
})

t.test('what a request may not hold is refused, and no URL comes back', async (t) => {
  for (const payload of [
    { name: 'Upper', url: second.url },
    { name: 'x', url: 'postgres://me:hunter2@/nowhere' },
    { name: 'x', url: second.url, labels: { region: 1 } },
    { name: 'x', url: second.url, max_connections: 0 },
    { name: 'x', url: second.url, tls: 'maybe' },
    { name: 'x', url: second.url, tls: 'verify-ca', root_certificates: 'hunter2' },
    { name: 'x', url: `${second.url}?sslmode=verify-ca&sslrootcert=/etc/passwd` },
    { name: 'x', url: second.url, root_certificates: null },
    { name: 'x', url: `postgres://me:hunter2@127.0.0.1:1/${'x'.repeat(3_000)}` },
    { url: second.url },
  ]) {
    const { status, text } = await call(app, 'POST /v1/servers', payload)
    t.equal(status, 400, text)
    excludes(t, text, 'hunter2')
    excludes(t, text, new URL(second.url).password)
  }
  like(t, await call(app, 'POST /v1/servers', { name: 'x', url: 'postgres://me:hunter2@127.0.0.1:1/x' }), {
    status: 503,
    headers: { 'retry-after': '1' },
    body: { code: 'SERVER_UNAVAILABLE' },
  })
  like(t, await call(app, 'PATCH /v1/servers/eu-1', {}), { status: 400 })
  excludes(t, app.logText(), 'hunter2')
})

t.test('each server has its share of connections, without a restart', async (t) => {
  const { shares } = app.lessor
  await until(() => shares.limit('us-1') === 10 && shares.limit('eu-1') === 20, 'shares of the new servers')
  t.equal(shares.limit('default'), 20)
  like(t, await call(app, 'PATCH /v1/servers/us-1', { max_connections: 5 }), {
    status: 200,
    body: { budget: 5 },
  })
  await until(() => shares.limit('us-1') === 5, 'a smaller share')
  await call(app, 'PATCH /v1/servers/us-1', { max_connections: 10 })
  await until(() => shares.limit('us-1') === 10, 'a larger share')
  const { body } = await call(app, 'GET /ops/budget')
  t.strictSame(
    body.servers
      .map(({ server, limit, capacity }: { server: string; limit: number; capacity: object | null }) => ({
        server,
        limit,
        isKnown: capacity !== null,
      }))
      .toSorted((a: { server: string }, b: { server: string }) => a.server.localeCompare(b.server)),
    [
      { server: 'default', limit: 20, isKnown: true },
      { server: 'eu-1', limit: 20, isKnown: true },
      { server: 'us-1', limit: 10, isKnown: true },
    ],
  )
})

t.test('a tenant goes to the server with the fewest tenants for its connections', async (t) => {
  const servers: string[] = []
  for (let i = 0; i < 10; i += 1) servers.push((await onboard({ placement: 'row' })).server)
  // us-1 has half the connections of the others, and so gets half the tenants.
  t.strictSame(servers, [
    'default',
    'eu-1',
    'us-1',
    'default',
    'eu-1',
    'default',
    'eu-1',
    'us-1',
    'default',
    'eu-1',
  ])
  like(t, await call(app, 'GET /v1/servers'), {
    body: { records: [{ tenants: 4 }, { tenants: 4 }, { tenants: 2 }] },
  })
})

t.test('a tenant goes where it is asked to, by name or by labels', async (t) => {
  like(t, await onboard({ placement: 'row', server: 'us-1' }), { status: 201, server: 'us-1' })
  like(t, await onboard({ placement: 'row', server_labels: { region: 'eu' } }), {
    status: 201,
    server: 'eu-1',
  })
  like(t, await onboard({ placement: 'row', server_labels: { region: 'eu' } }), {
    status: 201,
    server: 'eu-1',
  })
  like(t, await onboard({ server: 'nowhere' }), { status: 404, body: { code: 'SERVER_NOT_FOUND' } })
  like(t, await onboard({ server_labels: { region: 'asia' } }), {
    status: 422,
    body: { code: 'PLACEMENT_UNAVAILABLE', detail: /"default" is not.*"eu-1" is not.*"us-1" is not/ },
  })
  like(t, await onboard({ server: 'us-1', server_labels: { region: 'eu' } }), { status: 422 })
})

for (const placement of ['row', 'role', 'schema', 'database']) {
  t.test(
    `a tenant of placement ${placement} lives on the server that was chosen, and nowhere else`,
    async (t) => {
      const tenant = await onboard({ placement, server: 'eu-1' })
      t.equal(tenant.status, 201, JSON.stringify(tenant.body))
      await addUser(t, tenant)
      await addUser(t, tenant)
      const isShared = placement === 'row' || placement === 'role'
      t.equal(await usersAt('eu-1', tenant.id), isShared ? 2 : 0)
      t.equal(await usersAt('default', tenant.id), 0)
      const deleted = await app.operator({ method: 'DELETE', url: `/v1/tenants/${tenant.id}` })
      t.equal(deleted.statusCode, 202)
      await until(
        async () => (await call(app, `GET /v1/tenants/${tenant.id}`)).body.status === 'deleted',
        'the tenant is deleted',
      )
      t.equal(await usersAt('eu-1', tenant.id), 0)
    },
  )
}

t.test('a repeated request with an Idempotency-Key gets its first server', async (t) => {
  const request = () =>
    app.operator({
      method: 'POST',
      url: '/v1/tenants',
      headers: { 'idempotency-key': 'one' },
      payload: { name: 'Once', placement: 'row' },
    })
  const first = (await request()).json()
  for (let i = 0; i < 2; i += 1) t.strictSame((await request()).json(), first)
  t.equal((await request()).statusCode, 201)
})

t.test('tenants of a server that has moved are served by its new address', async (t) => {
  const superuser = new ServerAdmin({ address: parseDatabaseUrl(second.url) })
  t.teardown(() => superuser.close())
  await superuser.script('create database moving')
  const url = databaseUrl(second.url, 'moving')
  const proxy = await TcpProxy.start(t, url)
  like(t, await call(app, 'POST /v1/servers', { name: 'moving', url: proxy.url(url) }), { status: 201 })
  const tenants = [
    await onboard({ placement: 'row', server: 'moving' }),
    await onboard({ placement: 'role', server: 'moving' }),
  ]
  for (const tenant of tenants) await addUser(t, tenant)
  like(t, await call(app, 'PATCH /v1/servers/moving', { url }), {
    status: 200,
    body: { port: Number(new URL(url).port), reachable: true },
  })
  await until(() => proxy.open === 0, 'nobody goes the old way')
  await proxy.close()
  for (const tenant of tenants) await addUser(t, tenant)
  for (const { id } of tenants) t.equal(await usersAt('moving', id), 2)
})

t.test('the way to a server leads to no other database of its cluster, and through no pooler', async (t) => {
  const superuser = new ServerAdmin({ address: parseDatabaseUrl(second.url) })
  t.teardown(() => superuser.close())
  await superuser.script('create database beside')
  const url = databaseUrl(second.url, 'beside')
  const tenants = [
    await onboard({ placement: 'row', server: 'eu-1' }),
    await onboard({ placement: 'role', server: 'eu-1' }),
  ]
  for (const tenant of tenants) await addUser(t, tenant)
  const pooler = await Pooler.start(t, second.url, { mode: 'transaction', startup: 'ignore' })
  for (const [route, payload, detail] of [
    [
      'PATCH /v1/servers/eu-1',
      { url },
      /^The URL leads to a database in which Lessor has never been, and not to/,
    ],
    [
      'PATCH /v1/servers/eu-1',
      { url: pooler.url(second.url) },
      /^The URL leads to a connection pooler such as/,
    ],
    [
      'POST /v1/servers',
      { name: 'pooled', url: pooler.url(url) },
      /^The URL leads to a connection pooler such as/,
    ],
  ] as const) {
    const { status, body, text } = await call(app, route, payload)
    t.strictSame([status, body.code], [422, 'SERVER_UNSUITABLE'])
    like(t, body.detail, detail)
    excludes(t, text, new URL(second.url).password)
  }
  for (const tenant of tenants) await addUser(t, tenant)
  for (const { id } of tenants) t.equal(await usersAt('eu-1', id), 2)
})

t.test(
  'a server that is away keeps no tenant from the others, nor the service from being ready',
  async (t) => {
    const there = await onboard({ server: 'us-1' })
    await addUser(t, there)
    await third.stop()
    like(t, await call(app, 'GET /v1/servers/us-1'), {
      status: 200,
      body: { reachable: false, capabilities: { placements: ['row', 'role', 'schema', 'database'] } },
    })
    t.equal((await app.app.inject('/readyz')).statusCode, 200)
    // By its load it would be the next one.
    await call(app, 'PATCH /v1/servers/us-1', { max_connections: 100_000 })
    // A server that answered just now is not asked again for a while.
    await until(async () => (await onboard({ placement: 'row' })).server !== 'us-1', 'tenants go elsewhere')
    const elsewhere = await onboard({ placement: 'role', server_labels: { region: 'eu' } })
    t.equal(elsewhere.server, 'eu-1')
    await addUser(t, elsewhere)
    like(t, await onboard({ server: 'us-1' }), { status: 503, body: { code: 'SERVER_UNAVAILABLE' } })
    like(t, await call(app, 'POST /v1/servers/us-1/probe'), {
      status: 503,
      body: { code: 'SERVER_UNAVAILABLE' },
    })
    const { body } = await call(app, 'GET /ops/budget')
    t.equal(
      body.servers.find(({ server }: { server: string }) => server === 'us-1').capacity,
      null,
      'what cannot be asked is left out',
    )
  },
)
