import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { openSocket } from '../../src/pool/open-socket.ts'
import { rejectsLike } from '../support/like.ts'

/** PostgreSQL manual, "Message Formats": SSLRequest. */
const SSL_REQUEST = '0000000804d2162f'

/** Starts a server that gives this answer to the first packet of a client, and hangs up at the next one. */
async function answering(t: Test, answer: Buffer) {
  const heard: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      heard.push(chunk.toString('hex'))
      if (heard.length === 1) socket.write(answer)
      else socket.destroy()
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return { heard, host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

/** AuthenticationOk and ReadyForQuery, which a client that mixes them up with the server's own would believe. */
const LET_IN = Buffer.from('5200000008000000005a0000000549', 'hex')

for (const [what, answer] of [
  ['takes TLS, and has sent bytes before it', Buffer.concat([Buffer.from('S'), LET_IN])],
  ['takes TLS twice', Buffer.from('SS')],
  ['takes no TLS', Buffer.from('N')],
  ['takes no TLS, and goes on', Buffer.concat([Buffer.from('N'), LET_IN])],
  ['answers by an error', Buffer.from('E\0\0\0\x16SFATAL\0C0A000\0Mno\0\0')],
] as const) {
  for (const tls of ['require', 'verify-ca', 'verify-full'] as const) {
    t.test(`${tls}: a server that ${what} hears nothing more`, async (t) => {
      const { heard, ...address } = await answering(t, answer)
      const sockets: Socket[] = []
      const opening = openSocket({ ...address, tls }, (socket) => sockets.push(socket))
      await rejectsLike(t, opening, {
        message: `The server at 127.0.0.1:${address.port} does not accept TLS connections.`,
      })
      t.strictSame(
        sockets.map(({ destroyed }) => destroyed),
        [true],
      )
      t.strictSame(heard, [SSL_REQUEST])
    })
  }
}

t.test('a socket that is open keeps no listener of its opening', async (t) => {
  const { heard: _, ...address } = await answering(t, Buffer.alloc(0))
  const socket = await openSocket({ ...address, tls: 'disable' }, () => {})
  t.strictSame(
    ['connect', 'data', 'close', 'error'].map((name) => socket.listenerCount(name)),
    [0, 0, 0, 1],
    'but for the one that takes a late error',
  )
})
