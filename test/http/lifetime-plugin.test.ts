import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import { systemClock } from '../../src/clock.ts'
import { lifetimePlugin } from '../../src/http/lifetime-plugin.ts'
import { problemPlugin } from '../../src/http/problem-plugin.ts'
import { like } from '../support/like.ts'
import { parseAnswer, sendRaw } from './raw.ts'

interface Scope {
  teardown(fn: () => Promise<void>): void
}

type Handler = (request: FastifyRequest) => Promise<unknown>

async function serve(t: Scope, handler: Handler, timeoutMs?: number) {
  const aborted: FastifyRequest[] = []
  const app = Fastify()
  await app.register(lifetimePlugin, {
    clock: systemClock,
    timeoutMs,
    onAborted: (request) => aborted.push(request),
  })
  await app.register(problemPlugin)
  app.get('/', handler)
  app.post('/', handler)
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const { port } = app.server.address() as AddressInfo
  return { app, port, url: `http://127.0.0.1:${port}/`, aborted }
}

const POST = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"a":1}' }

t.test('the signal of a request whose body is read stays quiet while the client waits', async (t) => {
  const { url } = await serve(t, async ({ signal }) => {
    // Long enough for Node to emit the request's close event, several turns of the loop after the body.
    await sleep(50)
    return { aborted: signal.aborted }
  })
  t.strictSame(await (await fetch(url, POST)).json(), { aborted: false })
  t.strictSame(await (await fetch(url)).json(), { aborted: false })
})

t.test('the signal aborts when the client goes away, and only then is the request reported', async (t) => {
  for (const head of [
    'GET / HTTP/1.1\r\nhost: a\r\n\r\n',
    'POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}',
  ]) {
    const entered = Promise.withResolvers<FastifyRequest>()
    const left = Promise.withResolvers<unknown>()
    const { port, aborted } = await serve(t, async (request) => {
      const { signal } = request
      entered.resolve(request)
      await once(signal, 'abort')
      left.resolve(signal.reason)
      return {}
    })
    const socket = connect(port, '127.0.0.1')
    socket.write(head)
    const request = await entered.promise
    t.equal(aborted.length, 0)
    socket.destroy()
    like(t, await left.promise, { code: 'CLIENT_CLOSED_REQUEST' })
    t.strictSame(
      aborted.map(({ id }) => id),
      [request.id],
    )
  }
})

t.test('a signal asked for after the client went away is aborted already', async (t) => {
  const entered = Promise.withResolvers<void>()
  const left = Promise.withResolvers<boolean>()
  const { port, app } = await serve(t, async (request) => {
    const closed = once(request.raw.socket, 'close')
    entered.resolve()
    await closed
    await new Promise(setImmediate)
    left.resolve(request.signal.aborted)
    return {}
  })
  const socket = connect(port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  await entered.promise
  socket.destroy()
  t.equal(await left.promise, true)
  t.ok(app.server.listening)
})

t.test('a request that takes too long is answered with 504 and its signal aborts', async (t) => {
  for (const init of [{}, POST]) {
    const reason = Promise.withResolvers<unknown>()
    const { url, aborted } = await serve(
      t,
      async ({ signal }) => {
        await once(signal, 'abort')
        reason.resolve(signal.reason)
        return {}
      },
      100,
    )
    const response = await fetch(url, init)
    t.equal(response.status, 504)
    like(t, await response.json(), { code: 'REQUEST_TIMEOUT' })
    like(t, await reason.promise, { code: 'REQUEST_TIMEOUT' })
    t.equal(aborted.length, 0, 'the client did not go away')
  }
})

t.test('a body that nobody reads yet is not taken for one that does not arrive', async (t) => {
  const app = Fastify()
  await app.register(lifetimePlugin, { clock: systemClock, timeoutMs: 100 })
  await app.register(problemPlugin)
  // A guard that waits, as for the verification of a key.
  app.addHook('onRequest', async ({ signal }) => {
    await once(signal, 'abort')
  })
  app.post('/', async () => ({}))
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const { port } = app.server.address() as AddressInfo
  const head = 'POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n'
  const answer = parseAnswer(await sendRaw(port, `${head}content-length: 9\r\n\r\n{`))
  t.strictSame([answer?.status, JSON.parse(answer?.body ?? '').code], [504, 'REQUEST_TIMEOUT'])
})

t.test(
  'a slow route is told from a body that does not arrive in a request without a socket as well',
  async (t) => {
    const { app } = await serve(t, ({ signal }) => once(signal, 'abort'), 30)
    const { statusCode, headers } = await app.inject({ method: 'POST', url: '/', payload: { a: 1 } })
    t.strictSame([statusCode, headers.connection], [504, 'keep-alive'])
  },
)

t.test('a request in time is not touched by one that is late', async (t) => {
  const { url } = await serve(
    t,
    async (request) => {
      if (request.headers['x-late'] !== undefined) await once(request.signal, 'abort')
      return {}
    },
    100,
  )
  const late = fetch(url, { headers: { 'x-late': '1' } })
  t.equal((await fetch(url)).status, 200)
  t.equal((await late).status, 504)
  t.equal((await fetch(url)).status, 200)
})

t.test('a route that took over its response is left alone', async (t) => {
  const app = Fastify()
  await app.register(lifetimePlugin, { clock: systemClock, timeoutMs: 40 })
  app.get('/', async (_request, reply) => {
    reply.hijack()
    reply.raw.write('a')
    await sleep(120)
    reply.raw.end('b')
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const { port } = app.server.address() as AddressInfo
  t.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'ab')
})
