import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import t from 'tap'
import { createLogger } from '../../src/http/logger.ts'
import { boundPipelining, MAX_PIPELINED } from '../../src/http/pipelining.ts'

const GET = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'

async function serve(t: { teardown(fn: () => void): void }, atOnce = false) {
  const lines: string[] = []
  const { logger } = createLogger('info', { write: (line) => lines.push(line) })
  const served: ServerResponse[] = []
  let arrived = () => {}
  const server = createServer((_request, response) => {
    served.push(response)
    if (atOnce) response.end()
    arrived()
  })
  boundPipelining(server, logger)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.on('error', () => {})
  let answers = 0
  let answered = () => {}
  socket.on('data', (chunk) => {
    answers += String(chunk).split('HTTP/1.1 200').length - 1
    answered()
  })
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  return {
    socket,
    served,
    closed,
    logged: () => lines.map((line) => JSON.parse(line)),
    async reach(count: number) {
      while (served.length < count) await new Promise<void>((resolve) => (arrived = resolve))
    },
    async read(count: number) {
      while (answers < count) await new Promise<void>((resolve) => (answered = resolve))
    },
  }
}

const POST = `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n${'x'.repeat(100)}`
const CUT = 'connection cut: too many requests ahead of their answers'

t.test('a connection that sends too many requests at once is cut, whatever they are', async (t) => {
  for (const [name, request, atOnce] of [
    ['answered later', GET, false],
    ['answered at once', GET, true],
    // Node lets a request with a body be answered before it hands on the next.
    ['with a body, answered at once', POST, true],
  ] as const) {
    const { socket, served, closed, logged } = await serve(t, atOnce)
    socket.write(request.repeat(2_000))
    await closed
    t.equal(served.length, MAX_PIPELINED, `${name}: what came with them is not looked at`)
    t.strictSame(
      logged().map(({ msg }) => msg),
      [CUT],
    )
  }
})

t.test('a connection that sends too many requests ahead of the answers is cut, however slowly', async (t) => {
  const { socket, served, closed, reach, logged } = await serve(t)
  for (let sent = 1; sent <= 1 + MAX_PIPELINED; sent++) {
    socket.write(GET)
    await reach(sent)
    await new Promise(setImmediate)
  }
  t.strictSame(logged(), [])
  socket.write(GET)
  await closed
  t.equal(served.length, 1 + MAX_PIPELINED)
  t.strictSame(
    logged().map(({ msg }) => msg),
    [CUT],
  )
})

t.test('as many as are allowed are served, again and again', async (t) => {
  const { socket, served, reach, read, logged } = await serve(t)
  for (let round = 1; round <= 3; round++) {
    socket.write(GET.repeat(MAX_PIPELINED))
    await reach(round * MAX_PIPELINED)
    for (const response of served.slice(-MAX_PIPELINED)) response.end()
    await read(round * MAX_PIPELINED)
  }
  t.equal(served.length, 3 * MAX_PIPELINED)
  t.strictSame(logged(), [])
})
