import t from 'tap'
import { rejectsLike } from '../../support/like.ts'
import { type Attacker, openStage } from './stage.ts'

t.setTimeout(120_000)

// Of so few locks a session keeps 16 apart from the table that all share, as it does of more before PostgreSQL 18.
const house = await openStage(t, { maxConnections: 20, settings: { max_locks_per_transaction: 10 } })

/** Takes locks until the table has no room, and keeps them. */
const FILL = (key: number) => `
  do $$ begin
    for i in 1..10000000 loop perform pg_advisory_lock(${key}, i); end loop;
  exception when out_of_memory then null;
  end $$`

t.test('a table of locks that is full gets room by the session that was open before', async (t) => {
  const stage = house.inTest(t)
  const thieves = [await stage.login(), await stage.login(), await stage.login()]
  const neighbour = await stage.session(await stage.login())
  const sessions: Attacker[] = []
  for (const thief of thieves) sessions.push(await stage.session(thief), await stage.session(thief))
  const { blocked, errors, reasons, until, watch } = stage.watch(
    { lockPart: 1 / 8, blockingMs: 2_000 },
    { offences: { count: 2, withinMs: 600_000 } },
  )
  await watch.pass()

  for (const [index, session] of sessions.entries()) session.begin(FILL(index))
  const isFull = () =>
    neighbour.run('select count(pg_advisory_xact_lock(99, i)) from generate_series(1, 50) i').then(
      () => false,
      () => true,
    )
  while (!(await isFull()));
  await until(async () => !(await isFull()))
  t.strictSame(errors, [])
  t.ok(reasons().length > 0)
  t.ok(reasons().every(([pid, reason]) => reason === 'locks' && sessions.some((each) => each.pid === pid)))
  t.ok(await neighbour.isAlive())

  // Again and again, until none of the three may log in. Before PostgreSQL 18 there may be no room for a login either.
  const isBlocked = (thief: string) => blocked.some(({ login }) => login === thief)
  while (!thieves.every(isBlocked)) {
    // Not by a pool, which waits for room: one of the three has taken it.
    const openings = thieves.filter((each) => !isBlocked(each)).map((thief) => stage.squeezeIn(thief))
    for (const [index, session] of (await Promise.all(openings)).entries()) session?.begin(FILL(index))
    await watch.pass()
    await watch.settled()
  }
  await until(async () => !(await isFull()))
  for (const thief of thieves) await rejectsLike(t, stage.session(thief), { code: 'SERVER_UNAVAILABLE' })
})
