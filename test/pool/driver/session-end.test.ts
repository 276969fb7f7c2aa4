import t from 'tap'
import { type Peer, sessionOf } from './fake-server.ts'

/** All that the client has said, as it comes. */
function heardBy({ socket }: Peer): { text: string } {
  const heard = { text: '' }
  socket.on('data', (chunk: Buffer) => {
    heard.text += chunk.toString('latin1')
  })
  return heard
}

const GOODBYE = 'X\0\0\0\x04'

t.test('a session says goodbye once, and nothing behind it', async (t) => {
  const { session, peer } = await sessionOf(t)
  const heard = heardBy(peer)
  session.write(Buffer.from('before'))
  session.end()
  session.end()
  session.write(Buffer.from('behind'))
  session.abandon()
  await session.closed
  t.strictSame([heard.text, session.failure], [`before${GOODBYE}`, undefined])
})

t.test('a session that is given up says nothing more, not even goodbye', async (t) => {
  const { session, peer } = await sessionOf(t)
  const heard = heardBy(peer)
  session.write(Buffer.from('before'))
  session.abandon()
  session.abandon()
  session.end()
  session.write(Buffer.from('behind'))
  await session.closed
  t.strictSame([heard.text, session.failure], ['before', undefined])
})

t.test('a session that is broken takes nothing more, and is closed when it is given up', async (t) => {
  const { session, peer } = await sessionOf(t)
  const heard = heardBy(peer)
  session.isBroken = true
  session.write(Buffer.from('behind'))
  session.end()
  session.abandon()
  await session.closed
  t.strictSame([heard.text, session.failure], ['', undefined])
})
