import Fastify from 'fastify'
import t from 'tap'
import { userRoutes } from '../../src/users/user-routes.ts'
import { openAdmin, rolePlacement } from '../placement/support.ts'
import { testDatabase } from '../support/database.ts'
import { like } from '../support/like.ts'
import { openUsersApp } from './users-app.ts'
import { usersSuite } from './users-suite.ts'

const { url } = await testDatabase(t)
const placement = rolePlacement()
await placement.prepare(openAdmin(t, url))
const { app, pools, newTenant, send } = await openUsersApp(t, url, placement)

usersSuite(t, async (t) => (await newTenant(t)).call)

t.test('the same handlers answer under another prefix, with its own location', async (t) => {
  const { id } = await newTenant(t)
  const created = await send(id, 'POST', '/v1/internal/users/', { first_name: 'Ada', last_name: 'Lovelace' })
  const location = String(created.headers.location)
  t.match(location, /^\/v1\/internal\/users\/[0-9a-f-]{36}$/)
  t.equal((await send(id, 'GET', location)).text, created.text)
})

t.test('broken JSON, another content type and no body are refused', async (t) => {
  const { id } = await newTenant(t)
  for (const [type, payload, status, code] of [
    ['application/json', '{"first_name":', 400, 'INVALID_JSON'],
    ['application/json', '', 400, 'INVALID_JSON'],
    ['application/xml', '<user/>', 415, 'UNSUPPORTED_MEDIA_TYPE'],
    ['application/json', JSON.stringify({ first_name: 'x'.repeat(2 ** 21) }), 413, 'BODY_TOO_LARGE'],
  ] as const) {
    const answer = await app.inject({
      method: 'POST',
      url: '/v1/users',
      headers: { 'x-tenant-id': id, 'content-type': type },
      payload,
    })
    t.equal(answer.statusCode, status)
    like(t, answer.json(), { code })
  }
})

t.test('routes without a guard fail and serve nobody', async (t) => {
  const bare = Fastify()
  t.teardown(() => bare.close())
  bare.decorateRequest('tenant', null)
  await bare.register(userRoutes, { pools, prefix: '/v1/users' })
  t.equal((await bare.inject('/v1/users')).statusCode, 500)
})
