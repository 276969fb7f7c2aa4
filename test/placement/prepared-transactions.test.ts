import t from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { sql } from '../../src/pool/statement.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { OwnServer } from '../faults/own-server.ts'
import { leftOf } from './own-support.ts'
import { openAdmin, openTenant, ownPlacements, provisionTenant, rolePlacement } from './support.ts'

// A server of this file's own, which lets transactions be prepared.

const server = await OwnServer.start(t)
const setUp = new ServerAdmin({ address: parseDatabaseUrl(server.url) })
for (const each of [rolePlacement(), ...ownPlacements()]) await each.prepare(setUp)
await setUp.script('alter system set max_prepared_transactions = 4')
await setUp.close()
await server.stop()
await server.startAgain()

for (const placement of [rolePlacement(), ...ownPlacements()]) {
  t.test(`${placement.name}: what a tenant has prepared is rolled back when it is removed`, async (t) => {
    const admin = openAdmin(t, server.url)
    const tenant = await provisionTenant(t, placement, admin)
    const db = await openTenant(t, server.url, placement, tenant)
    await db.connection.command('begin').result
    await db.run("insert into users (first_name, last_name) values ('Ada', 'Lovelace')")
    // The engine gives up a connection whose transaction has ended behind its back; the server has prepared it.
    await t.rejects(db.run("prepare transaction 'left'"), /use db.transaction/)
    t.equal((await admin.query(sql`select from pg_prepared_xacts`)).length, 1)
    await placement.unprovision(admin, tenant.id)
    t.equal((await admin.query(sql`select from pg_prepared_xacts`)).length, 0)
    const left = await leftOf(admin, tenant.id)
    t.strictSame([left?.roles, left?.schemas, left?.databases], [0, 0, 0])
  })
}
