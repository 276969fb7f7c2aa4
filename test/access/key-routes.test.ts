import Fastify, { type FastifyInstance, type InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import { accessPlugin } from '../../src/access/access-plugin.ts'
import { Authenticator } from '../../src/access/authenticator.ts'
import { keyRoutes } from '../../src/access/key-routes.ts'
import { KeyService } from '../../src/access/key-service.ts'
import { TrustedNetworks } from '../../src/access/trusted-networks.ts'
import { problemPlugin } from '../../src/http/problem-plugin.ts'
import { validatorCompiler } from '../../src/http/validation.ts'
import { sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'
import { findNamespace } from '../../src/tenants/namespace-store.ts'
import { TenantDirectory } from '../../src/tenants/tenant-directory.ts'
import { findTenant, findTenantRefs } from '../../src/tenants/tenant-store.ts'
import { like } from '../support/like.ts'
import { addNamespace, addTenant, CountingDb, controlDatabase, ManualClock, OPERATOR_KEY } from './helpers.ts'

const control = await controlDatabase(t)

/** A service with the key routes and one route behind the tenant guard, and a namespace of its own. */
async function service(t: Test) {
  const clock = new ManualClock()
  const db = new CountingDb(control)
  const authenticator = new Authenticator({ db, clock, operatorKey: new Secret(OPERATOR_KEY) })
  const fastify: FastifyInstance = Fastify()
  t.teardown(() => fastify.close())
  fastify.setValidatorCompiler(validatorCompiler())
  await fastify.register(problemPlugin)
  await fastify.register(accessPlugin, {
    authenticator,
    directory: new TenantDirectory({ clock, load: (ids) => findTenantRefs(control, ids) }),
    trustedNetworks: new TrustedNetworks([]),
  })
  await fastify.register(keyRoutes, {
    db,
    keys: new KeyService(),
    authenticator,
    findTenant: (id) => findTenant(control, id),
    findNamespace: (name) => findNamespace(control, name),
  })
  fastify.get('/mine', { onRequest: fastify.guards.tenant }, async (request) => request.tenant?.tenantId)
  const namespace = `acme-${crypto.randomUUID()}`
  const namespaceId = await addNamespace(control, namespace)
  const tenantId = await addTenant(control, namespaceId)

  const call = async (method: InjectOptions['method'], url: string, body?: object, token = OPERATOR_KEY) => {
    const response = await fastify.inject({
      method: method ?? 'GET',
      url,
      headers: { authorization: `Bearer ${token}` },
      ...(body !== undefined && { body }),
    })
    const parsed = response.body === '' ? undefined : response.json()
    return { status: response.statusCode, headers: response.headers, body: parsed }
  }
  const opens = async (key: string, named?: string) => {
    const headers = { authorization: `Bearer ${key}`, ...(named !== undefined && { 'x-tenant-id': named }) }
    const { statusCode, body } = await fastify.inject({ url: '/mine', headers })
    return statusCode === 200 ? body : statusCode
  }
  return {
    db,
    call,
    opens,
    namespace,
    namespaceId,
    tenantId,
    ofTenant: `/v1/tenants/${tenantId}/keys`,
    ofNamespace: `/v1/namespaces/${namespace}/keys`,
  }
}

t.test('a key issued for a tenant opens that tenant and is shown once', async (t) => {
  const { call, opens, tenantId, ofTenant } = await service(t)
  const { status, headers, body } = await call('POST', ofTenant, { name: 'the back office' })
  t.equal(status, 201)
  t.equal(headers['cache-control'], 'no-store')
  t.strictSame(Object.keys(body).sort(), ['created_at', 'id', 'key', 'name'])
  t.equal(body.name, 'the back office')
  t.equal(new Date(body.created_at).toISOString(), body.created_at)
  t.ok(body.key.startsWith(`lsr_${body.id}_`))
  t.equal(await opens(body.key), tenantId)

  const list = await call('GET', ofTenant)
  const { id, name, created_at } = body
  t.strictSame(list.body, { records: [{ id, name, created_at, revoked_at: null }], next_cursor: null })
})

t.test('a key issued for a namespace opens every tenant in it', async (t) => {
  const { call, opens, namespaceId, tenantId, ofNamespace, ofTenant } = await service(t)
  const later = await addTenant(control, namespaceId)
  const { status, body } = await call('POST', ofNamespace, {})
  t.equal(status, 201)
  t.equal(body.name, null)
  for (const each of [tenantId, later]) t.equal(await opens(body.key, each), each)
  like(t, (await call('GET', ofNamespace)).body.records, [{ id: body.id }])
  t.strictSame((await call('GET', ofTenant)).body.records, [], "and is none of the tenant's own")
})

t.test('a key needs no name, and so no body', async (t) => {
  const { call, ofTenant, ofNamespace } = await service(t)
  for (const path of [ofTenant, ofNamespace]) {
    const { status, body } = await call('POST', path)
    t.strictSame([status, body.name], [201, null])
  }
})

t.test('the secret is stored as argon2id with the recommended cost, and nowhere else', async (t) => {
  const { call, ofTenant } = await service(t)
  const { body } = await call('POST', ofTenant, { name: 'x' })
  const [row] = await control.query<{ row: string; hash: string }>(sql`
    select to_jsonb(k)::text as row, hash from lessor.api_keys k where id = ${body.id}`)
  t.match(row?.hash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  t.notOk(row?.row.includes(body.key.slice(-43)))
})

t.test('a revoked key is refused from the next request on, and stays in the list', async (t) => {
  const { call, opens, tenantId, ofTenant, ofNamespace } = await service(t)
  for (const path of [ofTenant, ofNamespace]) {
    const { body } = await call('POST', path)
    t.equal(await opens(body.key, tenantId), tenantId)
    const revoked = await call('DELETE', `${path}/${body.id}`)
    t.strictSame([revoked.status, revoked.body], [204, undefined])
    t.equal(await opens(body.key, tenantId), 401)
    const [first] = (await call('GET', path)).body.records
    t.equal(first.id, body.id)
    t.ok(first.revoked_at >= first.created_at)
    t.equal((await call('DELETE', `${path}/${body.id}`)).status, 204, 'a second time changes nothing')
    t.strictSame((await call('GET', path)).body.records, [first])
  }
})

t.test('a revocation counts even when its answer was lost', async (t) => {
  const { db, call, opens, tenantId, ofTenant } = await service(t)
  const { body } = await call('POST', ofTenant)
  t.equal(await opens(body.key), tenantId)
  db.after = () => Promise.reject(new Error('connection lost'))
  t.equal((await call('DELETE', `${ofTenant}/${body.id}`)).status, 500)
  db.after = async () => {}
  t.equal(await opens(body.key), 401)
})

t.test("a key is revoked by its owner's path only", async (t) => {
  const { call, opens, namespaceId, tenantId, ofTenant, ofNamespace } = await service(t)
  const foreign = await service(t)
  const sibling = `/v1/tenants/${await addTenant(control, namespaceId)}/keys`
  const [narrow, wide] = [(await call('POST', ofTenant)).body, (await call('POST', ofNamespace)).body]
  for (const path of [sibling, ofNamespace, foreign.ofTenant, foreign.ofNamespace]) {
    like(t, await call('DELETE', `${path}/${narrow.id}`), { status: 404, body: { code: 'KEY_NOT_FOUND' } })
  }
  for (const path of [ofTenant, sibling, foreign.ofTenant, foreign.ofNamespace]) {
    like(t, await call('DELETE', `${path}/${wide.id}`), { status: 404, body: { code: 'KEY_NOT_FOUND' } })
  }
  t.equal(await opens(narrow.key), tenantId)
  t.equal(await opens(wide.key, tenantId), tenantId)
})

t.test('lists go by pages, newest first, without a gap or a repetition', async (t) => {
  const { call, ofTenant } = await service(t)
  const issued: string[] = []
  for (let i = 0; i < 7; i++) issued.unshift((await call('POST', ofTenant)).body.id)
  // Three of one moment, so that the order among them is the id's.
  const twins = issued.slice(2, 5)
  await control.query(sql`
    update lessor.api_keys set created_at = (select created_at from lessor.api_keys where id = ${twins[0] ?? ''})
    where id = any(${twins})`)
  const expected = [...issued.slice(0, 2), ...twins.sort().reverse(), ...issued.slice(5)]
  for (const limit of [1, 2, 3, 6, 7, 100]) {
    const seen: string[] = []
    let cursor: string | null = null
    do {
      const { body } = await call(
        'GET',
        `${ofTenant}?limit=${limit}${cursor === null ? '' : `&cursor=${cursor}`}`,
      )
      t.ok(body.records.length <= limit)
      seen.push(...body.records.map((record: { id: string }) => record.id))
      cursor = body.next_cursor
    } while (cursor !== null)
    t.strictSame(seen, expected, `limit ${limit}`)
  }
})

t.test('only operators come near the keys', async (t) => {
  const { call, ofTenant, ofNamespace } = await service(t)
  const { body } = await call('POST', ofTenant)
  for (const path of [ofTenant, ofNamespace]) {
    for (const [method, url] of [
      ['GET', path],
      ['POST', path],
      ['DELETE', `${path}/${body.id}`],
    ] as const) {
      like(t, await call(method, url, undefined, body.key), { status: 403, body: { code: 'FORBIDDEN' } })
      like(t, await call(method, url, undefined, 'x'), { status: 401, body: { code: 'UNAUTHENTICATED' } })
    }
  }
})

t.test('unknown tenants, namespaces and keys are told apart', async (t) => {
  const { call, ofTenant, ofNamespace, namespaceId } = await service(t)
  const unknown = '0123456789abcdef'
  const buried = await addTenant(control, namespaceId, 'deleted')
  for (const id of ['00000000-0000-4000-8000-000000000000', buried]) {
    const path = `/v1/tenants/${id}/keys`
    for (const [method, url] of [
      ['GET', path],
      ['POST', path],
      ['DELETE', `${path}/${unknown}`],
    ] as const) {
      like(t, await call(method, url), { status: 404, body: { code: 'TENANT_NOT_FOUND' } })
    }
  }
  like(t, await call('GET', '/v1/namespaces/nobody/keys'), {
    status: 404,
    body: { code: 'NAMESPACE_NOT_FOUND' },
  })
  like(t, await call('POST', '/v1/namespaces/nobody/keys'), {
    status: 404,
    body: { code: 'NAMESPACE_NOT_FOUND' },
  })
  for (const path of [ofTenant, ofNamespace]) {
    like(t, await call('DELETE', `${path}/${unknown}`), { status: 404, body: { code: 'KEY_NOT_FOUND' } })
  }
})

t.test('keys are issued for active and suspended tenants only', async (t) => {
  const { call, namespaceId } = await service(t)
  for (const [status, expected] of [
    ['suspended', 201],
    ['provisioning', 409],
    ['deleting', 409],
  ] as const) {
    const answer = await call('POST', `/v1/tenants/${await addTenant(control, namespaceId, status)}/keys`)
    t.equal(answer.status, expected, status)
    if (expected === 409) t.equal(answer.body.code, 'TENANT_NOT_ACTIVE')
  }
})

t.test('what does not fit the schema is refused', async (t) => {
  const { call, ofTenant, ofNamespace } = await service(t)
  for (const path of [ofTenant, ofNamespace]) {
    for (const body of [
      { name: '' },
      { name: 'x'.repeat(201) },
      { name: 'a\0b' },
      { name: 7 },
      { nome: 'x' },
      [],
    ]) {
      like(t, await call('POST', path, body), { status: 400, body: { code: 'INVALID_REQUEST' } })
    }
    for (const query of [
      'limit=0',
      'limit=101',
      'limit=x',
      'page=2',
      'cursor=x',
      'cursor=',
      'cursor=WyJ4Il0',
    ]) {
      like(
        t,
        await call('GET', `${path}?${query}`),
        { status: 400, body: { code: 'INVALID_REQUEST' } },
        query,
      )
    }
    t.equal((await call('DELETE', `${path}/none`)).status, 400)
  }
  t.equal((await call('GET', '/v1/tenants/none/keys')).status, 400)
  t.equal((await call('GET', '/v1/namespaces/a%00b/keys')).status, 400)
})
