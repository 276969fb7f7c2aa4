import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { HttpCaller } from '../../stress/bench/http-caller.ts'
import { rejectsLike } from '../support/like.ts'

async function serve(t: Test, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/users?page=1`
}

t.test('a caller asks again as soon as it has its answer, until it is stopped', async (t) => {
  const seen: string[] = []
  const url = await serve(t, async (request, response) => {
    const body: Buffer[] = []
    for await (const chunk of request) body.push(chunk)
    seen.push(`${request.method} ${request.url} ${request.headers.authorization} ${Buffer.concat(body)}`)
    // In more than one packet, as long answers are.
    response.setHeader('content-length', 10)
    response.write('12345')
    setImmediate(() => response.end('67890'))
  })
  let answers = 0
  const three = Promise.withResolvers<void>()
  const request = { method: 'PATCH', url, headers: { authorization: 'Bearer key' }, body: '{"ü":1}' }
  const caller = await HttpCaller.start(request, (milliseconds) => {
    answers += milliseconds >= 0 ? 1 : 0
    if (answers === 3) three.resolve()
  })
  await three.promise
  await caller.stop()
  t.equal(answers, seen.length, 'every request has its answer, the one under way as well')
  t.strictSame(new Set(seen), new Set(['PATCH /users?page=1 Bearer key {"ü":1}']))
})

t.test('a caller that is refused says what it was told', async (t) => {
  const url = await serve(t, (_request, response) => {
    response.statusCode = 503
    response.end('no place')
  })
  const caller = await HttpCaller.start({ method: 'GET', url, headers: {} }, () => {})
  await rejectsLike(t, caller.stop(), { message: /^the server answered HTTP\/1\.1 503 .*no place/s })
})

t.test('a caller whose connection breaks says so', async (t) => {
  const url = await serve(t, (request) => request.socket.destroy())
  const caller = await HttpCaller.start({ method: 'GET', url, headers: {} }, () => {})
  await rejectsLike(t, caller.stop(), { message: /closed the connection|ECONNRESET/ })
})
