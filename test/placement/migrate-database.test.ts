import t from 'tap'
import { migrateSuite } from './own-migrate-suite.ts'
import { ownPlacement, prepared } from './own-support.ts'

migrateSuite(t, 'database')

t.test('a dry run of a tenant that has no database yet names all files', async (t) => {
  const { admin } = await prepared(t, 'database')
  const id = '5f0c8f8e-2f1b-4c55-9d59-0123456789ab'
  const placement = ownPlacement('database')
  t.strictSame(await placement.migrate(admin, id, { lockTimeoutMs: 0, dryRun: true }), ['000001-users'])
})
