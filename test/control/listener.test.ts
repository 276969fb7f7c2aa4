import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { Listener } from '../../src/control/listener.ts'
import { testDatabase } from '../support/database.ts'
import { like } from '../support/like.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until } from './helpers.ts'

/** How many turns of the event loop a login takes here, and some more. */
const TURNS = 60

async function behindProxy(t: Test) {
  const { url } = await testDatabase(t)
  const proxy = await TcpProxy.start(t, url)
  const address = parseDatabaseUrl(proxy.url(url))
  const lost: unknown[] = []
  const start = () => {
    const listener = new Listener({
      address,
      connectTimeoutMs: 3_000,
      channels: { news: () => {} },
      onListening: () => {},
      onLost: (error) => lost.push(error),
    })
    listener.start()
    t.teardown(() => listener.stop())
    return listener
  }
  return { proxy, lost, start }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn()
}

t.test('a listener that is stopped while it connects leaves no connection', async (t) => {
  const { proxy, lost, start } = await behindProxy(t)
  for (let i = 0; i < TURNS; i++) {
    const listener = start()
    await turns(i)
    await listener.stop()
  }
  t.ok(proxy.openings.length > 0, 'some had begun to log in')
  await until(() => proxy.open === 0, 'nothing is left')
  t.strictSame(lost, [], 'and none of them has been lost')
})

t.test('nor does one whose connection is reset just then', async (t) => {
  const { proxy, start } = await behindProxy(t)
  for (let i = 0; i < TURNS; i++) {
    const listener = start()
    await turns(i)
    proxy.reset()
    await turns(i % 7)
    await listener.stop()
  }
  t.ok(proxy.openings.length > 0, 'some had begun to log in')
  await until(() => proxy.open === 0, 'nothing is left')
})

t.test('a listener can be stopped while the server is silent, and without having been started', async (t) => {
  const { proxy, lost, start } = await behindProxy(t)
  proxy.inflict({ kind: 'silence' })
  const listener = start()
  await until(() => proxy.openings.length === 1, 'it logs in')
  await listener.stop()
  t.strictSame(lost, [])
  await proxy.heal()
  await until(() => proxy.open === 0, 'nothing is left')
  await new Listener({
    address: parseDatabaseUrl('postgres://nobody@127.0.0.1:1/none'),
    connectTimeoutMs: 1,
    channels: {},
    onListening: () => {},
    onLost: () => {},
  }).stop()
})

t.test('a login that is not answered is told of, by its time', async (t) => {
  const { proxy, lost, start } = await behindProxy(t)
  proxy.inflict({ kind: 'silence' })
  start()
  await until(() => lost.length > 0, 'it gave up')
  like(t, lost[0], { code: 'CONNECT_TIMEOUT', message: 'The login was not answered within 3000 ms.' })
})
