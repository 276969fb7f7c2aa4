import t from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { Lane } from '../../src/control/lane.ts'
import { sql } from '../../src/pool/statement.ts'
import { fakeServer, greet, type Peer } from '../pool/driver/fake-server.ts'
import { testDatabase } from '../support/database.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

const OPTIONS = { connectTimeoutMs: 10_000, patienceMs: undefined }

/** Resolves with the type of the client's next message; `nothing` when it goes without one. */
function nextOf(peer: Peer): Promise<string> {
  return peer.next().then(
    ({ type, body }) => `${type} ${body.length}`,
    () => 'nothing',
  )
}

t.test('a lane that is closed says goodbye', async (t) => {
  const { promise: said, resolve: say } = Promise.withResolvers<string>()
  const target = await fakeServer(t, async (peer) => {
    await greet(peer)
    say(await nextOf(peer))
  })
  const lane = await Lane.open(target, OPTIONS)
  t.equal(lane.isLost, false)
  await lane.close()
  t.equal(await said, 'X 0')
  await lane.lost
  t.equal(lane.isLost, true)
})

t.test('a lane that is destroyed says nothing more', async (t) => {
  const { promise: said, resolve: say } = Promise.withResolvers<string>()
  const target = await fakeServer(t, async (peer) => {
    await greet(peer)
    say(await nextOf(peer))
  })
  const lane = await Lane.open(target, OPTIONS)
  lane.destroy()
  t.equal(await said, 'nothing')
  await lane.close()
  t.equal(lane.isLost, true)
})

t.test('what a lane runs ends before it is closed', async (t) => {
  const { url } = await testDatabase(t)
  const target = { ...parseDatabaseUrl(url), server: 'test', parameters: {} }
  const lane = await Lane.open(target, OPTIONS)
  const running = lane.send(sql`select pg_sleep(0.2)::text as slept`)
  await lane.close()
  t.strictSame([...(await running)], [{ slept: '' }])
})

t.test('a lane whose server does not hang up is dropped', async (t) => {
  const { url } = await testDatabase(t)
  const proxy = await TcpProxy.start(t, url)
  const target = { ...parseDatabaseUrl(proxy.url(url)), server: 'test', parameters: {} }
  const lane = await Lane.open(target, OPTIONS)
  proxy.inflict({ kind: 'silence' })
  await lane.close()
  t.equal(lane.isLost, true)
  await lane.lost
})
