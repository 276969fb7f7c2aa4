import { once } from 'node:events'
import { request as httpsRequest } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import fastify from 'fastify'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import { LessorError } from '../src/errors.ts'
import { createLogger } from '../src/http/logger.ts'
import { createLessor } from '../src/lessor.ts'
import { lessorPlugin } from '../src/lessor-plugin.ts'
import { sql } from '../src/pool/statement.ts'
import { findLogin } from '../src/tenants/credential-store.ts'
import { credentialContext } from '../src/tenants/login.ts'
import { generateVaultKeys, parseVaultKeys } from '../src/vault/key-ring.ts'
import { Vault } from '../src/vault/vault.ts'
import { type TestApp, testApp } from './support/app.ts'
import { testDatabase } from './support/database.ts'
import { excludes, like, rejectsLike } from './support/like.ts'
import { makeCertificate } from './support/tls.ts'

/** Resolves when `is` holds; the test's own timeout is the limit. */
async function until(is: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await is())) await sleep(5)
}

function requestLines(app: TestApp) {
  return app.logged().filter((line) => line.msg === 'request')
}

t.test('from onboarding to an evicted pool, over HTTP', async (t) => {
  const app = await testApp(t)
  const onboarded = await app.operator({ method: 'POST', url: '/v1/tenants', payload: { name: 'acme' } })
  t.equal(onboarded.statusCode, 201)
  const { tenant, api_key } = onboarded.json()
  const authorization = `Bearer ${api_key.key}`
  t.strictSame(app.lessor.pools.snapshots(), [], 'no pool before the first request')

  const created = await app.app.inject({
    method: 'POST',
    url: '/v1/users',
    headers: { authorization },
    payload: { first_name: 'Ada', last_name: 'Lovelace' },
  })
  t.equal(created.statusCode, 201)
  const listed = await app.app.inject({ url: '/v1/users?search=love', headers: { authorization } })
  like(t, listed.json(), { records: [{ first_name: 'Ada' }], total: 1 })
  t.equal(app.lessor.pools.snapshot(tenant.id)?.state, 'ready')

  const evicted = await app.operator({ method: 'POST', url: `/ops/pools/${tenant.id}/evict` })
  t.equal(evicted.statusCode, 202)
  const again = await app.app.inject({ url: created.headers.location ?? '', headers: { authorization } })
  like(t, again.json(), { first_name: 'Ada' })
  const metrics = (await app.operator({ url: '/metrics' })).body
  for (const line of [
    'lessor_pool_opens_total{outcome="ok"} 2',
    'lessor_pool_evictions_total{reason="operator"} 1',
    'lessor_pool_reopened_total 0',
    'lessor_tenants{status="active"} 1',
  ]) {
    t.ok(metrics.includes(`${line}\n`), line)
  }
})

t.test('no route but health lets a caller in without credentials', async (t) => {
  const { app } = await testApp(t)
  const { paths } = (await app.inject('/openapi.json')).json()
  const id = '00000000-0000-4000-8000-000000000000'
  let guarded = 0
  for (const [path, methods] of Object.entries(paths as Record<string, object>)) {
    for (const method of Object.keys(methods)) {
      const url = path.replaceAll(/\{\w+\}/g, id)
      const { statusCode } = await app.inject({
        method: method as 'GET',
        url,
        headers: { 'x-tenant-id': id },
      })
      if (['/livez', '/readyz', '/health_check'].includes(path)) t.equal(statusCode, 200, path)
      else t.equal(statusCode, path.startsWith('/v1/internal/') ? 403 : 401, `${method} ${path}`)
      guarded += statusCode === 200 ? 0 : 1
    }
  }
  t.ok(guarded > 20)
})

t.test('one line a request tells who did what, and how it went', async (t) => {
  const app = await testApp(t)
  const tenant = await app.onboard()
  await tenant.inject({ url: '/v1/users?search=private', headers: { 'x-request-id': 'req-1' } })
  await app.operator({ url: '/ops/pools' })
  await app.app.inject('/v1/users')
  await app.app.inject('/nowhere')
  const [list, pools, refused, unknown, ...others] = requestLines(app)
  like(t, list, {
    requestId: 'req-1',
    tenant: tenant.id,
    principal: 'api_key',
    key: tenant.key.split('_')[2],
    method: 'GET',
    route: '/v1/users',
    status: 200,
    ms: Number,
  })
  like(t, pools, { principal: 'operator', route: '/ops/pools', status: 200, requestId: /^\S{14,}$/ })
  like(t, refused, { route: '/v1/users', status: 401, code: 'UNAUTHENTICATED' })
  like(t, unknown, { route: null, status: 404, code: 'ROUTE_NOT_FOUND' })
  t.strictSame(others, [])
  excludes(t, app.logText(), /private/)
})

/** blockUsers makes every statement on the users wait until the returned function is called. */
async function blockUsers({ lessor }: TestApp): Promise<() => Promise<void>> {
  const release = Promise.withResolvers<void>()
  const locked = Promise.withResolvers<void>()
  const holder = lessor.control.transaction(async (tx) => {
    await tx.query(sql`lock table app.users in access exclusive mode`)
    locked.resolve()
    await release.promise
  })
  await locked.promise
  return async () => {
    release.resolve()
    await holder
  }
}

/** Number of statements of tenants that wait for a lock. */
async function waiting({ lessor }: TestApp): Promise<number> {
  const [row] = await lessor.control.query<{ count: number }>(
    sql`select count(*)::integer as count from pg_stat_activity
        where datname = current_database() and usename like 't__%' and wait_event_type = 'Lock'`,
  )
  return row?.count ?? 0
}

const NEW_USER = JSON.stringify({ first_name: 'Ada', last_name: 'Lovelace' })

t.test('a client that goes away is logged and counted, and its statement is cancelled', async (t) => {
  const app = await testApp(t)
  const tenant = await app.onboard()
  const { port } = new URL(await app.listen())
  const unblock = await blockUsers(app)
  const socket = connect(Number(port), '127.0.0.1')
  socket.write(
    `POST /v1/users HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${tenant.key}\r\n` +
      `content-type: application/json\r\ncontent-length: ${NEW_USER.length}\r\n\r\n${NEW_USER}`,
  )
  await until(async () => (await waiting(app)) === 1)
  socket.destroy()
  await until(() => app.lessor.pools.snapshot(tenant.id)?.leases === 0)
  t.equal(await waiting(app), 0, 'nothing runs on for it')
  like(t, requestLines(app), [
    { status: 499, code: 'CLIENT_CLOSED_REQUEST', route: '/v1/users', tenant: tenant.id },
  ])
  await unblock()
  const metrics = (await app.operator({ url: '/metrics' })).body
  const series = 'http_request_duration_seconds_count{method="POST",route="/v1/users",status="499"} 1'
  t.ok(metrics.includes(`${series}\n`))
})

t.test('a request that takes too long gets 504, whatever its method, and its statement ends', async (t) => {
  const app = await testApp(t, { REQUEST_TIMEOUT_MS: '2000' })
  const tenant = await app.onboard()
  const url = `${await app.listen()}/v1/users`
  const unblock = await blockUsers(app)
  const headers = { authorization: `Bearer ${tenant.key}`, 'content-type': 'application/json' }
  for (const init of [{ headers }, { headers, method: 'POST', body: NEW_USER }]) {
    const response = await fetch(url, init)
    t.equal(response.status, 504)
    like(t, await response.json(), { code: 'REQUEST_TIMEOUT' })
    await until(() => app.lessor.pools.snapshot(tenant.id)?.leases === 0)
    t.equal(await waiting(app), 0, 'nothing runs on for it')
  }
  await unblock()
  t.equal((await fetch(url, { headers })).status, 200)
})

function makeLessor(databaseUrl: string, environment: Record<string, string> = {}) {
  const config = loadConfig({
    DATABASE_URL: databaseUrl,
    OPERATOR_KEY: 'o'.repeat(40),
    VAULT_KEYS: generateVaultKeys(),
    LOG_LEVEL: 'silent',
    ...environment,
  })
  return createLessor(config, { logger: createLogger(config.logLevel).logger })
}

t.test('a team can put Lessor into its own app', async (t) => {
  const { url: databaseUrl } = await testDatabase(t)
  const lessor = makeLessor(databaseUrl)
  const app = fastify()
  t.teardown(() => app.close())
  app.get('/own', async () => ({ own: true }))
  app.post('/own', async (request) => request.body)
  await app.register(lessorPlugin, { lessor, users: false })
  app.get('/whoami', { onRequest: app.guards.tenant }, (request) =>
    app.lessor.use(request, async (db) => {
      const [row] = await db.query(sql`select current_setting('rls.tenant_id') as tenant`)
      return row
    }),
  )
  app.get('/unguarded', (request) => app.lessor.use(request, async () => ({})))

  const { tenant, api_key } = await lessor.tenants.onboard({ name: 'acme' })
  const authorization = `Bearer ${api_key.key}`
  const whoami = await app.inject({ url: '/whoami', headers: { authorization } })
  t.strictSame(whoami.json(), { tenant: tenant.id })
  t.equal((await app.inject('/whoami')).statusCode, 401)
  t.equal((await app.inject('/unguarded')).statusCode, 500, 'a forgotten guard opens no pool')

  t.strictSame((await app.inject('/own')).json(), { own: true })
  const plain = { 'content-type': 'text/plain' }
  const echo = await app.inject({ method: 'POST', url: '/own', payload: 'text', headers: plain })
  t.equal(echo.body, 'text', "the host's own parsers and errors stay as they are")
  like(t, (await app.inject('/nowhere')).json(), { error: 'Not Found' })
  t.equal((await app.inject({ url: '/v1/users', headers: { authorization } })).statusCode, 404)
  t.equal((await app.inject('/readyz')).statusCode, 200)
  const refused = await app.inject('/v1/tenants')
  t.match(refused.headers['content-type'], /^application\/problem\+json/)

  await app.close()
  await rejectsLike(
    t,
    lessor.pools.use(lessorKey(tenant.id), new AbortController(), async () => {}),
    {
      code: 'SHUTTING_DOWN',
    },
  )
})

function lessorKey(tenantId: string) {
  return { tenantId, generation: 1 }
}

t.test('an app whose control database is not there does not start, and leaves nothing open', async (t) => {
  const lessor = makeLessor('postgres://nobody:hidden@127.0.0.1:1/nothing')
  const error = await buildApp(lessor).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  t.ok(error instanceof LessorError)
  like(t, error, { code: 'CONTROL_UNAVAILABLE' })
})

t.test('a path that is no URL path is a problem as well', async (t) => {
  const { app } = await testApp(t)
  const response = await app.inject('/v1/users/%zz')
  t.equal(response.statusCode, 400)
  t.match(response.headers['content-type'], /^application\/problem\+json/)
  t.equal(response.json().code, 'INVALID_REQUEST')
})

t.test('HTTPS from a certificate and an encrypted key', async (t) => {
  const { certFile, keyFile, passphrase, certificate } = makeCertificate(t.testdir())
  const { app } = await testApp(t, {
    TLS_CERT_FILE: certFile,
    TLS_KEY_FILE: keyFile,
    TLS_KEY_PASSPHRASE: passphrase,
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const sent = httpsRequest({ host: '127.0.0.1', port, path: '/livez', ca: certificate, agent: false }).end()
  const [response] = await once(sent, 'response')
  t.equal(response.statusCode, 200)
  t.match(response.headers['strict-transport-security'], /max-age/)
  t.strictSame(JSON.parse(await text(response)), { status: 'ok' })
})

t.test('no secret gets into the log of a run with all that goes wrong', async (t) => {
  const app = await testApp(t, { LOG_LEVEL: 'trace' })
  const tenant = await app.onboard()
  const { control, pools } = app.lessor
  const sealed = await findLogin(control, tenant.id)
  if (sealed === undefined || sealed.envelope === null) throw new Error('the tenant has no credential')
  const vault = new Vault(parseVaultKeys(app.vaultKeys))
  const password = (await vault.open(sealed.envelope, credentialContext(tenant.id))).toString()

  await tenant.inject({ method: 'POST', url: '/v1/users', payload: { first_name: 'a', last_name: 'b' } })
  await app.operator({ method: 'POST', url: `/v1/tenants/${tenant.id}/keys` })
  const issued = await app.operator({ method: 'POST', url: `/v1/tenants/${tenant.id}/keys` })
  const wrongKey = `${tenant.key.slice(0, -4)}AAAA`
  await app.app.inject({ url: '/v1/users', headers: { authorization: `Bearer ${wrongKey}` } })
  await app.app.inject({ url: '/v1/users', headers: { authorization: 'Basic aGlkZGVuOmhpZGRlbg==' } })
  await tenant.inject({ method: 'POST', url: '/v1/users', payload: '{"first_name":"hidden-body' })
  await pools.evict(tenant.id, 'operator')
  // The login stops working, so that opening the pool fails and says why.
  const [role] = await control.query<{ name: string }>(
    sql`select rolname as name from pg_roles where right(rolname, 32) = replace(${tenant.id}, '-', '')`,
  )
  await control.script(`alter role "${role?.name}" nologin`)
  t.equal((await tenant.inject({ url: '/v1/users' })).statusCode, 503)
  await control.script('drop table lessor.api_keys cascade')
  const broken = await app.operator({ url: `/v1/tenants/${tenant.id}/keys` })
  t.equal(broken.statusCode, 500)

  const log = app.logText()
  t.match(log, /request failed/)
  t.match(log, /POOL_OPEN_FAILED/)
  const [, hex = ''] = app.vaultKeys.split(':')
  const secrets = {
    operatorKey: app.operatorKey,
    vaultKey: hex,
    apiKey: tenant.key,
    apiKeySecret: tenant.key.split('_').slice(3).join('_').slice(0, 43),
    issuedKey: issued.json().key,
    wrongKey,
    tenantPassword: password,
    databaseUrl: app.databaseUrl,
    databasePassword: new URL(app.databaseUrl).password,
    basic: 'aGlkZGVuOmhpZGRlbg==',
    body: 'hidden-body',
    bearer: 'Bearer',
  }
  for (const [name, secret] of Object.entries(secrets)) {
    t.ok(secret.length > 5, `${name} is known to the test`)
    t.notOk(log.includes(secret), name)
  }
})
