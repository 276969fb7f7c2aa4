import { gzipSync } from 'node:zlib'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import t from 'tap'
import { Type } from 'typebox'
import { intakePlugin } from '../../src/http/intake-plugin.ts'
import { problemPlugin } from '../../src/http/problem-plugin.ts'
import { validatorCompiler } from '../../src/http/validation.ts'

const Note = Type.Object(
  {
    text: Type.Optional(Type.String()),
    labels: Type.Optional(Type.Record(Type.String({ maxLength: 9 }), Type.String({ maxLength: 9 }))),
    list: Type.Optional(Type.Array(Type.Unknown())),
  },
  { additionalProperties: false },
)
const Query = Type.Object({ search: Type.Optional(Type.String()) }, { additionalProperties: false })
const Params = Type.Object({ id: Type.String() })

/** An app whose routes say what they got. */
async function makeApp(t: { teardown(fn: () => Promise<void>): void }) {
  const app = Fastify()
  t.teardown(() => app.close())
  // What an app around may have: a parser of its own for JSON, and one for everything.
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, _body, done) => {
    done(null, 'of the app')
  })
  app.addContentTypeParser('*', (_request, _payload, done) => done(null, 'of the app'))
  await app.register(async (plain) => {
    const scope = plain.withTypeProvider<TypeBoxTypeProvider>()
    scope.setValidatorCompiler(validatorCompiler())
    await scope.register(problemPlugin)
    await scope.register(intakePlugin, { bodyLimitBytes: 1_048_576 })
    scope.post('/notes', { schema: { body: Note } }, async ({ body }) => ({ text: body.text }))
    scope.post('/batch', { bodyLimit: 1_048_576, schema: { body: Note } }, async () => ({}))
    scope.get('/notes', { schema: { querystring: Query } }, async ({ query }) => query)
    scope.get('/notes/:id', { schema: { params: Params } }, async ({ params }) => params)
  })
  const post = async (payload: string | Buffer, headers: Record<string, string> = {}, url = '/notes') => {
    const { statusCode, body } = await app.inject({
      method: 'POST',
      url,
      payload,
      headers: { 'content-type': 'application/json', ...headers },
    })
    return { status: statusCode, body, ...JSON.parse(body) }
  }
  const get = async (url: string) => {
    const { statusCode, body } = await app.inject(url)
    return { status: statusCode, ...JSON.parse(body) }
  }
  return { post, get }
}

t.test('a body is UTF-8: what is not is refused and not repaired', async (t) => {
  const { post } = await makeApp(t)
  const bodies = {
    'a byte that is none of UTF-8': [0xff],
    Latin1: [0xe9],
    'a character cut short': [0xe2, 0x82],
    'an overlong form': [0xc0, 0x80],
    'a surrogate as UTF-8': [0xed, 0xa0, 0x80],
  }
  for (const [name, bytes] of Object.entries(bodies)) {
    const body = Buffer.concat([Buffer.from('{"text":"a'), Buffer.from(bytes), Buffer.from('"}')])
    const { status, code, detail } = await post(body)
    t.strictSame(
      { status, code, detail },
      { status: 400, code: 'INVALID_JSON', detail: 'The body is not UTF-8, the encoding that JSON has.' },
      name,
    )
  }
  t.equal((await post(Buffer.from('{"text":"é€😀"}', 'utf16le'))).code, 'INVALID_JSON', 'UTF-16')
  t.equal((await post('\ufeff{"text":"é€😀"}')).text, 'é€😀', 'a byte order mark is passed over')
})

t.test('escapes for half of a surrogate pair and for U+0000 are refused, in names as well', async (t) => {
  const { post } = await makeApp(t)
  const inText = 'must be text without U+0000 and without half of a surrogate pair'
  const inName = 'has a field whose name holds U+0000 or half of a surrogate pair'
  for (const [body, path, message] of [
    ['{"text":"a\\u0000b"}', '/text', inText],
    ['{"text":"\\ud800"}', '/text', inText],
    ['{"text":"\\uDFFF\\uD800"}', '/text', inText],
    ['{"labels":{"a/~":"\\udead"}}', '/labels/a~1~0', inText],
    ['{"labels":{"\\u0000":"a"}}', '/labels', inName],
    ['{"\\ud800":"a"}', '', inName],
    ['{"list":[1,[{"a":"\\u0000"}]]}', '/list/1/0/a', inText],
    ['"\\u0000"', '', inText],
  ] as const) {
    const { status, code, detail, errors } = await post(body)
    t.strictSame(
      { status, code, detail, errors },
      {
        status: 400,
        code: 'INVALID_REQUEST',
        detail: `The ${path === '' ? 'body' : `body field ${path}`} ${message}.`,
        errors: [{ in: 'body', path, message }],
      },
      body,
    )
  }
  t.equal((await post('{"text":"\\ud83d\\ude00 \\u00e9 \\\\u0000 \\\\ud800"}')).text, '😀 é \\u0000 \\ud800')
})

t.test('a compressed body is refused, and not taken for text', async (t) => {
  const { post } = await makeApp(t)
  for (const [payload, coding] of [
    [gzipSync('{"text":"a"}'), 'gzip'],
    ['{"text":"a"}', 'GZIP'],
    ['{"text":"a"}', 'br'],
    ['{"text":"a"}', 'identity, gzip'],
  ] as const) {
    const { status, code, detail } = await post(payload, { 'content-encoding': coding })
    t.strictSame([status, code], [415, 'UNSUPPORTED_MEDIA_TYPE'], coding)
    t.match(detail, /without Content-Encoding/)
  }
  t.equal((await post('{"text":"a"}', { 'content-encoding': 'identity' })).text, 'a')
})

t.test('only JSON is parsed, whatever parsers the app around has', async (t) => {
  const { post } = await makeApp(t)
  t.equal((await post('{"text":"a"}')).text, 'a')
  for (const type of ['text/plain', 'application/xml', 'application/vnd.api+json']) {
    const { status, code } = await post('{"text":"a"}', { 'content-type': type })
    t.strictSame([status, code], [415, 'UNSUPPORTED_MEDIA_TYPE'], type)
  }
})

t.test(
  'a body is 16 kB at most where the route does not say otherwise, and 413 names the limit',
  async (t) => {
    const { post } = await makeApp(t)
    const ofBytes = (bytes: number) => `{"text":"${'x'.repeat(bytes - '{"text":""}'.length)}"}`
    t.equal((await post(ofBytes(16_384))).status, 200)
    const { status, code, detail } = await post(ofBytes(16_385))
    t.strictSame([status, code, detail], [413, 'BODY_TOO_LARGE', 'The body is larger than 16384 bytes.'])
    t.equal((await post(ofBytes(1_048_576), {}, '/batch')).status, 200)
    t.equal((await post(ofBytes(1_048_577), {}, '/batch')).detail, 'The body is larger than 1048576 bytes.')
  },
)

t.test('of a body with many values the first error alone is looked for', async (t) => {
  const { post, get } = await makeApp(t)
  const unknown = (count: number) =>
    JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, 0])))
  const few = await post(unknown(5))
  t.equal(few.errors.length, 5)
  t.equal(few.detail, 'The body field /k0 is not known (and 4 more).')
  for (const [body, url] of [
    [unknown(101), '/notes'],
    [unknown(70_000), '/batch'],
  ] as const) {
    const { status, detail, errors } = await post(body, {}, url)
    t.equal(status, 400)
    t.equal(detail, 'The body field /k0 is not known.')
    t.strictSame(errors, [{ in: 'body', path: '/k0', message: 'is not known' }])
  }
  const query = Array.from({ length: 200 }, (_, index) => `k${index}=`).join('&')
  t.strictSame((await get(`/notes?${query}`)).errors, [{ in: 'query', path: 'k0', message: 'is not known' }])
  const repeated = await get(`/notes?search=${Array.from({ length: 200 }, () => 'a').join('&search=')}`)
  t.equal(repeated.errors.length, 1)
})

t.test('names that a caller chose are cut where an answer repeats them', async (t) => {
  const { post, get } = await makeApp(t)
  const name = 'n'.repeat(10_000)
  const cut = `${'n'.repeat(199)}…`
  const body = await post(JSON.stringify({ [name]: 1 }))
  t.strictSame(body.errors, [{ in: 'body', path: `/${cut}`, message: 'is not known' }])
  const label = await post(JSON.stringify({ labels: { [name]: 'x'.repeat(10) } }))
  t.ok(label.body.length < 2_000, `${label.body.length}`)
  const query = await get(`/notes?${name}=1`)
  t.strictSame(query.errors, [{ in: 'query', path: `n${cut}`, message: 'is not known' }])
  const encoded = await get(`/notes?${name}=%ff`)
  t.strictSame(encoded.errors, [{ in: 'query', path: `n${cut}`, message: 'must be UTF-8, percent-encoded' }])
  const emoji = await post(JSON.stringify({ ['😀'.repeat(200)]: 1 }))
  t.ok(emoji.errors[0].path.isWellFormed(), 'and never through a character')
})

t.test('a body may be as deep as it is long', async (t) => {
  const { post } = await makeApp(t)
  const deep = (depth: number, inner: string) => `{"list":${'['.repeat(depth)}${inner}${']'.repeat(depth)}}`
  t.equal((await post(deep(8_000, ''))).status, 200)
  const smuggling = await post(deep(8_000, '"\\u0000"'))
  t.strictSame(
    smuggling.errors.map(({ in: part, message }: { in: string; message: string }) => [part, message]),
    [['body', 'must not be nested deeper than 64 levels']],
    'what may hold such text is not walked to its end',
  )
  t.equal((await post(deep(8_000, '{"__proto__":1}'))).code, 'INVALID_JSON')
  t.equal((await post(deep(500_000, '"\\u0000"'), {}, '/batch')).code, 'INVALID_REQUEST')
})

t.test('names of prototypes are refused', async (t) => {
  const { post, get } = await makeApp(t)
  t.equal((await post('{"__proto__":{"text":"a"}}')).code, 'INVALID_JSON')
  t.equal((await post('{"\\u005f_proto__":{"text":"a"}}')).code, 'INVALID_JSON')
  t.equal((await post('{"constructor":{"prototype":{}}}')).code, 'INVALID_JSON')
  for (const name of ['__proto__', 'constructor', 'toString']) {
    t.strictSame(
      (await get(`/notes?${name}=1`)).errors,
      [{ in: 'query', path: name, message: 'is not known' }],
      name,
    )
  }
})

t.test('a query that is not UTF-8, or holds U+0000, is refused and not searched for', async (t) => {
  const { get } = await makeApp(t)
  for (const [query, path, message] of [
    ['search=%ff', 'search', 'must be UTF-8, percent-encoded'],
    ['search=a%ed%a0%80', 'search', 'must be UTF-8, percent-encoded'],
    ['search=%c0%80', 'search', 'must be UTF-8, percent-encoded'],
    ['search=100%', 'search', 'must be UTF-8, percent-encoded'],
    ['search=%zz', 'search', 'must be UTF-8, percent-encoded'],
    ['other=%41&search=a?%00', 'search', 'must not hold U+0000'],
    ['%73earch=%00', 'search', 'must not hold U+0000'],
  ] as const) {
    const { status, code, errors } = await get(`/notes?${query}`)
    t.strictSame([status, code, errors], [400, 'INVALID_REQUEST', [{ in: 'query', path, message }]], query)
  }
  for (const [query, fault] of [
    ['%ff=a', 'must be UTF-8, percent-encoded'],
    ['search=a&a%00=a', 'must not hold U+0000'],
  ] as const) {
    const { status, detail } = await get(`/notes?${query}`)
    t.strictSame([status, detail], [400, `The name of a query parameter ${fault}.`])
  }
  t.strictSame(await get('/notes?search=100%25+%C3%A9%F0%9F%98%80'), { status: 200, search: '100% é😀' })
})

t.test('a path that holds U+0000 is refused', async (t) => {
  const { get } = await makeApp(t)
  const { status, code, detail } = await get('/notes/a%00')
  t.strictSame(
    [status, code, detail],
    [400, 'INVALID_REQUEST', 'The path parameter id must not hold U+0000.'],
  )
  t.strictSame(await get('/notes/%C3%A9'), { status: 200, id: 'é' })
})
