import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { ControlChangeLog } from '../../src/control/change-log.ts'
import { trimChanges } from '../../src/control/change-store.ts'
import { writeApplied, writeHeartbeat } from '../../src/control/node-store.ts'
import { sql } from '../../src/pool/statement.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { addTenant, openControl, openFeed, until } from './helpers.ts'

async function open(t: Test) {
  const { db } = await openControl(t)
  const log = new ControlChangeLog({ db, leaseMs: 5_000 })
  const publish = (tenantId: string | null = null) =>
    db.transaction((tx) => log.publish(tx, { kind: 'status', tenantId }))
  return { db, log, publish }
}

t.test('a publisher that commits late is not skipped: whoever comes later waits for it', async (t) => {
  const { db, log, publish } = await open(t)
  const { feed, versions } = await openFeed(t, db)
  const [published, mayCommit] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const slow = db.transaction(async (tx) => {
    const version = await log.publish(tx, { kind: 'status', tenantId: null })
    published.resolve()
    await mayCommit.promise
    return version
  })
  await published.promise
  const fast = publish()
  await until(async () => {
    const rows = await db.query(sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)
    return rows.length === 1
  }, 'the second publisher waits for the first')
  await feed.poll()
  t.strictSame(versions(), [], 'neither is seen before it is committed')
  mayCommit.resolve()
  t.equal(await slow, 1n)
  t.equal(await fast, 2n)
  await feed.poll()
  t.strictSame(versions(), [1n, 2n])
})

t.test('a change that is rolled back leaves no gap', async (t) => {
  const { db, log, publish } = await open(t)
  await publish()
  await rejectsLike(
    t,
    db.transaction(async (tx) => {
      t.equal(await log.publish(tx, { kind: 'status', tenantId: null }), 2n)
      throw new Error('no')
    }),
    { message: 'no' },
  )
  t.equal(await publish(), 2n)
})

t.test(
  'versions that many publish at once are read in order, without gaps, by whoever reads meanwhile',
  async (t) => {
    const { db, publish } = await open(t)
    const { feed, versions, counts } = await openFeed(t, db)
    const publishing = Promise.all(Array.from({ length: 60 }, () => publish()))
    let done = false
    const reading = (async () => {
      while (!done) await feed.poll()
    })()
    const published = await publishing
    done = true
    await reading
    await feed.poll()
    const all = Array.from({ length: 60 }, (_, i) => BigInt(i + 1))
    t.strictSame(
      published.toSorted((a, b) => Number(a - b)),
      all,
    )
    t.strictSame(versions(), all)
    t.equal(counts.resyncs, 0)
  },
)

t.test('a change is seen with what it tells of, or not at all', async (t) => {
  const { db, log } = await open(t)
  const tenantId = await addTenant(db)
  const { feed, seen } = await openFeed(t, db)
  const [published, mayCommit] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const suspension = db.transaction(async (tx) => {
    await tx.query(sql`update lessor.tenants set status = 'suspended', generation = 2 where id = ${tenantId}`)
    await log.publish(tx, { kind: 'status', tenantId })
    published.resolve()
    await mayCommit.promise
  })
  await published.promise
  await feed.poll()
  t.strictSame(seen, [])
  mayCommit.resolve()
  await suspension
  await feed.poll()
  like(t, seen, [{ version: 1n, kind: 'status', tenantId, keyId: null, status: 'suspended', generation: 2 }])
})

t.test('what is left after trimming begins where it was cut', async (t) => {
  const { db, publish } = await open(t)
  for (let i = 0; i < 4; i++) await publish()
  // As if the third had been made by a transaction that began before the second's.
  await db.query(
    sql`update lessor.changes set created_at = now() - interval '1 hour' where version in (1, 3)`,
  )
  await trimChanges(db, 1_800_000)
  sameRows(t, await db.query(sql`select version from lessor.changes`), [{ version: '4' }])
  t.equal(await publish(), 5n, 'numbers are not given out again')
})

t.test('a change is settled when every live node has applied it', async (t) => {
  const { db, log, publish } = await open(t)
  const version = await publish()
  const [one, two, dead] = [randomUUID(), randomUUID(), randomUUID()]
  for (const id of [one, two, dead]) {
    await writeHeartbeat(db, { id, process: { name: 'n', space: null, pid: 1, started: null }, applied: 0n })
  }
  await db.query(sql`update lessor.nodes set heartbeat_at = now() - interval '6 seconds' where id = ${dead}`)
  let isSettled = false
  const settled = log.settled(version, new AbortController().signal).then(() => {
    isSettled = true
  })
  await writeApplied(db, one, version)
  await rejectsLike(t, log.settled(version, AbortSignal.timeout(100)), { name: 'AbortError' })
  t.notOk(isSettled)
  await writeApplied(db, two, version)
  await settled
  t.ok(isSettled, 'the dead one does not count')
})
