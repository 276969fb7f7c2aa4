import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'
import type { ConnectionTarget } from '../../../src/pool/contract.ts'
import { backendMessage, MESSAGE } from '../../../src/pool/driver/protocol.ts'
import { Session } from '../../../src/pool/driver/session.ts'
import { Secret } from '../../../src/secret.ts'

/** Peer is one client of a fake server. */
export interface Peer {
  readonly socket: Socket
  /** next resolves with the next message that the client sends: its type and its body. */
  next(): Promise<{ readonly type: string; readonly body: Buffer }>
  send(type: number, body?: Buffer): void
}

/** authentication is the body of an Authentication message of this kind. */
export function authentication(kind: number, data: string | Buffer = ''): Buffer {
  const head = Buffer.alloc(4)
  head.writeInt32BE(kind)
  return Buffer.concat([head, Buffer.from(data)])
}

/** greet lets a client in without a password. */
export async function greet(peer: Peer): Promise<void> {
  await peer.next()
  peer.send(MESSAGE.authentication, authentication(0))
  peer.send(MESSAGE.backendKeyData, Buffer.from([0, 0, 0, 7, 0, 0, 0, 9]))
  peer.send(MESSAGE.readyForQuery, Buffer.from('I'))
}

/** fakeServer does with each client what `script` says, for what no real server would do. */
export async function fakeServer(t: Test, script: (peer: Peer) => Promise<void>): Promise<ConnectionTarget> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    script(peerOf(socket)).catch((error: unknown) => {
      // A client that goes in the midst of a script is what most scripts are for.
      if (!socket.destroyed) socket.destroy(error as Error)
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return {
    server: 'default',
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    database: 'app',
    user: 'tenant',
    password: new Secret('pencil'),
    tls: 'disable',
    parameters: {},
  }
}

/** sessionOf is a session whose server does with its socket what the test says. */
export async function sessionOf(t: Test): Promise<{ session: Session; socket: Socket; peer: Peer }> {
  const { promise, resolve } = Promise.withResolvers<Peer>()
  const { host, port } = await fakeServer(t, async (peer) => resolve(peer))
  const socket = connect(port, host)
  await once(socket, 'connect')
  t.teardown(() => socket.destroy())
  return { session: new Session(socket), socket, peer: await promise }
}

function peerOf(socket: Socket): Peer {
  let bytes = Buffer.alloc(0)
  let isStarted = false
  let wake: () => void = () => {}
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    wake()
  })
  socket.on('close', () => wake())
  async function has(count: number): Promise<void> {
    while (bytes.length < count) {
      if (socket.destroyed) throw new Error('the client has gone')
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
  return {
    socket,
    async next() {
      // The first one has no type.
      const head = isStarted ? 1 : 0
      isStarted = true
      await has(head + 4)
      const length = bytes.readUInt32BE(head)
      await has(head + length)
      const type = bytes.toString('latin1', 0, head)
      const body = bytes.subarray(head + 4, head + length)
      bytes = bytes.subarray(head + length)
      return { type, body }
    },
    send(type, body) {
      socket.write(backendMessage(type, body))
    },
  }
}
