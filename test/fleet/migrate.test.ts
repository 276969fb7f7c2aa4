import t from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { asTenant, hasTable, lines, migrate, NOTES, onboard, request, stage } from './house.ts'

t.test('shared tables come first, then the newest tenant, then the others in waves that grow', async (t) => {
  const { now, next } = await stage(t)
  const ids = await onboard(t, now, 'schema', 'role', 'database', 'schema', 'schema')
  const [oldest = '', shared = '', own = '', , newest = ''] = ids
  t.equal((await now.tenants.get(oldest)).schemaVersion, 1, 'onboarding notes the version that it made')
  t.equal((await now.tenants.get(shared)).schemaVersion, null)
  t.equal(await next.fleet.countBehind(), 4)
  const { events, order, report } = await migrate(next, request({ waveSize: 1, serverConcurrency: 1 }))
  t.strictSame(lines(events), [
    'begin 4',
    'server done 000002-notes',
    'canaries 1',
    'schema done 000002-notes',
    'wave 1 of 1',
    'schema done 000002-notes',
    'wave 2 of 2',
    'database done 000002-notes',
    'schema done 000002-notes',
  ])
  t.equal(order[0], newest)
  like(t, report, {
    state: 'finished',
    reason: null,
    target: 2,
    counts: { done: 4, failed: 0, pending: 0, skipped: 0 },
    failures: [],
  })
  for (const id of ids) t.equal(await hasTable(now, id, 'notes'), true)
  for (const id of ids.filter((each) => each !== shared)) {
    t.equal((await now.tenants.get(id)).schemaVersion, 2)
  }
  await asTenant(now, own, sql`insert into notes (text) values ('mine')`)
  sameRows(t, await asTenant(now, oldest, sql`select text from notes`), [])
  t.equal(await next.fleet.countBehind(), 0)
  const again = await migrate(next)
  t.strictSame(lines(again.events), ['begin 0', 'server done '])
  like(t, again.report, { state: 'finished', counts: { done: 0 } })
})

t.test('a dry run tells for each what would run, and changes nothing', async (t) => {
  const { now, next } = await stage(t, {
    '000002-notes.sql': NOTES,
    '000003-more.sql': 'create view more as select 1',
  })
  const ids = await onboard(t, now, 'schema', 'role', 'database')
  const previews: unknown[] = []
  await next.fleet.preview(
    request({ concurrency: 1 }),
    ({ error, tenant, wouldRun }) => previews.push([tenant?.id, wouldRun, error]),
    new AbortController().signal,
  )
  const files = ['000002-notes', '000003-more']
  t.strictSame(previews, [
    [undefined, files, null],
    [ids[2], files, null],
    [ids[0], files, null],
  ])
  for (const id of ids) t.equal(await hasTable(now, id, 'notes'), false)
  t.equal(await next.fleet.countBehind(), 2)
  sameRows(t, await next.control.query(sql`select from lessor.fleet_runs`), [], 'there is no run of it')
})

t.test('filters say whom a run is for', async (t) => {
  const { now, next } = await stage(t)
  const [first = '', second = '', third = ''] = await onboard(t, now, 'schema', 'database', 'schema')
  const only = async (filter: object) =>
    migrate(next, { ...request(), filter: { ...request().filter, ...filter } })
  t.strictSame((await only({ tenants: [third] })).order, [third])
  t.strictSame((await only({ placements: ['database'], servers: ['default'] })).order, [second])
  t.strictSame((await only({})).order, [first])
  await rejectsLike(t, only({ servers: ['nowhere'] }), { code: 'SERVER_NOT_FOUND' })
})

t.test('a tenant is found by its id, or by a name that only it has', async (t) => {
  const { now, next } = await stage(t)
  const [own = '', shared = ''] = await onboard(t, now, 'schema', 'role')
  const { name } = await now.tenants.get(own)
  like(t, await next.fleet.find(own), { id: own, placement: 'schema' })
  like(t, await next.fleet.find(` ${name.toUpperCase()} `), { id: own })
  await rejectsLike(t, next.fleet.find(shared), { code: 'INVALID_REQUEST', message: /placement role/ })
  await rejectsLike(t, next.fleet.find('nobody'), { code: 'TENANT_NOT_FOUND' })
  await now.namespaces.create('second')
  const twin = await now.tenants.onboard({ name, namespace: 'second' })
  await rejectsLike(t, next.fleet.find(name), {
    code: 'INVALID_REQUEST',
    message: new RegExp(`${twin.tenant.id} in second`),
  })
})
