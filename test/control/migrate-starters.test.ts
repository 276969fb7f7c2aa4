import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { type Migration, migrate } from '../../src/control/migrate.ts'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike } from '../support/like.ts'
import { until } from './helpers.ts'

/** Two starters on a database, and a lock that holds up what asks for it until `release` is called. */
async function setUp(t: Test) {
  const { url } = await testDatabase(t)
  const open = () => {
    const db = new ControlDatabase({ url, maxConnections: 2 })
    t.teardown(() => db.close())
    return db
  }
  const [first, second, holder] = [open(), open(), open()]
  const { promise, resolve: release } = Promise.withResolvers<void>()
  const held = Promise.withResolvers<void>()
  const holding = holder.transaction(async (tx) => {
    await tx.query(sql`select pg_advisory_xact_lock(4711)`)
    held.resolve()
    await promise
  })
  await held.promise
  const untilWaiting = (count: number) =>
    until(async () => {
      const rows = await holder.query(sql`
        select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)
      return rows.length === count
    }, `${count} wait`)
  const ran = async () => (await holder.query<{ by: string }>(sql`select by from ran`)).map((row) => row.by)
  return {
    first,
    second,
    untilWaiting,
    ran,
    async release() {
      release()
      await holding
    },
  }
}

function migration(text: string): Migration {
  const checksum = createHash('sha256').update(text).digest('hex')
  return { version: 1, name: '000001-table', text, checksum }
}

const LOCK = 'select pg_advisory_xact_lock(4711)'
const OURS = migration(`create table ran (by text); ${LOCK}; insert into ran values ('first')`)
const THEIRS = migration(`create table ran (by text); insert into ran values ('second')`)
const BROKEN = migration(`${LOCK}; select 1 / 0`)

t.test(
  'a starter whose file says something else than the one that runs is refused, and runs nothing',
  async (t) => {
    const { first, second, ran, release, untilWaiting } = await setUp(t)
    const one = migrate(first, [OURS])
    await untilWaiting(1)
    const two = rejectsLike(t, migrate(second, [THEIRS]), {
      name: 'MigrationError',
      message:
        'Migration 000001-table was changed after it ran (as 000001-table); put the file back and write a new one',
    })
    await untilWaiting(2)
    await release()
    t.strictSame(await one, [OURS])
    await two
    t.strictSame(await ran(), ['first'])
  },
)

t.test('a starter with the same file waits for the one that runs it, and finds it done', async (t) => {
  const { first, second, ran, release, untilWaiting } = await setUp(t)
  const one = migrate(first, [OURS])
  await untilWaiting(1)
  const two = migrate(second, [OURS])
  await untilWaiting(2)
  await release()
  t.strictSame([await one, await two], [[OURS], []])
  t.strictSame(await ran(), ['first'])
})

t.test('a starter with another file runs that when the one before it has failed', async (t) => {
  const { first, second, ran, release, untilWaiting } = await setUp(t)
  const one = rejectsLike(t, migrate(first, [BROKEN]), { code: '22012' })
  await untilWaiting(1)
  const two = migrate(second, [THEIRS])
  await untilWaiting(2)
  await release()
  await one
  t.strictSame(await two, [THEIRS])
  t.strictSame(await ran(), ['second'])
})
