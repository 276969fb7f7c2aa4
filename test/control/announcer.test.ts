import t, { type Test } from 'tap'
import { Announcer } from '../../src/control/announcer.ts'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { Listener } from '../../src/control/listener.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike } from '../support/like.ts'
import { until } from './helpers.ts'

/** What is asked of a database that refuses while `isRefusing`, each statement as its text and values. */
function fakeAnnouncer() {
  const asked: (readonly [string, readonly unknown[]])[] = []
  const told: unknown[] = []
  const world = { isRefusing: false, told, asked: () => asked.splice(0), announce: async (_: string) => {} }
  const refused = new Error('the queue is full')
  const announcer = new Announcer({
    db: {
      async query({ strings, values }) {
        asked.push([strings.join('?').trim().split(/[\s(]/, 2).join(' '), values])
        if (world.isRefusing && asked.at(-1)?.[0] === 'select set_config') throw refused
        return []
      },
    },
    onFailure: (error) => told.push(error),
  })
  world.announce = async (payload) => {
    announcer.announce('news', payload)
    await announcer.settled()
  }
  return { world, refused }
}

/** A database, and what others hear of it. */
async function setUp(t: Test) {
  const { url } = await testDatabase(t)
  const db = new ControlDatabase({ url, maxConnections: 4 })
  t.teardown(() => db.close())
  const heard: string[] = []
  const listening = Promise.withResolvers<void>()
  const listener = new Listener({
    address: parseDatabaseUrl(url),
    connectTimeoutMs: 10_000,
    channels: { news: (payload) => heard.push(payload), end: () => heard.push('end') },
    onListening: () => listening.resolve(),
    onLost: listening.reject,
  })
  listener.start()
  t.teardown(() => listener.stop())
  await listening.promise
  const end = async () => {
    db.announce('end', '')
    await until(() => heard.includes('end'), 'the last one is heard')
    return heard
  }
  return { url, db, end }
}

t.test(
  'what is announced in a transaction is heard when it has committed, the last word of a channel',
  async (t) => {
    const { db, end } = await setUp(t)
    await db.transaction(async (tx) => {
      tx.announce('news', 'first')
      await tx.transaction(async (inner) => inner.announce('news', 'second'))
    })
    t.strictSame(await end(), ['second', 'end'])
  },
)

t.test('and not at all when it rolls back', async (t) => {
  const { db, end } = await setUp(t)
  const stop = new Error('stop')
  const broken = db.transaction(async (tx) => {
    tx.announce('news', 'never')
    throw stop
  })
  await rejectsLike(t, broken, stop)
  t.strictSame(await end(), ['end'])
})

t.test('what is announced last is sent before the handle closes', async (t) => {
  const { url, end } = await setUp(t)
  const other = new ControlDatabase({ url, maxConnections: 1 })
  for (const word of ['one', 'two', 'three']) other.announce('news', word)
  await other.close()
  const heard = await end()
  t.equal(heard.at(-2), 'three', 'of several that wait the last one counts')
})

t.test('a failure is told once, counted, and hurts nothing', async (t) => {
  const { url } = await testDatabase(t)
  const told: unknown[] = []
  const db = new ControlDatabase({ url, maxConnections: 1, onUnannounced: (error) => told.push(error) })
  // A channel's name may have 63 bytes.
  const tooLong = 'x'.repeat(64)
  for (let i = 0; i < 3; i++) {
    t.equal(
      await db.transaction(async (tx) => {
        tx.announce(tooLong, '')
        return 'committed'
      }),
      'committed',
    )
    await until(() => db.unannounced === i + 1, 'it has failed')
  }
  t.equal(told.length, 1)
  await db.close()
})

t.test(
  'an announcement waits two seconds for the commits of others, not as long as a statement may',
  async (t) => {
    const { world } = fakeAnnouncer()
    await world.announce('one')
    t.strictSame(world.asked(), [['select set_config', ['2000', ['news'], ['one']]]])
  },
)

t.test(
  'after a failure the tail of the queue is cut off first, until one is heard; the next failure is told again',
  async (t) => {
    const { refused, world } = fakeAnnouncer()
    const forms = () => world.asked().map(([form]) => form)
    world.isRefusing = true
    await world.announce('one')
    t.strictSame(forms(), ['select set_config'])
    await world.announce('two')
    t.strictSame(forms(), ['select pg_notification_queue_usage', 'select set_config'])
    t.strictSame(world.told, [refused])
    world.isRefusing = false
    await world.announce('three')
    t.strictSame(forms(), ['select pg_notification_queue_usage', 'select set_config'])
    await world.announce('four')
    t.strictSame(forms(), ['select set_config'])
    world.isRefusing = true
    await world.announce('five')
    t.strictSame(world.told, [refused, refused])
  },
)
