import { randomBytes } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { hardeningPlugin } from '../../src/http/hardening-plugin.ts'
import { like } from '../support/like.ts'

interface Scope {
  teardown(fn: () => Promise<void>): void
}

async function makeApp(
  t: Scope,
  corsOrigins: readonly string[] = [],
  https = false,
): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(hardeningPlugin, { corsOrigins, https })
  app.get('/small', async () => ({ a: 1 }))
  app.get('/large', async () => ({ text: randomBytes(2000).toString('hex') }))
  t.teardown(() => app.close())
  return app
}

t.test('every answer, an error as well, carries the headers of an API', async (t) => {
  const app = await makeApp(t)
  for (const url of ['/small', '/nowhere']) {
    const { headers } = await app.inject({ url, headers: { 'x-request-id': 'r-1' } })
    like(t, headers, {
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
    })
    t.equal(headers['strict-transport-security'], undefined)
    t.ok(headers['x-request-id'])
  }
})

t.test('Strict-Transport-Security is sent over HTTPS', async (t) => {
  const app = await makeApp(t, [], true)
  t.match((await app.inject('/small')).headers['strict-transport-security'], /^max-age=31536000/)
})

t.test('CORS is closed by default', async (t) => {
  const app = await makeApp(t)
  const headers = { origin: 'https://app.example.com', 'access-control-request-method': 'GET' }
  const preflight = await app.inject({ method: 'OPTIONS', url: '/small', headers })
  t.equal(preflight.statusCode, 404)
  t.equal(preflight.headers['access-control-allow-origin'], undefined)
  t.equal((await app.inject({ url: '/small', headers })).headers['access-control-allow-origin'], undefined)
})

t.test('CORS is open to the configured origins alone', async (t) => {
  const app = await makeApp(t, ['https://app.example.com'])
  const ask = (origin: string) =>
    app.inject({
      method: 'OPTIONS',
      url: '/small',
      headers: { origin, 'access-control-request-method': 'PATCH' },
    })
  const allowed = await ask('https://app.example.com')
  t.equal(allowed.statusCode, 204)
  t.equal(allowed.headers['access-control-allow-origin'], 'https://app.example.com')
  t.match(allowed.headers['access-control-allow-methods'], /PATCH/)
  t.equal(allowed.headers['access-control-allow-credentials'], undefined)
  const refused = await ask('https://evil.example.com')
  t.equal(refused.headers['access-control-allow-origin'], undefined)
})

t.test('a large answer is compressed for who takes that, a small one never', async (t) => {
  const app = await makeApp(t)
  const headers = { 'accept-encoding': 'gzip' }
  const large = await app.inject({ url: '/large', headers })
  t.equal(large.headers['content-encoding'], 'gzip')
  t.equal(JSON.parse(gunzipSync(large.rawPayload).toString()).text.length, 4000)
  t.equal((await app.inject({ url: '/small', headers })).headers['content-encoding'], undefined)
  t.equal((await app.inject('/large')).headers['content-encoding'], undefined)
})
