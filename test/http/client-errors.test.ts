import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import Fastify, { type FastifyBaseLogger, type FastifyReply } from 'fastify'
import t from 'tap'
import { systemClock } from '../../src/clock.ts'
import { clientErrorHandler } from '../../src/http/client-errors.ts'
import { lifetimePlugin } from '../../src/http/lifetime-plugin.ts'
import { createLogger } from '../../src/http/logger.ts'
import { problemPlugin } from '../../src/http/problem-plugin.ts'
import { RequestLog } from '../../src/http/request-log.ts'
import { excludes } from '../support/like.ts'
import { parseAnswer, sendRaw } from './raw.ts'

const HEADERS = [['cache-control', 'no-store']] as const

/** A server whose route /wait answers when the test says so. */
async function serve(t: { teardown(fn: () => Promise<void>): void }, timeoutMs = 60_000) {
  const lines: string[] = []
  const { logger } = createLogger('trace', { write: (line) => lines.push(line) })
  const app = Fastify({
    loggerInstance: logger as FastifyBaseLogger,
    logController: new RequestLog(),
    requestTimeout: timeoutMs,
    http: { connectionsCheckingInterval: 25 },
    clientErrorHandler: clientErrorHandler({ logger, headers: HEADERS, requestId: () => 'request-1' }),
  })
  await app.register(lifetimePlugin, { clock: systemClock, timeoutMs })
  await app.register(problemPlugin)
  const waiting: FastifyReply[] = []
  const arrived = Promise.withResolvers<void>()
  app.get('/wait', (_request, reply) => {
    waiting.push(reply)
    arrived.resolve()
  })
  app.get('/begun', (_request, reply) => {
    reply.raw.writeHead(200, { 'content-length': '10' })
    reply.raw.write('begun')
    arrived.resolve()
  })
  app.post('/', async () => ({ ok: true }))
  // Answers before it has read what it is sent.
  app.post('/early', { onRequest: async (_request, reply) => answerEarly(reply) }, async () => ({}))
  function answerEarly(reply: FastifyReply): void {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-length': '10' })
    reply.raw.write('begun')
    reply.request.raw.resume()
  }
  // A guard that waits, as for the verification of a key.
  app.post(
    '/guarded',
    { onRequest: async ({ signal }) => void (await once(signal, 'abort')) },
    async () => ({}),
  )
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const { port } = app.server.address() as AddressInfo
  return { app, port, waiting, arrived: arrived.promise, logged: () => lines.map((line) => JSON.parse(line)) }
}

const POST = 'POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n'

t.test('what is not HTTP is answered with a problem, and the connection is closed', async (t) => {
  const { port, logged } = await serve(t)
  for (const [name, sent, status, code, reason] of [
    ['no request', 'hello\r\n\r\n', 400, 'INVALID_HTTP', 'HPE_INVALID_METHOD'],
    [
      'a byte beyond ASCII in the URL',
      'GET /é HTTP/1.1\r\nhost: a\r\n\r\n',
      400,
      'INVALID_HTTP',
      'HPE_INVALID_URL',
    ],
    [
      'a bad field',
      'GET / HTTP/1.1\r\nhost: a\r\nsecret 1\r\n\r\n',
      400,
      'INVALID_HTTP',
      'HPE_INVALID_HEADER_TOKEN',
    ],
    [
      'two lengths',
      `${POST}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n`,
      400,
      'INVALID_HTTP',
      'HPE_INVALID_TRANSFER_ENCODING',
    ],
    [
      'a header that is too large',
      `GET / HTTP/1.1\r\nhost: a\r\nx-secret: ${'a'.repeat(100_000)}\r\n\r\n`,
      431,
      'HEADERS_TOO_LARGE',
      'HPE_HEADER_OVERFLOW',
    ],
    [
      'a URL that is too long',
      `GET /?secret=${'a'.repeat(100_000)} HTTP/1.1\r\nhost: a\r\n\r\n`,
      431,
      'HEADERS_TOO_LARGE',
      'HPE_HEADER_OVERFLOW',
    ],
  ] as const) {
    const before = logged().length
    const answer = parseAnswer(await sendRaw(port, sent))
    t.equal(answer?.status, status, name)
    t.equal(answer?.headers['content-type'], 'application/problem+json; charset=utf-8')
    t.equal(answer?.headers.connection, 'close')
    t.equal(answer?.headers['cache-control'], 'no-store')
    t.equal(answer?.headers['x-request-id'], 'request-1')
    t.equal(answer?.rest, '')
    const { type, requestId, ...problem } = JSON.parse(answer?.body ?? '')
    t.strictSame(
      [type, requestId, problem.status, problem.code],
      [`/docs/errors#${code}`, 'request-1', status, code],
    )
    const [line, ...more] = logged().slice(before)
    t.strictSame(more, [])
    t.strictSame([line.status, line.code, line.reason, line.requestId], [status, code, reason, 'request-1'])
    excludes(t, JSON.stringify(line), /secret|aaaa/)
  }
})

t.test('a header that does not arrive in time is answered with 408', async (t) => {
  const { port } = await serve(t, 100)
  const answer = parseAnswer(await sendRaw(port, 'GET / HTTP/1.1\r\nhost: a\r\n'))
  t.equal(answer?.status, 408)
  t.equal(JSON.parse(answer?.body ?? '').code, 'REQUEST_INCOMPLETE')
  t.equal(answer?.headers.connection, 'close')
})

t.test('a body that does not arrive in time is answered with 408, once, and logged as that', async (t) => {
  const { port, logged } = await serve(t, 100)
  for (const head of [
    `${POST}content-length: 100\r\n\r\n{`,
    `${POST}transfer-encoding: chunked\r\n\r\n1\r\n{\r\n`,
  ]) {
    const before = logged().length
    const answer = parseAnswer(await sendRaw(port, head))
    t.equal(answer?.status, 408)
    t.equal(answer?.headers.connection, 'close')
    t.strictSame(
      [JSON.parse(answer?.body ?? '').code, JSON.parse(answer?.body ?? '').detail],
      ['REQUEST_INCOMPLETE', 'The body of the request did not arrive in time.'],
    )
    t.equal(answer?.rest, '')
    t.strictSame(
      logged()
        .slice(before)
        .map(({ msg, status, code }) => [msg, status, code]),
      [['request', 408, 'REQUEST_INCOMPLETE']],
    )
  }
})

t.test('who is slow is found out by the route, also when Node is the first to lose patience', async (t) => {
  const { app, port } = await serve(t, 300)
  app.server.on('request', ({ socket }) => {
    // As Node does where it times bodies; not every release of it comes to that.
    app.server.emit('clientError', Object.assign(new Error(), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket)
  })
  for (const [path, status, code] of [
    ['/', 408, 'REQUEST_INCOMPLETE'],
    ['/guarded', 504, 'REQUEST_TIMEOUT'],
  ] as const) {
    const head = `POST ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n`
    const answer = parseAnswer(await sendRaw(port, `${head}content-length: 9\r\n\r\n{`))
    t.strictSame([answer?.status, JSON.parse(answer?.body ?? '').code], [status, code])
  }
})

t.test('a body that breaks the rules of chunks is answered with 400, and logged as that', async (t) => {
  const { port, logged } = await serve(t)
  const before = logged().length
  const answer = parseAnswer(await sendRaw(port, `${POST}transfer-encoding: chunked\r\n\r\nzz\r\n`))
  t.equal(answer?.status, 400)
  t.equal(JSON.parse(answer?.body ?? '').code, 'INVALID_HTTP')
  t.equal(answer?.headers.connection, 'close')
  t.equal(answer?.rest, '')
  t.strictSame(
    logged()
      .slice(before)
      .map(({ msg, status }) => [msg, status]),
    [
      ['request refused before it was read', 400],
      ['request', 400],
    ],
  )
})

/** A connection whose bytes the test reads as they come. */
function open(port: number, allowHalfOpen = false) {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen })
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  // Cut off while it writes; `close` comes all the same.
  socket.on('error', () => {})
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  const until = async (end: string) => {
    while (!text.endsWith(end)) await new Promise<void>((resolve) => socket.once('data', () => resolve()))
    return text
  }
  return { socket, closed, until, text: () => text }
}

t.test('nothing is written ahead of an answer that another request waits for', async (t) => {
  const { app, port, arrived, waiting } = await serve(t)
  const { socket, closed, text } = open(port)
  socket.write('GET /wait HTTP/1.1\r\nhost: a\r\n\r\n')
  await arrived
  socket.write('garbage\r\n\r\n')
  await closed
  t.equal(text(), '')
  t.equal(waiting.length, 1)
  t.ok(app.server.listening)
})

t.test('nothing is written into an answer that has begun', async (t) => {
  const { port } = await serve(t)
  const { socket, closed, until, text } = open(port)
  socket.write('GET /begun HTTP/1.1\r\nhost: a\r\n\r\n')
  await until('begun')
  socket.write('garbage\r\n\r\n')
  await closed
  t.match(text(), /^HTTP\/1\.1 200 OK\r\n(?:[^\r]+\r\n)+\r\nbegun$/)
})

t.test('nor when it has begun before the body was read, and the body cannot be', async (t) => {
  const { app, port } = await serve(t)
  const { socket, closed, until, text } = open(port)
  socket.write(
    'POST /early HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n',
  )
  await until('begun')
  socket.write('no chunk\r\n')
  await closed
  t.match(text(), /^HTTP\/1\.1 200 OK\r\n(?:[^\r]+\r\n)+\r\nbegun$/)
  t.ok(app.server.listening)
})

t.test('garbage after an answer gets an answer of its own', async (t) => {
  const { port } = await serve(t)
  const { socket, closed, until, text } = open(port)
  socket.write(`${POST}content-length: 2\r\n\r\n{}`)
  await until('{"ok":true}')
  socket.write('garbage\r\n\r\n')
  await closed
  const first = parseAnswer(text())
  t.strictSame([first?.status, first?.body], [200, '{"ok":true}'])
  t.equal(parseAnswer(first?.rest ?? '')?.status, 400)
})

t.test('a client that resets its connection is none to answer', async (t) => {
  const { app, port } = await serve(t)
  const { socket, closed } = open(port)
  socket.write(`${POST}content-length: 100\r\n\r\n{`)
  await once(app.server, 'request')
  socket.resetAndDestroy()
  await closed
  const next = `${POST}content-length: 2\r\nconnection: close\r\n\r\n{}`
  t.equal(parseAnswer(await sendRaw(port, next))?.status, 200)
})

t.test('a client that goes on sending after its answer is cut off', async (t) => {
  const { port } = await serve(t)
  const { socket, closed, text } = open(port, true)
  const more = setInterval(() => socket.write('more'), 20)
  socket.write('garbage\r\n\r\n')
  await closed
  clearInterval(more)
  t.equal(parseAnswer(text())?.status, 400)
})
