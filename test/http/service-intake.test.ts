import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { testApp } from '../support/app.ts'
import { excludes } from '../support/like.ts'
import { parseAnswer, sendRaw } from './raw.ts'

const app = await testApp(t)
const tenant = await app.onboard()
const port = Number(new URL(await app.listen()).port)
const JSON_TYPE = { 'content-type': 'application/json' }
const AUTHORIZED = `authorization: Bearer ${tenant.key}\r\n`

t.test('what the parser refuses has the headers of every answer, and a name that the log has', async (t) => {
  for (const [sent, status, code] of [
    ['hello\r\n\r\n', 400, 'INVALID_HTTP'],
    [`GET / HTTP/1.1\r\nhost: a\r\n${AUTHORIZED}x: ${'a'.repeat(20_000)}\r\n\r\n`, 431, 'HEADERS_TOO_LARGE'],
  ] as const) {
    const answer = parseAnswer(await sendRaw(port, sent))
    t.equal(answer?.status, status)
    t.equal(answer?.headers['content-type'], 'application/problem+json; charset=utf-8')
    t.equal(answer?.headers['x-content-type-options'], 'nosniff')
    t.equal(answer?.headers['content-security-policy'], "default-src 'none'; frame-ancestors 'none'")
    const problem = JSON.parse(answer?.body ?? '')
    t.equal(problem.code, code)
    t.equal(problem.requestId, answer?.headers['x-request-id'])
    const lines = app.logged().filter(({ requestId }) => requestId === problem.requestId)
    t.strictSame(
      lines.map((line) => [line.msg, line.status, line.code]),
      [['request refused before it was read', status, code]],
    )
  }
  excludes(t, app.logText(), new RegExp(tenant.key), 'no key of what could not be read is logged')
})

t.test('what Node would answer without a body is a problem as well', async (t) => {
  const noHost = parseAnswer(await sendRaw(port, 'GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n'))
  t.equal(noHost?.status, 400)
  t.strictSame(
    [JSON.parse(noHost?.body ?? '').code, JSON.parse(noHost?.body ?? '').detail],
    ['INVALID_HTTP', 'A request of HTTP/1.1 must have a Host header.'],
  )
  const old = parseAnswer(await sendRaw(port, 'GET /livez HTTP/1.0\r\n\r\n'))
  t.equal(old?.status, 200, 'HTTP/1.0 needs none')
  const expecting = 'GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: a-miracle\r\n\r\n'
  t.equal(parseAnswer(await sendRaw(port, expecting))?.status, 200, 'an unknown expectation is none')
})

t.test('a path that no router can read has the headers of every answer', async (t) => {
  const answer = await app.app.inject('/v1/users/%ff')
  t.equal(answer.statusCode, 400)
  const { code, detail, requestId } = answer.json()
  t.strictSame([code, detail], ['INVALID_REQUEST', 'The path is not a valid URL path.'])
  t.equal(answer.headers['x-request-id'], requestId)
  t.equal(answer.headers['cache-control'], 'no-store')
  t.equal((await app.app.inject(`/v1/users/${'a'.repeat(101)}`)).statusCode, 400)
})

t.test('a name that is not UTF-8 is refused, and no user is made', async (t) => {
  const before = (await tenant.inject({ url: '/v1/users' })).json().total
  const payload = Buffer.concat([
    Buffer.from('{"first_name":"a'),
    Buffer.from([0xff]),
    Buffer.from('","last_name":"b"}'),
  ])
  const refused = await tenant.inject({ method: 'POST', url: '/v1/users', payload, headers: JSON_TYPE })
  t.strictSame([refused.statusCode, refused.json().code], [400, 'INVALID_JSON'])
  const gzip = await tenant.inject({
    method: 'POST',
    url: '/v1/users',
    payload: '{"first_name":"a","last_name":"b"}',
    headers: { ...JSON_TYPE, 'content-encoding': 'gzip' },
  })
  t.strictSame([gzip.statusCode, gzip.json().code], [415, 'UNSUPPORTED_MEDIA_TYPE'])
  t.equal((await tenant.inject({ url: '/v1/users' })).json().total, before)
  const searched = await tenant.inject({ url: '/v1/users?search=%ff' })
  t.strictSame(
    [searched.statusCode, searched.json().errors],
    [400, [{ in: 'query', path: 'search', message: 'must be UTF-8, percent-encoded' }]],
  )
  const namespace = await app.operator({ url: '/v1/tenants?namespace=%00' })
  t.strictSame([namespace.statusCode, namespace.json().errors?.length], [400, 1])
})

t.test('each route takes what it needs, a batch of tenants BODY_LIMIT_BYTES', async (t) => {
  const large = (bytes: number) => JSON.stringify({ first_name: 'x'.repeat(bytes), last_name: 'b' })
  const post = (url: string, payload: string) =>
    ({ method: 'POST', url, payload, headers: JSON_TYPE }) as const
  const refused = await tenant.inject(post('/v1/users', large(16_384)))
  t.equal(refused.statusCode, 413)
  t.equal(refused.json().detail, 'The body is larger than 16384 bytes.')
  for (const url of ['/v1/tenants', '/v1/namespaces', '/v1/servers', '/v1/namespaces/default/keys']) {
    t.equal((await app.operator(post(url, large(16_384)))).json().code, 'BODY_TOO_LARGE', url)
  }
  t.equal((await app.app.inject(post('/nowhere', large(16_384)))).statusCode, 413, 'a stranger as well')
  const tenants = Array.from({ length: 1000 }, (_, index) => ({ name: `${'n'.repeat(190)}${index}` }))
  const batch = await app.operator(post('/v1/tenants:batch', JSON.stringify({ tenants })))
  t.strictSame([batch.statusCode, batch.json().records.length], [201, 1000])
  const tooLarge = await app.operator(post('/v1/tenants:batch', large(1_048_577)))
  t.equal(tooLarge.json().detail, 'The body is larger than 1048576 bytes.')
})

t.test('a smaller BODY_LIMIT_BYTES holds for all routes', async (t) => {
  const small = await testApp(t, { BODY_LIMIT_BYTES: '2048' })
  for (const url of ['/v1/tenants', '/v1/tenants:batch', '/nowhere']) {
    const answer = await small.operator({ method: 'POST', url, payload: { name: 'x'.repeat(2_048) } })
    t.equal(answer.json().detail, 'The body is larger than 2048 bytes.', url)
  }
})

t.test('the description of the API names the limit of every route with a body', async (t) => {
  const { paths } = (await app.app.inject('/openapi.json')).json()
  const limits: [route: string, description: string][] = []
  for (const [path, methods] of Object.entries<Record<string, Operation>>(paths)) {
    for (const [method, { requestBody, responses }] of Object.entries(methods)) {
      const described = responses['413']?.description
      if (requestBody !== undefined) limits.push([`${method} ${path}`, described ?? 'none'])
      else t.equal(described, undefined, `${method} ${path} has no body`)
    }
  }
  t.ok(limits.length > 10)
  for (const [route, description] of limits) {
    const bytes = route === 'post /v1/tenants:batch' ? 1_048_576 : 16_384
    t.equal(description, `\`BODY_TOO_LARGE\`: The body is too large; ${bytes} bytes are the most`, route)
  }
})

interface Operation {
  readonly requestBody?: object
  readonly responses: Readonly<Record<string, { readonly description: string }>>
}

t.test('a slow body gets 408, a slow header too, and neither is an error of the service', async (t) => {
  const quick = await testApp(t, { REQUEST_TIMEOUT_MS: '400' })
  const caller = await quick.onboard()
  const quickPort = Number(new URL(await quick.listen()).port)
  const socket = connect(quickPort, '127.0.0.1')
  await once(socket, 'connect')
  socket.destroy()
  const head = `POST /v1/users HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${caller.key}\r\n`
  const body = parseAnswer(
    await sendRaw(quickPort, `${head}content-type: application/json\r\ncontent-length: 99\r\n\r\n{`),
  )
  t.strictSame([body?.status, JSON.parse(body?.body ?? '').code], [408, 'REQUEST_INCOMPLETE'])
  t.equal(body?.headers.connection, 'close')
  const header = parseAnswer(await sendRaw(quickPort, head))
  t.strictSame([header?.status, JSON.parse(header?.body ?? '').code], [408, 'REQUEST_INCOMPLETE'])
  t.strictSame(
    quick.logged().filter(({ level }) => Number(level) >= 40),
    [],
  )
})

t.test('a client that reads no answer is cut, and its answers are given up', async (t) => {
  const quick = await testApp(t, { REQUEST_TIMEOUT_MS: '400' })
  const quickPort = Number(new URL(await quick.listen()).port)
  const socket = connect(quickPort, '127.0.0.1')
  await once(socket, 'connect')
  socket.pause()
  const closed = once(socket, 'close')
  socket.on('error', () => {})
  // More than the buffers of both sides hold.
  socket.write('GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(60))
  const open = () =>
    new Promise<number>((resolve) => quick.app.server.getConnections((_, count) => resolve(count)))
  while ((await open()) === 0) await new Promise(setImmediate)
  while ((await open()) > 0) await new Promise(setImmediate)
  socket.resume()
  await closed
  t.equal(await open(), 0)
})
