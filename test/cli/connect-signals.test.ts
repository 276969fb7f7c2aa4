import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { type Statement, sql } from '../../src/pool/statement.ts'
import { sameRows } from '../support/like.ts'
import { openConnect, standIn, visitorsOf } from './connect-support.ts'

const { app, databaseUrl, start } = await openConnect(t)
// It looks for logins whose time is over as well.
await app.close()
const control = new ControlDatabase({ url: databaseUrl })
t.teardown(() => control.close())
const visitors = () => visitorsOf(control)

t.test('SIGTERM ends psql, SIGINT does not, and the login is dropped in any case', async (t) => {
  const { child, output, ended } = start(
    standIn(t, `trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done`),
    'small',
  )
  while (!output.stdout.includes('ready')) await Promise.race([once(child.stdout, 'data'), ended])
  t.equal((await visitors()).length, 1)
  child.kill('SIGINT')
  child.kill('SIGTERM')
  t.equal((await ended).status, 7)
  sameRows(t, await visitors(), [])
})

/** Resolves when a session of this database waits for a lock of this table. */
async function untilWaits(table: 'lessor.visits' | 'pg_authid'): Promise<void> {
  const waiting = sql`
    select from pg_locks l join pg_stat_activity a using (pid)
    where not l.granted and l.relation = ${table}::regclass and a.datname = current_database()`
  while ((await control.query(waiting)).length === 0) await sleep(5)
}

/** Runs `work` while a transaction holds what the statement locks. */
function holding<T>(lock: Statement, work: () => Promise<T>): Promise<T> {
  return control.transaction(async (tx) => {
    await tx.query(lock)
    return work()
  })
}

/** Starts the command, and signals twice while it looks for logins whose time is over, or makes the login. */
async function interrupt(path: string, moment: 'before' | 'while it is made', signal: NodeJS.Signals) {
  const visits = sql`lock table lessor.visits in access exclusive mode`
  const kill = async (child: ReturnType<typeof start>['child']) => {
    child.kill(signal)
    await sleep(100)
    child.kill(signal)
  }
  if (moment === 'before') {
    return holding(visits, async () => {
      const { child, ended } = start(path, 'small')
      await untilWaits('lessor.visits')
      await kill(child)
      return { ended }
    })
  }
  // All databases of the server share pg_authid, so it is held for a moment only.
  let locked: Promise<{ ended: ReturnType<typeof start>['ended'] }> | undefined
  await holding(visits, async () => {
    const { child, ended } = start(path, 'small')
    await untilWaits('lessor.visits')
    const held = Promise.withResolvers<void>()
    locked = holding(sql`lock table pg_authid in share mode`, async () => {
      held.resolve()
      await untilWaits('pg_authid')
      await kill(child)
      return { ended }
    })
    await Promise.race([held.promise, locked])
  })
  if (locked === undefined) throw new Error('bug: nothing was held')
  return locked
}

for (const [moment, signal, status] of [
  ['before', 'SIGTERM', 143],
  ['while it is made', 'SIGINT', 130],
  ['while it is made', 'SIGHUP', 129],
] as const) {
  t.test(`${signal} ${moment === 'before' ? 'before the login' : moment}: no psql, no login`, async (t) => {
    const { ended } = await interrupt(standIn(t, 'echo ready'), moment, signal)
    const { stdout, stderr, ...end } = await ended
    t.equal(end.status, status)
    t.equal(stdout, '')
    t.match(stderr, /^lessor connect: interrupted$/m)
    sameRows(t, await visitors(), [])
  })
}
