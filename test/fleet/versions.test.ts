import t from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { like } from '../support/like.ts'
import {
  appFolder,
  asTenant,
  migrate,
  NOTES,
  onboard,
  openFleetHouse,
  request,
  stage,
  withTenant,
} from './house.ts'

t.test('who is onboarded during a run by a node of the older version is migrated as well', async (t) => {
  const { appFiles, now, next, url } = await stage(t, {
    '000002-note.sql': 'alter table users add column note text',
  })
  const [first = ''] = await onboard(t, now, 'schema')
  const asked = request({ lockTimeoutMs: 100, attempts: 100 })
  let migrating: ReturnType<typeof migrate> | undefined
  const [late = ''] = await withTenant(now, first, (db) =>
    db.transaction(async (tx) => {
      await tx.query(sql`select count(*) from users`)
      const isUnderWay = Promise.withResolvers<void>()
      migrating = migrate(next, asked, { onEvent: ({ kind }) => kind === 'retry' && isUnderWay.resolve() })
      await isUnderWay.promise
      return onboard(t, now, 'schema')
    }),
  )
  const went = await migrating
  t.strictSame(went?.order, [first, late])
  like(t, went?.report, { state: 'finished', counts: { done: 2 } })
  const newer = await openFleetHouse(t, { url, appFiles, serves: true })
  const [made = ''] = await onboard(t, newer.lessor, 'schema')
  t.equal((await now.tenants.get(made)).schemaVersion, 2, 'a node of the newer version makes it at that')
  t.equal(await next.fleet.countBehind(), 0)
})

t.test('a node that starts says how many are behind, and what to do', async (t) => {
  const { appFiles, next, now, url } = await stage(t)
  await onboard(t, now, 'schema', 'schema')
  const node = await openFleetHouse(t, { url, appFiles, serves: true })
  const told = () => node.logged().filter(({ msg }) => /lessor migrate/.test(String(msg)))
  like(t, told(), [{ level: 40, tenants: 2, msg: 'tables of tenants are behind: run "lessor migrate"' }])
  await migrate(next)
  const later = await openFleetHouse(t, { url, appFiles, serves: true })
  t.strictSame(
    later.logged().filter(({ msg }) => /lessor migrate/.test(String(msg))),
    [],
  )
})

t.test('a node of the older version starts and onboards while the fleet is newer', async (t) => {
  const { next, now, url } = await stage(t)
  const [id = '', shared = ''] = await onboard(t, now, 'schema', 'role')
  await migrate(next)
  const older = await openFleetHouse(t, { url, serves: true })
  like(t, await asTenant(older.lessor, id, sql`select count(*)::integer as count from users`), [{ count: 0 }])
  like(t, await asTenant(older.lessor, shared, sql`select count(*)::integer as count from notes`), [
    { count: 0 },
  ])
  const [late = ''] = await onboard(t, older.lessor, 'schema')
  t.equal((await now.tenants.get(late)).schemaVersion, 1)
  t.strictSame((await migrate(older.lessor)).order, [], 'its own command has nothing to do')
  t.strictSame((await migrate(next)).order, [late])
})

t.test('a file that was changed after it ran is told from one that fails', async (t) => {
  const { now, next, url } = await stage(t)
  const [id = ''] = await onboard(t, now, 'schema')
  await migrate(next)
  const changed = await appFolder(t, {
    '000002-notes.sql': `${NOTES} -- changed`,
    '000003-more.sql': 'create view more as select 1',
  })
  const other = await openFleetHouse(t, { url, appFiles: changed })
  const { report } = await migrate(other.lessor)
  like(t, report, { reason: 'server', failures: [{ error: 'MIGRATION_MISMATCH' }] })
  t.equal((await now.tenants.get(id)).schemaVersion, 2)
})
