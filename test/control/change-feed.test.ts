import t, { type Test } from 'tap'
import { CHANGE_CHANNEL, insertChange, trimChanges } from '../../src/control/change-store.ts'
import type { ReadChange } from '../../src/control/changes.ts'
import type { ControlDatabase } from '../../src/control/control-database.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { Listener } from '../../src/control/listener.ts'
import { Outage } from '../../src/control/outage.ts'
import { sql } from '../../src/pool/statement.ts'
import { openControl, openFeed, until } from './helpers.ts'

function publish(db: ControlDatabase): Promise<bigint> {
  return db.transaction((tx) => insertChange(tx, { kind: 'key', tenantId: null, keyId: 'k' }))
}

/** Starts a listener that polls the feed, and resolves when it listens. */
async function listen(t: Test, url: string, poll: () => Promise<void>) {
  const counts = { listening: 0, lost: 0 }
  const listener = new Listener({
    address: parseDatabaseUrl(url),
    connectTimeoutMs: 2_000,
    channels: { [CHANGE_CHANNEL]: () => void poll() },
    onListening: () => {
      counts.listening += 1
      void poll()
    },
    onLost: () => {
      counts.lost += 1
    },
  })
  listener.start()
  t.teardown(() => listener.stop())
  await until(() => counts.listening === 1, 'it listens')
  return counts
}

function killListener(db: ControlDatabase): Promise<readonly object[]> {
  return db.query(sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and query ilike 'listen %'`)
}

t.test('a feed begins after what there is, and is told by NOTIFY without polling', async (t) => {
  const { db, url } = await openControl(t)
  await publish(db)
  const { feed, versions } = await openFeed(t, db)
  t.equal(feed.applied, 1n)
  await listen(t, url, () => feed.poll())
  await publish(db)
  await until(() => versions().length === 1, 'the notification comes')
  t.strictSame(versions(), [2n])
})

t.test('a listener that was cut off comes back and reads at once what it did not hear', async (t) => {
  const { db, url } = await openControl(t)
  const { feed, versions } = await openFeed(t, db)
  const counts = await listen(t, url, () => feed.poll())
  t.equal((await killListener(db)).length, 1)
  await until(() => counts.lost === 1, 'the loss is noticed')
  await publish(db)
  await until(() => versions().length === 1, 'the change is read, though nothing polls')
  t.equal(counts.listening, 2)
  await publish(db)
  await until(() => versions().length === 2, 'and it listens again')
})

t.test('without NOTIFY the changes are found by polling', async (t) => {
  const { db } = await openControl(t)
  const { versions } = await openFeed(t, db, { pollMs: 50 })
  await publish(db)
  await until(() => versions().length === 1, 'the change is found')
  await publish(db)
  await until(() => versions().length === 2, 'and the next one')
  t.strictSame(versions(), [1n, 2n])
})

t.test('a feed that finds changes gone forgets everything, once', async (t) => {
  const { db } = await openControl(t)
  const { feed, versions, counts } = await openFeed(t, db)
  for (let i = 0; i < 3; i++) await publish(db)
  await db.query(sql`update lessor.changes set created_at = now() - interval '1 hour' where version <= 2`)
  await trimChanges(db, 60_000)
  await feed.poll()
  t.strictSame(versions(), [])
  t.equal(counts.resyncs, 1)
  t.equal(feed.applied, 3n)
  await db.query(sql`delete from lessor.changes`)
  await feed.poll()
  t.equal(counts.resyncs, 1, 'what it has read may go')
  await publish(db)
  await feed.poll()
  t.strictSame(versions(), [4n])
  await publish(db)
  await db.query(sql`delete from lessor.changes`)
  await feed.poll()
  t.equal(counts.resyncs, 2, 'also when nothing at all is left')
})

t.test('a log that begins anew, as after a restore, makes it forget everything as well', async (t) => {
  const { db } = await openControl(t)
  for (let i = 0; i < 5; i++) await publish(db)
  const { feed, counts, reports } = await openFeed(t, db)
  await db.query(sql`delete from lessor.changes where version > 2`)
  await db.query(sql`update lessor.change_counter set version = 2`)
  await feed.poll()
  t.equal(counts.resyncs, 1)
  t.equal(feed.applied, 2n)
  await publish(db)
  await feed.poll()
  t.equal(reports.at(-1), 3n)
})

t.test('a slow drain holds up no change after it, only what counts as applied', async (t) => {
  const { db } = await openControl(t)
  const { feed, versions, reports, hold } = await openFeed(t, db)
  const [end2, end4] = [hold(2n), hold(4n)]
  for (let i = 0; i < 5; i++) await publish(db)
  await feed.poll()
  t.strictSame(versions(), [1n, 2n, 3n, 4n, 5n])
  t.equal(feed.applied, 1n)
  end4()
  await feed.poll()
  t.equal(feed.applied, 1n, 'the later one is done, the earlier is not')
  end2()
  await until(() => feed.applied === 5n, 'all is done')
  t.strictSame(reports, [1n, 5n])
})

t.test('more changes than one reading takes are all read', async (t) => {
  const { db } = await openControl(t)
  const { feed, versions } = await openFeed(t, db)
  await db.query(sql`
    insert into lessor.changes (version, kind) select n, 'key' from generate_series(1, 1201) n`)
  await db.query(sql`update lessor.change_counter set version = 1201`)
  await feed.poll()
  t.equal(versions().length, 1201)
  t.equal(feed.applied, 1201n)
})

t.test('a feed that forgets everything counts as applied when the work of that is done', async (t) => {
  const { db } = await openControl(t)
  const { promise: work, resolve: end } = Promise.withResolvers<void>()
  const handler = { apply: () => undefined, resync: async () => [Promise.resolve(), work] }
  const { feed, failures, reports } = await openFeed(t, db, { handler })
  await publish(db)
  await feed.poll()
  t.equal(feed.applied, 1n)
  for (let missed = 0; missed < 3; missed++) await publish(db)
  await db.query(sql`delete from lessor.changes`)
  await feed.poll()
  t.equal(feed.applied, 1n, 'of what was missed nothing is')
  await publish(db)
  await feed.poll()
  t.strictSame([feed.applied, reports], [1n, [1n]], 'not by what comes after it either')
  end()
  await until(() => feed.applied === 5n, 'all is done')
  t.strictSame([reports, failures], [[1n, 5n], []])
})

t.test('a change whose work has failed is done when the forgetting that it led to is', async (t) => {
  const { db } = await openControl(t)
  const { promise: work, resolve: end } = Promise.withResolvers<void>()
  const handler = {
    apply: ({ version }: ReadChange) =>
      version === 2n ? Promise.reject(new Error('of the test')) : undefined,
    resync: async () => [work],
  }
  const { feed, failures } = await openFeed(t, db, { handler })
  for (let i = 0; i < 3; i++) await publish(db)
  await feed.poll()
  await until(() => failures.length === 1, 'it is told of')
  t.equal(feed.applied, 1n)
  await feed.poll()
  await publish(db)
  await feed.poll()
  t.equal(feed.applied, 1n, 'while it is forgotten')
  end()
  await until(() => feed.applied === 4n, 'and then all is done')
  t.equal(failures.length, 1)
})

t.test(
  'a log that begins again counts from its beginning, when the work of forgetting is done',
  async (t) => {
    const { db } = await openControl(t)
    const { promise: work, resolve: end } = Promise.withResolvers<void>()
    const handler = { apply: () => undefined, resync: async () => [work] }
    for (let i = 0; i < 5; i++) await publish(db)
    const { feed, reports } = await openFeed(t, db, { handler })
    await db.query(sql`delete from lessor.changes where version > 2`)
    await db.query(sql`update lessor.change_counter set version = 2`)
    await feed.poll()
    t.equal(feed.applied, 0n)
    await publish(db)
    await feed.poll()
    t.strictSame([feed.applied, reports], [0n, []])
    end()
    await until(() => feed.applied === 3n, 'all is done')
    t.strictSame(reports, [3n])
  },
)

t.test('it answers when it has caught up, for the time when it last asked', async (t) => {
  const { db } = await openControl(t)
  const clock = { time: 0, now: () => clock.time }
  const slow: Pick<ControlDatabase, 'query' | 'transaction'> = {
    async query(statement) {
      clock.time += 100
      return db.query(statement)
    },
    transaction: (fn) => db.transaction(fn),
  }
  const answers: [askedAt: number, seen: number][] = []
  let seen = 0
  const { feed, failures } = await openFeed(t, slow, {
    clock,
    handler: {
      apply() {
        seen += 1
        return undefined
      },
      resync: async () => [],
    },
    outage: {
      failed: (error) => failures.push(error),
      answered: (askedAt) => answers.push([askedAt, seen]),
    },
  })
  t.strictSame(answers, [[0, 0]])
  await db.query(sql`
    insert into lessor.changes (version, kind) select n, 'key' from generate_series(1, 501) n`)
  await db.query(sql`update lessor.change_counter set version = 501`)
  await feed.poll()
  // The first answer to this reading was 500 changes, asked for at 100.
  t.strictSame(answers, [
    [0, 0],
    [200, 501],
  ])
})

t.test('an outage is told of when no answer comes, and is over when the feed has caught up', async (t) => {
  const { db } = await openControl(t)
  const clock = { time: 0, now: () => clock.time }
  const told: string[] = []
  const outage = new Outage({
    clock,
    outageMs: 1_000,
    onBegin: () => told.push('begin'),
    onEnd: (ms) => told.push(`end after ${ms}`),
  })
  let down = false
  const flaky: Pick<ControlDatabase, 'query' | 'transaction'> = {
    query: (statement) => (down ? new Promise(() => {}) : db.query(statement)),
    transaction: (fn) => db.transaction(fn),
  }
  const { feed, versions } = await openFeed(t, flaky, { outage, clock, patienceMs: 1_000 })
  t.notOk(outage.servesKnown())
  down = true
  // The timer of the patience keeps no process alive.
  const alive = setInterval(() => {}, 1_000)
  await feed.poll()
  clearInterval(alive)
  t.ok(outage.servesKnown(), 'a database that never answers is away')
  clock.time += 999
  t.ok(outage.servesKnown())
  clock.time += 1
  t.notOk(outage.servesKnown(), 'what is known gets too old')
  await publish(db)
  down = false
  await feed.poll()
  t.strictSame(versions(), [1n])
  t.notOk(outage.servesKnown())
  t.strictSame(told, ['begin', 'end after 1000'])
  t.equal(outage.count, 1)
})
