import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import t from 'tap'
import { Type } from 'typebox'
import { ERRORS, type ErrorCode, LessorError } from '../../src/errors.ts'
import { createLogger } from '../../src/http/logger.ts'
import { problemPlugin } from '../../src/http/problem-plugin.ts'
import { validatorCompiler } from '../../src/http/validation.ts'
import { excludes, like } from '../support/like.ts'

interface Scope {
  teardown(fn: () => Promise<void>): void
}

async function makeApp(t: Scope) {
  const lines: string[] = []
  const { logger } = createLogger('info', { write: (line) => lines.push(line) })
  const app: FastifyInstance = Fastify({
    loggerInstance: logger as FastifyBaseLogger,
    bodyLimit: 200,
    genReqId: () => 'request-1',
  })
  app.setValidatorCompiler(validatorCompiler())
  app.removeContentTypeParser('text/plain')
  await app.register(problemPlugin, { unknownRoutes: true })
  t.teardown(() => app.close())
  return { app, logText: () => lines.join('') }
}

function throwing(app: FastifyInstance, error: unknown): void {
  app.get('/', async () => {
    throw error
  })
}

/** A server's error as the driver throws it: with fields that must not get out. */
function postgresError(code: string): Error {
  return Object.assign(new Error('relation "app.hidden_table" says no'), {
    name: 'PostgresError',
    code,
    query: 'select hidden_column',
    detail: 'Key (email)=(hidden@example.com) already exists.',
  })
}

t.test('an error of Lessor is answered with its code, status, detail and Retry-After', async (t) => {
  const { app } = await makeApp(t)
  throwing(app, new LessorError('POOL_SATURATED', 'All 4 connections are busy.', { retryAfterSeconds: 1.2 }))
  const response = await app.inject('/')
  t.equal(response.statusCode, 503)
  t.equal(response.headers['content-type'], 'application/problem+json; charset=utf-8')
  t.equal(response.headers['retry-after'], '2')
  t.strictSame(response.json(), {
    type: '/docs/errors#POOL_SATURATED',
    title: 'No database connection came free in time',
    status: 503,
    detail: 'All 4 connections are busy.',
    code: 'POOL_SATURATED',
    requestId: 'request-1',
  })
})

t.test('an unknown error is answered without a word of it, and logged', async (t) => {
  const { app, logText } = await makeApp(t)
  throwing(app, postgresError('XX000'))
  const response = await app.inject('/')
  t.equal(response.statusCode, 500)
  like(t, response.json(), { code: 'INTERNAL', detail: 'Something went wrong inside the service.' })
  excludes(t, response.body, /hidden/)
  t.match(logText(), /"code":"XX000"/)
  excludes(t, logText(), /hidden_column|hidden@example/, 'neither statement nor row is logged')
})

t.test('what is no error at all is answered as well', async (t) => {
  for (const thrown of ['text', 42, { status: 200 }]) {
    const { app } = await makeApp(t)
    throwing(app, thrown)
    const response = await app.inject('/')
    t.equal(response.statusCode, 500)
    t.equal(response.json().code, 'INTERNAL')
  }
})

t.test(
  "the server's refusals that are the caller's or the operator's matter have a code of their own",
  async (t) => {
    const codes = {
      INVALID_REQUEST:
        '22001 22003 22007 22008 22009 22015 22021 22023 22025 22030 22032 2201B 2201W 2201X 22P02 22P03 22P05 ' +
        '23502 23514 54000 54001 54011 54023',
      CONSTRAINT_VIOLATED: '23000 23001 23503 23505 23P01 40002',
      TRANSACTION_CONFLICT: '40000 40001 40P01 55P03',
      DATABASE_OVERLOADED: '53000 53200 53300',
      DATABASE_FULL: '53100',
      TEMP_SPACE_EXCEEDED: '53400',
      STATEMENT_TIMEOUT: '57014',
      INTERNAL: '22012 25P02 42501 42601 42P01 58030 P0001 XX000',
    } as const
    for (const [code, sqlStates] of Object.entries(codes)) {
      for (const sqlState of sqlStates.split(' ')) {
        const { app } = await makeApp(t)
        throwing(app, postgresError(sqlState))
        const response = await app.inject('/')
        t.equal(response.json().code, code, sqlState)
        t.equal(response.statusCode, ERRORS[code as ErrorCode].status)
        const isWorthRepeating = ['TRANSACTION_CONFLICT', 'DATABASE_OVERLOADED'].includes(code)
        t.equal(response.headers['retry-after'], isWorthRepeating ? '1' : undefined, sqlState)
        excludes(t, response.body, /hidden/)
      }
    }
  },
)

t.test('a constraint that was violated is named in the log, without the values', async (t) => {
  const { app, logText } = await makeApp(t)
  throwing(
    app,
    Object.assign(postgresError('23505'), { table_name: 'users', constraint_name: 'users_email_key' }),
  )
  await app.inject('/')
  const lines = logText()
    .split('\n')
    .filter((line) => line.includes('constraint violated'))
    .map((line) => JSON.parse(line))
  t.strictSame(
    lines.map(({ sqlState, table, constraint }) => [sqlState, table, constraint]),
    [['23505', 'users', 'users_email_key']],
  )
  excludes(t, logText(), /hidden/)
})

t.test('each wrong field is named with what it must be, and no value is repeated', async (t) => {
  const { app } = await makeApp(t)
  app.post(
    '/things/:id',
    {
      schema: {
        params: Type.Object({ id: Type.String({ format: 'uuid' }) }),
        querystring: Type.Object({ page: Type.Integer() }, { additionalProperties: false }),
        body: Type.Object(
          {
            name: Type.String(),
            colour: Type.Union([Type.Literal('blue'), Type.Literal('green')]),
            size: Type.Unsafe<string>(Type.String({ enum: ['s', 'm'] })),
            nested: Type.Object({ 'a/b': Type.Integer() }),
          },
          { additionalProperties: false },
        ),
      },
    },
    async () => ({}),
  )
  const id = '00000000-0000-4000-8000-000000000000'
  const body = { name: 'n', colour: 'blue', size: 's', nested: { 'a/b': 1 } }
  const post = (url: string, payload: object) => app.inject({ method: 'POST', url, payload })

  t.equal((await post(`/things/${id}?page=1`, body)).statusCode, 200)

  const wrongBody = await post(`/things/${id}?page=1`, {
    colour: 'secret-red',
    size: 'secret-xl',
    nested: {},
    'e/x': 1,
  })
  t.equal(wrongBody.statusCode, 400)
  t.equal(wrongBody.json().code, 'INVALID_REQUEST')
  t.strictSame(
    new Set(wrongBody.json().errors.map((error: object) => JSON.stringify(error))),
    new Set(
      [
        { in: 'body', path: '/name', message: 'is required' },
        { in: 'body', path: '/e~1x', message: 'is not known' },
        { in: 'body', path: '/colour', message: 'must be one of blue, green' },
        { in: 'body', path: '/size', message: 'must be one of s, m' },
        { in: 'body', path: '/nested/a~1b', message: 'is required' },
      ].map((error) => JSON.stringify(error)),
    ),
  )
  excludes(t, wrongBody.body, /secret/)

  const wrongType = await post(`/things/${id}?page=1`, { ...body, name: 7 })
  t.strictSame(wrongType.json().errors, [{ in: 'body', path: '/name', message: 'must be string' }])
  t.equal(wrongType.json().detail, 'The body field /name must be string.')

  const wrongQuery = await post(`/things/${id}?page=x&limit=3`, body)
  t.strictSame(wrongQuery.json().errors, [
    { in: 'query', path: 'limit', message: 'is not known' },
    { in: 'query', path: 'page', message: 'must be integer' },
  ])

  const wrongParams = await post('/things/7?page=1', body)
  t.equal(wrongParams.json().detail, 'The path parameter id must match format "uuid".')
})

t.test('a body that cannot be read is answered by what is wrong with it', async (t) => {
  const { app } = await makeApp(t)
  app.post('/', async () => ({}))
  const post = (payload: string, type: string) =>
    app.inject({ method: 'POST', url: '/', payload, headers: { 'content-type': type } })
  const code = async (payload: string, type = 'application/json') => {
    const { statusCode, body } = await post(payload, type)
    return [statusCode, JSON.parse(body).code]
  }
  t.strictSame(await code('{"a":'), [400, 'INVALID_JSON'])
  t.strictSame(await code(''), [400, 'INVALID_JSON'])
  t.strictSame(await code('{"__proto__":{"admin":true}}'), [400, 'INVALID_JSON'])
  t.strictSame(await code(`"${'x'.repeat(300)}"`), [413, 'BODY_TOO_LARGE'])
  t.strictSame(await code('a=1', 'application/x-www-form-urlencoded'), [415, 'UNSUPPORTED_MEDIA_TYPE'])
  t.strictSame(await code('{}', 'text/plain'), [415, 'UNSUPPORTED_MEDIA_TYPE'])
  t.strictSame(await code('{}', 'nonsense'), [415, 'UNSUPPORTED_MEDIA_TYPE'])
})

t.test('an unknown route is a problem as well, and its query is not repeated', async (t) => {
  const { app } = await makeApp(t)
  const response = await app.inject('/nowhere?token=secret')
  t.equal(response.statusCode, 404)
  like(t, response.json(), { code: 'ROUTE_NOT_FOUND', detail: 'There is no route GET /nowhere.' })
})

t.test('a flood of refusals is logged without stacks', async (t) => {
  const { app, logText } = await makeApp(t)
  throwing(app, new LessorError('POOL_OPEN_FAILED', undefined, { cause: new Error('ECONNREFUSED here') }))
  await app.inject('/')
  const refused = logText()
    .split('\n')
    .find((line) => line.includes('request refused'))
  like(t, JSON.parse(refused ?? '{}'), { err: { code: 'POOL_OPEN_FAILED', cause: 'ECONNREFUSED here' } })
  excludes(t, refused, /at .*problem-plugin/)
})
