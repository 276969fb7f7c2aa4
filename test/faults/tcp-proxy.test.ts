import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { TcpProxy } from '../support/tcp-proxy.ts'

/** start makes a server that sends back what it gets, and a proxy before it. */
async function start(t: Test) {
  const atServer = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    atServer.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => atServer.delete(socket))
    socket.pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    for (const socket of atServer) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const proxy = await TcpProxy.start(t, `postgres://a:b@127.0.0.1:${port}/c`)
  return { proxy, atServer }
}

/** Client is a connection to the proxy, with what it has received. */
class Client {
  readonly socket: Socket
  readonly closed: Promise<unknown>
  readonly ended: Promise<unknown>
  error: NodeJS.ErrnoException | undefined
  #received = ''
  #heard = Promise.withResolvers<void>()

  constructor(t: Test, port: number) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    t.teardown(() => this.socket.destroy())
    this.socket.setEncoding('latin1')
    this.socket.on('data', (text: string) => {
      this.#received += text
      this.#heard.resolve()
      this.#heard = Promise.withResolvers()
    })
    this.socket.on('error', (error) => {
      this.error = error
    })
    this.closed = new Promise((resolve) => this.socket.once('close', resolve))
    this.ended = new Promise((resolve) => this.socket.once('end', () => resolve(undefined)))
  }

  get received(): string {
    return this.#received
  }

  send(text: string): void {
    this.socket.write(text, 'latin1')
  }

  /** heard resolves when so much has been received in all. */
  async heard(length: number): Promise<string> {
    while (this.#received.length < length) await this.#heard.promise
    return this.#received
  }
}

/** startUp is the first packet of a PostgreSQL session. */
function startUp(user: string, application: string): string {
  const words = Buffer.from(`user\0${user}\0application_name\0${application}\0\0`)
  const head = Buffer.alloc(8)
  head.writeUInt32BE(8 + words.length, 0)
  head.writeUInt32BE(3 << 16, 4)
  return Buffer.concat([head, words]).toString('latin1')
}

async function gone(proxy: TcpProxy): Promise<void> {
  while (proxy.open > 0) await new Promise((resolve) => setImmediate(resolve))
}

t.test('what either side sends arrives, and so does the end of each direction', async (t) => {
  const { proxy, atServer } = await start(t)
  const client = new Client(t, proxy.port)
  const text = 'x'.repeat(300_000)
  client.send(text)
  client.socket.end()
  t.equal(await client.heard(text.length), text)
  await client.closed
  await gone(proxy)
  t.equal(client.error, undefined)
  t.equal(atServer.size, 0)
})

t.test('connections are known by the login that they open with', async (t) => {
  const { proxy } = await start(t)
  const packets = [
    startUp('ada', 'lessor'),
    startUp('bob', 'lessor'),
    '\0\0\0\x10\x04\xd2\x16\x2e12345678',
    'x',
  ]
  const clients = packets.map((packet) => {
    const client = new Client(t, proxy.port)
    client.send(packet)
    return client
  })
  await Promise.all(clients.map((client, i) => client.heard(packets[i]?.length ?? 0)))
  t.equal(proxy.openings.length, 4)
  t.equal(proxy.openings.filter((opening) => opening.kind === 'session' && opening.user === 'bob').length, 1)
  t.equal(proxy.openings.filter(({ kind }) => kind === 'cancel').length, 1)
  t.equal(
    proxy.reset((opening) => opening.kind === 'session' && opening.user === 'ada'),
    1,
  )
  const [ada, bob] = clients
  await ada?.closed
  t.equal(ada?.error?.code, 'ECONNRESET')
  bob?.send('still here')
  t.match(await bob?.heard(startUp('bob', 'lessor').length + 10), /still here$/)
})

t.test('a refusing proxy keeps what is open, and listens again on the same port', async (t) => {
  const { proxy } = await start(t)
  const open = new Client(t, proxy.port)
  open.send('a')
  await open.heard(1)
  const { port } = proxy
  proxy.refuse()
  const refused = new Client(t, port)
  await refused.closed
  t.equal(refused.error?.code, 'ECONNREFUSED')
  open.send('b')
  t.equal(await open.heard(2), 'ab')
  await proxy.heal()
  t.equal(proxy.port, port)
  const late = new Client(t, port)
  late.send('c')
  t.equal(await late.heard(1), 'c')
})

t.test('a cut lets so many bytes of the server through, and then resets both sides', async (t) => {
  const { proxy, atServer } = await start(t)
  const client = new Client(t, proxy.port)
  client.send('before')
  await client.heard(6)
  proxy.inflict({ kind: 'cut', afterBytes: 4, into: 'reset' })
  client.send('ab')
  await client.heard(8)
  client.send('cdef')
  await client.closed
  t.equal(client.received, 'beforeabcd')
  t.equal(client.error?.code, 'ECONNRESET')
  await gone(proxy)
  while (atServer.size > 0) await new Promise((resolve) => setImmediate(resolve))
})

t.test('in silence nothing passes, not even an end, and all of it arrives once it heals', async (t) => {
  const { proxy, atServer } = await start(t)
  const client = new Client(t, proxy.port)
  client.send('a')
  await client.heard(1)
  proxy.inflict({ kind: 'cut', afterBytes: 2, into: 'silence' })
  client.send('bcde')
  t.equal(await client.heard(3), 'abc')
  client.send('f')
  client.socket.end()
  const probe = new Client(t, proxy.port)
  // It opens, for the proxy accepts, and its bytes pass up to the cut: by then the others had their time.
  probe.send('12')
  await probe.heard(2)
  t.equal(client.received, 'abc')
  t.equal(atServer.size, 2, 'the server knows of no end')
  probe.socket.destroy()
  await proxy.heal()
  t.equal(await client.heard(6), 'abcdef')
  await client.closed
  await gone(proxy)
})

t.test('a client that is gone stays open towards the server for as long as there is silence', async (t) => {
  const { proxy, atServer } = await start(t)
  const client = new Client(t, proxy.port)
  client.send('a')
  await client.heard(1)
  proxy.inflict({ kind: 'silence' })
  client.socket.resetAndDestroy()
  await client.closed
  const probe = new Client(t, proxy.port)
  await once(probe.socket, 'connect')
  probe.socket.destroy()
  t.equal(proxy.open, 2)
  t.ok(atServer.size >= 1)
  await proxy.heal()
  await gone(proxy)
})

t.test(
  'a chosen connection is reset or hung up on at its next packet; the server hears nothing',
  async (t) => {
    const { proxy } = await start(t)
    const isAda = (opening: { kind: string; user?: string }) => opening.user === 'ada'
    for (const [kind, code] of [
      ['reset', 'ECONNRESET'],
      ['hang-up', undefined],
    ] as const) {
      proxy.inflict({ kind }, isAda)
      const ada = new Client(t, proxy.port)
      ada.send(startUp('ada', 'lessor'))
      const bob = new Client(t, proxy.port)
      bob.send(startUp('bob', 'lessor'))
      await bob.heard(startUp('bob', 'lessor').length)
      if (kind === 'hang-up') {
        await ada.ended
        ada.socket.end()
      }
      await ada.closed
      t.equal(ada.error?.code, code)
      t.equal(ada.received, '')
    }
  },
)

t.test('delays and a throttle change when bytes arrive, and not which', async (t) => {
  const { proxy } = await start(t)
  proxy.inflict({ kind: 'slow', upDelayMs: 20, downDelayMs: 30, bytesPerSecond: 40_000 })
  const client = new Client(t, proxy.port)
  const text = Array.from({ length: 500 }, (_, i) => `${i} `).join('')
  const since = performance.now()
  client.send(text)
  t.equal(await client.heard(text.length), text)
  // Timers never end early by more than their own millisecond.
  const leastMs = 48 + (text.length / 40_000) * 1000
  const ms = performance.now() - since
  t.ok(ms >= leastMs, `took ${Math.round(ms)} ms, at least ${Math.round(leastMs)}`)
})

t.test('a server that is down shows as a reset', async (t) => {
  const { proxy } = await start(t)
  const dead = createServer()
  dead.listen(0, '127.0.0.1')
  await once(dead, 'listening')
  const { port } = dead.address() as AddressInfo
  dead.close()
  const other = await TcpProxy.start(t, `postgres://a:b@127.0.0.1:${port}/c`)
  const client = new Client(t, other.port)
  await client.closed
  await gone(other)
  t.equal(
    other.url('postgres://a:b@example.com:1/c?sslmode=disable').includes(`127.0.0.1:${other.port}/c`),
    true,
  )
  t.equal(proxy.open, 0)
})

t.test('closing the proxy closes every socket, silent ones and throttled ones as well', async (t) => {
  const { proxy, atServer } = await start(t)
  const [silent, slow] = [new Client(t, proxy.port), new Client(t, proxy.port)]
  silent.send(startUp('silent', ''))
  slow.send(startUp('slow', ''))
  await Promise.all([silent.heard(30), slow.heard(30)])
  proxy.inflict({ kind: 'slow', bytesPerSecond: 1 }, (opening) => opening.kind === 'session')
  slow.send('x'.repeat(100))
  proxy.inflict({ kind: 'silence' }, (opening) => opening.kind === 'session' && opening.user === 'silent')
  silent.send('y')
  await proxy.close()
  await Promise.all([silent.closed, slow.closed])
  t.equal(proxy.open, 0)
  while (atServer.size > 0) await new Promise((resolve) => setImmediate(resolve))
})

t.test('a connection that is just being hung up on can still be reset', async (t) => {
  const { proxy } = await start(t)
  for (let ticks = 0; ticks < 10; ticks++) {
    const reset = Promise.withResolvers<number>()
    proxy.inflict({ kind: 'hang-up' }, () => {
      // In the same turn of the event loop: the end has been asked for, and the system does not know yet.
      after(ticks, () => reset.resolve(proxy.reset()))
      return true
    })
    new Client(t, proxy.port).send(startUp('ada', 'lessor'))
    t.equal(await reset.promise, 1)
    await gone(proxy)
  }
})

function after(ticks: number, fn: () => void): void {
  if (ticks === 0) fn()
  else process.nextTick(() => after(ticks - 1, fn))
}
