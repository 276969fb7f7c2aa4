import t from 'tap'
import type { FleetEvent } from '../../src/fleet/fleet.ts'
import { sql } from '../../src/pool/statement.ts'
import { like } from '../support/like.ts'
import { hasTable, lines, migrate, obstruct, onboard, request, stage, withTenant } from './house.ts'

t.test('a canary that fails stops the run before anybody else is touched', async (t) => {
  const { now, next } = await stage(t)
  const ids = await onboard(t, now, 'schema', 'schema', 'schema')
  const [canary = '', second = '', third = ''] = ids
  const clear = await obstruct(now, canary)
  const asked = request({ canaries: [canary] })
  const stopped = await migrate(next, asked)
  like(t, stopped.report, {
    state: 'stopped',
    reason: 'canary',
    counts: { done: 0, failed: 1, pending: 2 },
    failures: [{ id: canary, error: '42P07', attempts: 1 }],
  })
  t.strictSame(stopped.order, [canary])
  t.equal(await hasTable(now, second, 'notes'), false)
  t.equal(await hasTable(now, third, 'notes'), false)
  await clear()
  const resumed = await migrate(next, asked)
  t.strictSame(lines(resumed.events).slice(0, 4), [
    'begin 3 resumed',
    'server done ',
    'canaries 1',
    'schema done 000002-notes',
  ])
  t.equal(resumed.report.runId, stopped.report.runId)
  like(t, resumed.report, { state: 'finished', counts: { done: 3, failed: 0, pending: 0 } })
})

t.test(
  'one failure more than may be begins nobody new, and the next go tries the failed ones again',
  async (t) => {
    const { now, next } = await stage(t)
    const ids = await onboard(t, now, 'schema', 'schema', 'schema', 'schema', 'schema')
    // In the order of the run: the newest is the canary, then two who fail, then two who are left.
    const [fifth = '', fourth = '', third = '', second = ''] = ids
    const clear = [await obstruct(now, second), await obstruct(now, third)]
    const asked = request({ maxFailures: { kind: 'count', count: 1 }, concurrency: 1 })
    const stopped = await migrate(next, asked)
    like(t, stopped.report, {
      state: 'stopped',
      reason: 'failures',
      counts: { done: 1, failed: 2, pending: 2 },
    })
    t.equal(await hasTable(now, fourth, 'notes'), false)
    await clear[0]?.()
    const incomplete = await migrate(next, asked)
    like(t, incomplete.report, {
      runId: stopped.report.runId,
      state: 'stopped',
      reason: 'incomplete',
      counts: { done: 4, failed: 1, pending: 0 },
      failures: [{ id: third, error: '42P07', attempts: 2 }],
    })
    t.strictSame(incomplete.order, [second, third, fourth, fifth])
    await clear[1]?.()
    like(t, (await migrate(next, asked)).report, { state: 'finished', counts: { done: 5 } })
  },
)

t.test(
  'asked to stop it ends what is under way, and goes on later; who was deleted meanwhile is skipped',
  async (t) => {
    const { now, next } = await stage(t)
    const ids = await onboard(t, now, 'schema', 'schema', 'schema', 'schema')
    const [fourth = '', third = '', second = '', first = ''] = ids
    const stop = new AbortController()
    const stopped = await migrate(next, request({ waveSize: 2, concurrency: 2 }), {
      signal: stop.signal,
      onEvent(event) {
        if (event.kind === 'tenant' && !event.canary) stop.abort()
      },
    })
    like(t, stopped.report, {
      state: 'stopped',
      reason: 'interrupted',
      counts: { done: 3, failed: 0, pending: 1 },
      failures: [],
    })
    t.strictSame([stopped.order[0], ...stopped.order.slice(1).sort()], [first, ...[second, third].sort()])
    await now.tenants.delete(fourth)
    while ((await now.tenants.get(fourth)).status !== 'deleted') await new Promise(setImmediate)
    const resumed = await migrate(next, request({ waveSize: 2, concurrency: 2 }))
    t.strictSame(resumed.order, [fourth])
    like(t, resumed.events.at(-1), { kind: 'tenant', outcome: { state: 'skipped', attempts: 0 } })
    like(t, resumed.report, { state: 'finished', counts: { done: 3, skipped: 1 } })
  },
)

t.test('who is being deleted when the turn fails is skipped as well', async (t) => {
  const { now, next } = await stage(t, { '000002-note.sql': 'alter table users add column note text' })
  const [id = ''] = await onboard(t, now, 'schema')
  const { order, report } = await withTenant(now, id, (db) =>
    db.transaction(async (tx) => {
      await tx.query(sql`select count(*) from users`)
      const isUnderWay = Promise.withResolvers<void>()
      const onEvent = ({ kind }: FleetEvent) => kind === 'retry' && isUnderWay.resolve()
      const migrating = migrate(next, request({ lockTimeoutMs: 100, attempts: 2 }), { onEvent })
      await isUnderWay.promise
      await now.control.query(sql`update lessor.tenants set status = 'deleting' where id = ${id}`)
      return migrating
    }),
  )
  t.strictSame(order, [id])
  like(t, report, { state: 'finished', counts: { skipped: 1, failed: 0 } })
})
