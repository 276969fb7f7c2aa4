import t from 'tap'
import { LessorError } from '../../src/errors.ts'
import type { FleetEvent } from '../../src/fleet/fleet.ts'
import { FleetBusyError } from '../../src/fleet/run-claim.ts'
import { sql } from '../../src/pool/statement.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { asTenant, hasTable, lines, migrate, NOTES, onboard, request, stage, withTenant } from './house.ts'

t.test(
  'a long transaction of a tenant makes the attempt give up and come again, while its requests go on',
  async (t) => {
    const { now, next } = await stage(t, { '000002-note.sql': 'alter table users add column note text' })
    const [id = ''] = await onboard(t, now, 'schema')
    await asTenant(now, id, sql`insert into users (first_name, last_name) values ('Ada', 'Lovelace')`)
    const reading = Promise.withResolvers<void>()
    const enough = Promise.withResolvers<void>()
    const report = withTenant(now, id, (db) =>
      db.transaction(async (tx) => {
        await tx.query(sql`select count(*) from users`)
        reading.resolve()
        await enough.promise
        return tx.query(sql`select count(*)::integer as count from users`)
      }),
    )
    await reading.promise
    const retries: string[] = []
    let requests = 0
    const migrating = migrate(next, request({ lockTimeoutMs: 200, attempts: 100 }), {
      onEvent(event) {
        if (event.kind === 'retry') retries.push(event.error)
        if (retries.length === 2) enough.resolve()
      },
    })
    const isOver = migrating.then(() => true)
    while (
      !(await Promise.race([isOver, asTenant(now, id, sql`select first_name from users`).then(() => false)]))
    ) {
      requests++
    }
    sameRows(t, await report, [{ count: 1 }], 'the long transaction was not hurt')
    like(t, (await migrating).report, { state: 'finished', counts: { done: 1 } })
    t.ok(retries.length >= 2)
    t.ok(retries.every((error) => error === '55P03'))
    t.ok(requests >= 2, 'requests went through in between')
    like(t, await asTenant(now, id, sql`select note from users`), [{ note: null }])
    const [row] = await next.control.query(sql`select attempts, error from lessor.fleet_tenants`)
    like(t, row, { attempts: retries.length + 1, error: null })
  },
)

t.test('a lock on shared tables is not waited for any longer, and stops the run', async (t) => {
  const { now, next } = await stage(t, { '000002-note.sql': 'alter table users add column note text' })
  const [shared = '', own = ''] = await onboard(t, now, 'role', 'schema')
  const asked = request({ lockTimeoutMs: 100, attempts: 2 })
  const stopped = await withTenant(now, shared, (db) =>
    db.transaction(async (tx) => {
      await tx.query(sql`select count(*) from users`)
      return migrate(next, asked)
    }),
  )
  t.strictSame(lines(stopped.events), ['begin 1', 'server failed ', 'stopping server'])
  like(t, stopped.report, {
    state: 'stopped',
    reason: 'server',
    counts: { pending: 1 },
    failures: [{ id: 'default', error: '55P03', attempts: 2 }],
  })
  t.equal((await now.tenants.get(own)).schemaVersion, 1)
  like(t, (await migrate(next, asked)).report, { state: 'finished', counts: { done: 1 } })
})

t.test(
  'a session that is ended in the middle of a file leaves nothing, and the file is run again',
  async (t) => {
    const { now, next } = await stage(t, { '000002-notes.sql': `${NOTES} select pg_sleep(0.5);` })
    const [id = ''] = await onboard(t, now, 'schema')
    const retries: string[] = []
    const migrating = migrate(next, request(), {
      onEvent: (event) => event.kind === 'retry' && retries.push(event.error),
    })
    const admin = await now.servers.admin('default')
    const end = () =>
      admin.query(sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where starts_with(usename, ${`tm_${id.replaceAll('-', '')}`}) and query like '%pg_sleep%'`)
    while ((await end()).length === 0) await new Promise(setImmediate)
    like(t, (await migrating).report, { state: 'finished', counts: { done: 1 } })
    t.equal(retries.length, 1)
    t.match(retries[0], /^(57P01|08...|SERVER_UNAVAILABLE)$/)
    t.equal(await hasTable(now, id, 'notes'), true)
  },
)

t.test('two at once: the second one is refused', async (t) => {
  const { now, next } = await stage(t)
  await onboard(t, now, 'schema')
  let second: Promise<unknown> | undefined
  const { report } = await migrate(next, request(), {
    onEvent(event) {
      if (event.kind === 'begin') second = migrate(next).catch((error: unknown) => error)
    },
  })
  t.type(await second, FleetBusyError)
  like(t, report, { state: 'finished' })
})

t.test('a run whose claim another process has taken begins nobody new', async (t) => {
  const { now, next } = await stage(t, { '000002-note.sql': 'alter table users add column note text' })
  const [, first = ''] = await onboard(t, now, 'schema', 'schema')
  let migrating: ReturnType<typeof migrate> | undefined
  await withTenant(now, first, (db) =>
    db.transaction(async (tx) => {
      await tx.query(sql`select count(*) from users`)
      const isUnderWay = Promise.withResolvers<void>()
      const onEvent = ({ kind }: FleetEvent) => kind === 'retry' && isUnderWay.resolve()
      migrating = migrate(next, request({ lockTimeoutMs: 100, attempts: 100 }), { onEvent })
      await isUnderWay.promise
      await next.control.query(sql`update lessor.fleet_runs set claimed_by = gen_random_uuid()`)
    }),
  )
  const went = await migrating
  t.strictSame(went?.order, [first])
  like(t, went?.report, { state: 'stopped', reason: 'taken over', counts: { done: 0, pending: 2 } })
  t.equal((await now.tenants.get(first)).schemaVersion, 2, 'what happened is known all the same')
})

t.test('when the control database is away the run ends, and the next one finds what was done', async (t) => {
  const { now, next } = await stage(t)
  const ids = await onboard(t, now, 'schema', 'schema', 'schema')
  let isAway = false
  const { query } = next.control
  next.control.query = async (statement) => {
    if (isAway && statement.strings.some((part) => part.includes('update lessor.fleet_tenants f'))) {
      throw new LessorError('CONTROL_UNAVAILABLE')
    }
    return query.call(next.control, statement) as never
  }
  const asked = request({ concurrency: 2 })
  const onEvent = ({ kind }: FleetEvent) => {
    if (kind === 'tenant') isAway = true
  }
  await rejectsLike(t, migrate(next, asked, { onEvent }), { code: 'CONTROL_UNAVAILABLE' })
  isAway = false
  const { order, report } = await migrate(next, asked)
  like(t, report, { state: 'finished', counts: { done: 3, failed: 0 } })
  t.strictSame([...order].sort(), ids.slice(0, 2).sort(), 'the two that were under way had their turn again')
})
