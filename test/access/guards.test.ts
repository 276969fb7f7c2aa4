import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { networkInterfaces } from 'node:os'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import { accessPlugin } from '../../src/access/access-plugin.ts'
import { Authenticator } from '../../src/access/authenticator.ts'
import { KeyService } from '../../src/access/key-service.ts'
import { TrustedNetworks } from '../../src/access/trusted-networks.ts'
import { problemPlugin } from '../../src/http/problem-plugin.ts'
import { sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import { TenantDirectory } from '../../src/tenants/tenant-directory.ts'
import { findTenantRefs } from '../../src/tenants/tenant-store.ts'
import { like, rejectsLike } from '../support/like.ts'
import { addNamespace, addTenant, CountingDb, controlDatabase, ManualClock, OPERATOR_KEY } from './helpers.ts'

const control = await controlDatabase(t)
const acme = await addNamespace(control, 'acme')
const other = await addNamespace(control, 'other')
const tenants = {
  active: await addTenant(control, acme),
  second: await addTenant(control, acme),
  suspended: await addTenant(control, acme, 'suspended'),
  provisioning: await addTenant(control, acme, 'provisioning'),
  deleting: await addTenant(control, acme, 'deleting'),
  deleted: await addTenant(control, acme, 'deleted'),
  stranger: await addTenant(control, other),
}
const keys = new KeyService()

async function issue(namespaceId: string, tenantId: string | null): Promise<string> {
  return (await keys.issue(control, { namespaceId, tenantId })).key.reveal()
}

const tenantKey = await issue(acme, tenants.active)
const namespaceKey = await issue(acme, null)

interface Options {
  readonly trusted?: readonly string[]
  readonly server?: FastifyServerOptions
}

/** A service with one route behind each guard, which answers with what the guard put on the request. */
async function service(t: Test, { trusted = [], server = {} }: Options = {}) {
  const db = new CountingDb(control)
  const clock = new ManualClock()
  const fastify: FastifyInstance = Fastify(server)
  t.teardown(() => fastify.close())
  await fastify.register(problemPlugin)
  await fastify.register(accessPlugin, {
    authenticator: new Authenticator({ db, clock, operatorKey: new Secret(OPERATOR_KEY) }),
    directory: new TenantDirectory({ clock, load: (ids) => findTenantRefs(db, ids) }),
    trustedNetworks: new TrustedNetworks(trusted),
  })
  for (const guard of ['operator', 'principal', 'tenant', 'network'] as const) {
    fastify.get(`/${guard}`, { onRequest: fastify.guards[guard] }, async (request) => ({
      principal: request.principal,
      tenant: request.tenant,
    }))
  }
  fastify.get('/open', async (request) => ({ principal: request.principal, tenant: request.tenant }))
  return { fastify, db, clock }
}

type Headers = Readonly<Record<string, string | readonly string[]>>

async function get(fastify: FastifyInstance, url: string, headers: Headers = {}, remoteAddress?: string) {
  const response = await fastify.inject({
    url,
    headers: headers as Record<string, string>,
    ...(remoteAddress !== undefined && { remoteAddress }),
  })
  const { requestId: _, ...body } = response.json()
  return {
    status: response.statusCode,
    code: body.code,
    body,
    challenge: response.headers['www-authenticate'],
  }
}

function bearer(token: string, tenantId?: string): Headers {
  return { authorization: `Bearer ${token}`, ...(tenantId !== undefined && { 'x-tenant-id': tenantId }) }
}

t.test('a route without a guard has no principal and no tenant', async (t) => {
  const { fastify } = await service(t)
  const { body } = await get(fastify, '/open', bearer(OPERATOR_KEY, tenants.active))
  t.strictSame(body, { principal: null, tenant: null })
})

t.test('a request without a bearer key is challenged', async (t) => {
  const { fastify } = await service(t)
  const without = [{}, { authorization: '' }, { authorization: 'Bearer' }, { authorization: 'Bearer ' }]
  const malformed = [
    `Basic ${OPERATOR_KEY}`,
    OPERATOR_KEY,
    `Bearer${OPERATOR_KEY}`,
    `Bearer ${OPERATOR_KEY} x`,
  ]
  for (const headers of [...without, ...malformed.map((authorization) => ({ authorization }))]) {
    for (const route of ['/operator', '/principal', '/tenant']) {
      const { status, code, challenge } = await get(fastify, route, headers)
      t.strictSame([status, code, challenge], [401, 'UNAUTHENTICATED', 'Bearer realm="lessor"'])
    }
  }
})

t.test('a wrong key is challenged as invalid, at first and when it is known', async (t) => {
  const { fastify } = await service(t)
  for (const token of ['x', tenantKey.slice(0, -1), `lsr_0123456789abcdef_${'A'.repeat(43)}`]) {
    for (const route of ['/operator', '/principal', '/tenant', '/tenant']) {
      const { status, code, challenge } = await get(fastify, route, bearer(token))
      t.strictSame([status, code], [401, 'UNAUTHENTICATED'])
      t.equal(challenge, 'Bearer realm="lessor", error="invalid_token"')
    }
  }
})

t.test('the scheme may be spelled in any case', async (t) => {
  const { fastify } = await service(t)
  for (const scheme of ['bearer', 'BEARER', 'bEaReR', 'Bearer ']) {
    const { status } = await get(fastify, '/operator', { authorization: `${scheme} ${OPERATOR_KEY}` })
    t.equal(status, 200, scheme)
  }
})

t.test('the control plane is for the operator key alone', async (t) => {
  const { fastify } = await service(t)
  const { body } = await get(fastify, '/operator', bearer(OPERATOR_KEY))
  t.strictSame(body, { principal: { kind: 'operator' }, tenant: null })
  for (const token of [tenantKey, namespaceKey]) {
    const { status, code } = await get(fastify, '/operator', bearer(token))
    t.strictSame([status, code], [403, 'FORBIDDEN'])
  }
})

t.test('the principal guard lets anyone in who has a key', async (t) => {
  const { fastify } = await service(t)
  for (const [token, kind] of [
    [OPERATOR_KEY, 'operator'],
    [tenantKey, 'api_key'],
    [namespaceKey, 'api_key'],
  ] as const) {
    const { body } = await get(fastify, '/principal', bearer(token))
    like(t, body, { principal: { kind }, tenant: null })
  }
})

t.test('the data plane does not take the operator key', async (t) => {
  const { fastify } = await service(t)
  const { status, code } = await get(fastify, '/tenant', bearer(OPERATOR_KEY, tenants.active))
  t.strictSame([status, code], [403, 'FORBIDDEN'])
})

t.test("a tenant's key opens that tenant, named or not", async (t) => {
  const { fastify } = await service(t)
  const spelled = [
    undefined,
    tenants.active,
    tenants.active.toUpperCase(),
    tenants.active.replaceAll('-', ''),
  ]
  for (const named of spelled) {
    const { status, body } = await get(fastify, '/tenant', bearer(tenantKey, named))
    t.equal(status, 200)
    t.strictSame(body.tenant, {
      tenantId: tenants.active,
      namespaceId: acme,
      generation: 1,
      status: 'active',
    })
    like(t, body.principal, { kind: 'api_key', namespaceId: acme, tenantId: tenants.active })
  }
})

t.test("a tenant's key opens no other tenant, and none answers differently", async (t) => {
  const { fastify } = await service(t)
  const unknown = '00000000-0000-4000-8000-000000000000'
  const answers = []
  for (const named of [tenants.second, tenants.suspended, tenants.deleted, tenants.stranger, unknown]) {
    const { status, body } = await get(fastify, '/tenant', bearer(tenantKey, named))
    answers.push(JSON.stringify([status, body]))
  }
  t.equal(new Set(answers).size, 1)
  t.match(answers[0], /^\[403,.*"code":"TENANT_FORBIDDEN"/)
})

t.test("a namespace's key opens each of its tenants, and must name one", async (t) => {
  const { fastify } = await service(t)
  for (const named of [tenants.active, tenants.second]) {
    const { body } = await get(fastify, '/tenant', bearer(namespaceKey, named))
    like(t, body, { tenant: { tenantId: named }, principal: { tenantId: null } })
  }
  const { status, code } = await get(fastify, '/tenant', bearer(namespaceKey))
  t.strictSame([status, code], [400, 'TENANT_REQUIRED'])
})

t.test("a stranger's tenant and an unknown one are answered alike", async (t) => {
  const { fastify } = await service(t)
  const stranger = await get(fastify, '/tenant', bearer(namespaceKey, tenants.stranger))
  const unknown = await get(fastify, '/tenant', bearer(namespaceKey, '00000000-0000-4000-8000-000000000000'))
  t.strictSame([stranger.status, stranger.code], [403, 'TENANT_FORBIDDEN'])
  t.strictSame(stranger, unknown)
})

t.test('a tenant that is not active lets nobody in', async (t) => {
  const { fastify } = await service(t, { trusted: ['127.0.0.0/8'] })
  const expected = {
    suspended: [403, 'TENANT_SUSPENDED'],
    provisioning: [409, 'TENANT_NOT_ACTIVE'],
    deleting: [409, 'TENANT_NOT_ACTIVE'],
    deleted: [404, 'TENANT_NOT_FOUND'],
  } as const
  for (const [status, answer] of Object.entries(expected)) {
    const tenantId = tenants[status as keyof typeof expected]
    const own = await get(fastify, '/tenant', bearer(await issue(acme, tenantId)))
    t.strictSame([own.status, own.code], answer, `${status}, by its own key`)
    const wide = await get(fastify, '/tenant', bearer(namespaceKey, tenantId))
    t.strictSame([wide.status, wide.code], answer, `${status}, by its namespace's key`)
    const peer = await get(fastify, '/network', { 'x-tenant-id': tenantId })
    t.strictSame([peer.status, peer.code], answer, `${status}, by a trusted peer`)
  }
})

t.test('a key whose tenant lies in another namespace opens nothing', async (t) => {
  const { fastify } = await service(t)
  const crooked = await issue(acme, tenants.stranger)
  const { status, code } = await get(fastify, '/tenant', bearer(crooked))
  t.strictSame([status, code], [403, 'TENANT_FORBIDDEN'])
})

t.test('a tenant named in a malformed way is refused by the name of the header', async (t) => {
  const { fastify } = await service(t, { trusted: ['127.0.0.0/8'] })
  for (const named of [
    '',
    'acme',
    tenants.active.slice(1),
    `${tenants.active}0`,
    `{${tenants.active}}`,
    '*',
  ]) {
    for (const [route, headers] of [
      ['/tenant', bearer(tenantKey, named)],
      ['/tenant', bearer(namespaceKey, named)],
      ['/network', { 'x-tenant-id': named }],
    ] as const) {
      const { status, body } = await get(fastify, route, headers)
      t.equal(status, 400)
      like(t, body, {
        code: 'INVALID_REQUEST',
        errors: [{ in: 'headers', path: 'x-tenant-id', message: 'must be one UUID' }],
      })
    }
  }
})

t.test('a request that needs nothing new passes without a query and without a tick', async (t) => {
  const { fastify, db } = await service(t)
  await get(fastify, '/tenant', bearer(tenantKey))
  const { queries } = db
  let passed = false
  const request = { headers: bearer(tenantKey) } as never
  fastify.guards.tenant.call(fastify, request, {} as never, () => {
    passed = true
  })
  t.ok(passed)
  for (let i = 0; i < 10; i++) await get(fastify, '/tenant', bearer(tenantKey))
  t.equal(db.queries, queries)
})

t.test('a failure of the control database lets nobody in', async (t) => {
  const { fastify, db } = await service(t, { trusted: ['127.0.0.0/8'] })
  db.before = () => Promise.reject(new Error('down'))
  t.equal((await get(fastify, '/tenant', bearer(tenantKey))).status, 500)
  t.equal((await get(fastify, '/network', { 'x-tenant-id': tenants.active })).status, 500)
  db.before = () => Promise.reject(undefined)
  t.equal((await get(fastify, '/tenant', bearer(tenantKey))).status, 500)
  t.equal((await get(fastify, '/network', { 'x-tenant-id': tenants.active })).status, 500)
})

t.test('a suspension counts when the directory has heard of it', async (t) => {
  const { fastify, clock } = await service(t)
  const tenantId = await addTenant(control, acme)
  t.equal((await get(fastify, '/tenant', bearer(namespaceKey, tenantId))).status, 200)
  await control.query(sql`update lessor.tenants set status = 'suspended' where id = ${tenantId}`)
  clock.advance(10_000)
  t.equal((await get(fastify, '/tenant', bearer(namespaceKey, tenantId))).code, 'TENANT_SUSPENDED')
})

/** Sends a request over a real socket. Headers with a list go out once per item. */
async function send(
  url: string,
  headers: Headers,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const { promise, resolve, reject } = Promise.withResolvers<{
    status: number
    body: Record<string, unknown>
  }>()
  const request = httpRequest(
    url,
    { headers: headers as Record<string, string>, agent: false },
    async (response) => {
      try {
        const chunks = await response.toArray()
        resolve({ status: response.statusCode ?? 0, body: JSON.parse(Buffer.concat(chunks).toString()) })
      } catch (error) {
        reject(error)
      }
    },
  )
  request.once('error', reject).end()
  return promise
}

async function listen(t: Test, host: string, options: Options): Promise<number> {
  const { fastify } = await service(t, options)
  await fastify.listen({ host, port: 0 })
  return (fastify.server.address() as AddressInfo).port
}

/** Every header that some service, somewhere, takes for the caller's address or for trust. */
const SPOOFS: readonly Headers[] = [
  { 'x-forwarded-for': '10.0.0.1' },
  { 'x-forwarded-for': ['10.0.0.1', '10.0.0.2'] },
  { 'x-forwarded-for': '::ffff:10.0.0.1' },
  { 'x-real-ip': '10.0.0.1' },
  { forwarded: 'for=10.0.0.1' },
  { 'x-client-ip': '10.0.0.1' },
  { 'cf-connecting-ip': '10.0.0.1' },
  { 'true-client-ip': '10.0.0.1' },
  { 'x-internal-request': 'true' },
  { 'x-service-token': OPERATOR_KEY },
  { authorization: `Bearer ${OPERATOR_KEY}` },
  { host: '10.0.0.1' },
]

t.test('no header makes a caller trusted', async (t) => {
  const port = await listen(t, '127.0.0.1', { trusted: ['10.0.0.0/8'] })
  for (const spoof of SPOOFS) {
    const { status, body } = await send(`http://127.0.0.1:${port}/network`, {
      'x-tenant-id': tenants.active,
      ...spoof,
    })
    t.strictSame([status, body.code], [403, 'FORBIDDEN'], JSON.stringify(spoof))
  }
})

t.test('no header makes a trusted caller less so, without a configured proxy', async (t) => {
  const port = await listen(t, '127.0.0.1', { trusted: ['127.0.0.1/32'] })
  for (const spoof of [{ 'x-forwarded-for': '203.0.113.9' }, ...SPOOFS]) {
    const { status, body } = await send(`http://127.0.0.1:${port}/network`, {
      'x-tenant-id': tenants.active,
      ...spoof,
    })
    t.equal(status, 200, JSON.stringify(spoof))
    t.strictSame(body.principal, { kind: 'network', address: '127.0.0.1' })
  }
})

t.test('behind a configured proxy the address counts that the proxy saw', async (t) => {
  const port = await listen(t, '127.0.0.1', {
    trusted: ['10.0.0.0/8'],
    server: { trustProxy: ['127.0.0.1'] },
  })
  const cases = [
    ['10.0.0.1', 200],
    ['203.0.113.9, 10.0.0.1', 200],
    // What stands before the proxy's own entry came from the caller.
    ['10.0.0.1, 203.0.113.9', 403],
    ['10.0.0.1, 10.0.0.1, 203.0.113.9', 403],
    ['203.0.113.9', 403],
    ['unknown', 403],
    ['10.0.0.1:4711', 403],
    ['', 403],
  ] as const
  for (const [forwarded, expected] of cases) {
    const { status } = await send(`http://127.0.0.1:${port}/network`, {
      'x-tenant-id': tenants.active,
      'x-forwarded-for': forwarded,
    })
    t.equal(status, expected, JSON.stringify(forwarded))
  }
})

t.test('a peer that is no configured proxy cannot forward', async (t) => {
  const port = await listen(t, '127.0.0.1', {
    trusted: ['10.0.0.0/8'],
    server: { trustProxy: ['192.0.2.0/24'] },
  })
  for (const spoof of SPOOFS) {
    const { status } = await send(`http://127.0.0.1:${port}/network`, {
      'x-tenant-id': tenants.active,
      ...spoof,
    })
    t.equal(status, 403, JSON.stringify(spoof))
  }
})

const hasIpv6 = Object.values(networkInterfaces()).some((each) =>
  each?.some(({ address }) => address === '::1'),
)

t.test(
  `a peer on a dual-stack socket is taken for the IPv4 address that it is${hasIpv6 ? '' : '; here there is none'}`,
  async (t) => {
    if (!hasIpv6) {
      await rejectsLike(t, listen(t, '::1', {}), { code: 'EADDRNOTAVAIL' })
      return
    }
    const trusting = await listen(t, '::', { trusted: ['127.0.0.0/8'] })
    const headers = { 'x-tenant-id': tenants.active }
    const { status, body } = await send(`http://127.0.0.1:${trusting}/network`, headers)
    t.strictSame([status, body.principal], [200, { kind: 'network', address: '::ffff:127.0.0.1' }])
    t.equal((await send(`http://[::1]:${trusting}/network`, headers)).status, 403)
    const wary = await listen(t, '::', { trusted: ['::1/128'] })
    t.equal((await send(`http://127.0.0.1:${wary}/network`, headers)).status, 403)
    t.equal((await send(`http://[::1]:${wary}/network`, headers)).status, 200)
  },
)

t.test('an empty list of networks lets nobody in, not even from loopback', async (t) => {
  const port = await listen(t, '127.0.0.1', {})
  const { status, body } = await send(`http://127.0.0.1:${port}/network`, { 'x-tenant-id': tenants.active })
  t.strictSame([status, body.code], [403, 'FORBIDDEN'])
})

t.test('a trusted caller must name a tenant that exists', async (t) => {
  const { fastify } = await service(t, { trusted: ['10.0.0.0/8'] })
  const none = await get(fastify, '/network', {}, '10.1.2.3')
  t.strictSame([none.status, none.code], [400, 'TENANT_REQUIRED'])
  const unknown = await get(
    fastify,
    '/network',
    { 'x-tenant-id': '00000000-0000-4000-8000-000000000000' },
    '10.1.2.3',
  )
  t.strictSame([unknown.status, unknown.code], [404, 'TENANT_NOT_FOUND'])
  const { body } = await get(fastify, '/network', { 'x-tenant-id': tenants.stranger }, '::ffff:10.1.2.3')
  like(t, body, { tenant: { tenantId: tenants.stranger }, principal: { kind: 'network' } })
})

t.test('a caller who is not trusted learns nothing about tenants', async (t) => {
  const { fastify } = await service(t, { trusted: ['10.0.0.0/8'] })
  const answers = []
  for (const named of [tenants.active, tenants.suspended, '00000000-0000-4000-8000-000000000000', 'x', '']) {
    answers.push(JSON.stringify(await get(fastify, '/network', { 'x-tenant-id': named }, '192.0.2.1')))
  }
  answers.push(JSON.stringify(await get(fastify, '/network', {}, '192.0.2.1')))
  t.equal(new Set(answers).size, 1)
  t.match(answers[0], /"status":403/)
})

t.test('a tenant that is named twice is refused, even twice the same', async (t) => {
  const port = await listen(t, '127.0.0.1', { trusted: ['127.0.0.0/8'] })
  for (const twice of [
    [tenants.active, tenants.active],
    [tenants.active, tenants.second],
    [tenants.active, ''],
  ]) {
    for (const [route, headers] of [
      ['network', {}],
      ['tenant', bearer(namespaceKey)],
    ] as const) {
      const { status, body } = await send(`http://127.0.0.1:${port}/${route}`, {
        ...headers,
        'x-tenant-id': twice,
      })
      t.strictSame([status, body.code], [400, 'INVALID_REQUEST'])
    }
  }
})

t.test(
  'the authenticator hears of the address that a key came from, as the proxy setting has it',
  async (t) => {
    const heard: unknown[] = []
    const fastify: FastifyInstance = Fastify({ trustProxy: ['192.0.2.1'] })
    t.teardown(() => fastify.close())
    await fastify.register(accessPlugin, {
      authenticator: {
        authenticate(token, address) {
          heard.push([token, address])
          return { kind: 'operator' }
        },
      },
      directory: new TenantDirectory({ clock: new ManualClock(), load: async () => [] }),
      trustedNetworks: new TrustedNetworks([]),
    })
    fastify.get('/principal', { onRequest: fastify.guards.principal }, async () => ({}))
    const headers = { ...bearer('some-key'), 'x-forwarded-for': '198.51.100.7' }
    for (const remoteAddress of ['192.0.2.1', '192.0.2.2']) {
      await fastify.inject({ url: '/principal', headers: headers as Record<string, string>, remoteAddress })
    }
    t.strictSame(heard, [
      ['some-key', '198.51.100.7'],
      ['some-key', '192.0.2.2'],
    ])
  },
)
