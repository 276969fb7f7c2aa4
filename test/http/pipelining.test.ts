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

t.test('a connection that sends too many requests ahead of the answers is cut', async (t) => {
  const { socket, served, closed, logged } = await serve(t)
  socket.write(GET.repeat(2_000))
  await closed
  t.equal(served.length, 1 + MAX_PIPELINED, 'and what came with them is not looked at')
  t.strictSame(
    logged().map(({ msg, requests }) => [msg, requests]),
    [['connection cut: too many requests ahead of their answers', MAX_PIPELINED + 1]],
  )
})

t.test('answers that are given at once make no difference to what is read in the same turn', async (t) => {
  const { socket, served, closed } = await serve(t, true)
  socket.write(GET.repeat(2_000))
  await closed
  // Each chunk that is read begins with one that is not ahead of an answer.
  t.ok(served.length < 3 * MAX_PIPELINED, `${served.length} of 2000 were served`)
})

t.test('as many as are allowed are served, again and again', async (t) => {
  const { socket, served, reach, read, logged } = await serve(t)
  const all = 1 + MAX_PIPELINED
  for (let round = 1; round <= 3; round++) {
    socket.write(GET.repeat(all))
    await reach(round * all)
    for (const response of served.slice(-all)) response.end()
    await read(round * all)
  }
  t.equal(served.length, 3 * all)
  t.strictSame(logged(), [])
})
