import t from 'tap'
import { requireSafeVersion, unsafeVersion } from '../../src/placement/server-version.ts'
import { testDatabase } from '../support/database.ts'
import { openAdmin } from './support.ts'

t.test('a server with known ways around row security is refused', async (t) => {
  for (const version of [150013, 160009, 170005, 140099, 90624, 0]) {
    t.match(
      unsafeVersion(version),
      /tenants may share tables on 15\.14, 16\.10, 17\.6 or newer/,
      `${version}`,
    )
  }
  t.match(unsafeVersion(160009), /runs PostgreSQL 16\.9;/)
})

t.test('the oldest safe releases and everything newer are taken', async (t) => {
  for (const version of [150014, 150018, 160010, 170006, 180000, 180004, 190000]) {
    t.equal(unsafeVersion(version), undefined, `${version}`)
  }
  await requireSafeVersion(openAdmin(t, (await testDatabase(t)).url))
})
