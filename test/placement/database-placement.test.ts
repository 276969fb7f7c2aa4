import t from 'tap'
import { spaceName } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { sameRows } from '../support/like.ts'
import { lifeSuite } from './own-life-suite.ts'
import { leftOf, NOTHING, twoTenants } from './own-support.ts'
import { openAdmin, openTenant, ownPlacements, provisionTenant } from './support.ts'

lifeSuite(t, 'database')

t.test('many tenants are provisioned and dropped at once', async (t) => {
  const { url } = await testDatabase(t)
  const admins = Array.from({ length: 4 }, () => openAdmin(t, url))
  const [admin] = admins
  if (admin === undefined) throw new Error('bug: no administrator')
  await Promise.all(admins.flatMap((each) => ownPlacements().map((placement) => placement.prepare(each))))
  const tenants = await Promise.all(
    admins.flatMap((each) =>
      ownPlacements().map(async (placement) => ({
        placement,
        tenant: await provisionTenant(t, placement, each),
      })),
    ),
  )
  for (const { placement, tenant } of tenants) {
    await placement.check(await openTenant(t, url, placement, tenant), tenant.id)
  }
  await Promise.all(tenants.map(({ placement, tenant }) => placement.unprovision(admin, tenant.id)))
  for (const { tenant } of tenants) t.strictSame(await leftOf(admin, tenant.id), NOTHING)
})

t.test("a tenant's database has the encoding and locale of the server's own", async (t) => {
  const { admin, own } = await twoTenants(t, 'database')
  const locale = sql`encoding, datcollate, datctype, datlocprovider`
  sameRows(
    t,
    await admin.query(sql`select ${locale} from pg_database where datname = ${spaceName(own.id)}`),
    await admin.query(sql`select ${locale} from pg_database where datname = current_database()`),
  )
})
