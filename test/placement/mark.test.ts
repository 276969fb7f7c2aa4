import { randomBytes, randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { errorCode } from '../../src/pool/driver-errors.ts'
import { sql } from '../../src/pool/statement.ts'
import { writeMark } from '../../src/servers/database-mark.ts'
import { testDatabase } from '../support/database.ts'
import { asOwner } from './own-support.ts'
import {
  type ConnectionDb,
  LIMITS,
  openAdmin,
  openSession,
  openTenant,
  ownPlacements,
  provisionTenant,
  rolePlacement,
  rowPlacement,
} from './support.ts'

// By its mark a data server's database is known again, so no tenant may read it, change it or make one.

const FORGED = randomUUID()
const ATTEMPTS = [
  'select from lessor.database_mark',
  `insert into lessor.database_mark (id, installation) values ('${FORGED}', '${FORGED}')`,
  `update lessor.database_mark set id = '${FORGED}'`,
  'delete from lessor.database_mark',
  'truncate lessor.database_mark',
  'copy lessor.database_mark to stdout',
  'alter table lessor.database_mark rename to gone',
  'alter table lessor.database_mark owner to current_user',
  'drop table lessor.database_mark',
  'create table lessor.stolen (id uuid)',
  'create view lessor.stolen as select 1',
  'grant select on lessor.database_mark to current_user',
]

/** COPY is refused by Lessor itself before it is sent. */
const REFUSED = new Set(['42501', '0A000'])

async function assertAllRefused(t: Test, who: string, db: ConnectionDb): Promise<void> {
  const done: string[] = []
  for (const attempt of ATTEMPTS) {
    try {
      await db.run(attempt)
      done.push(attempt)
    } catch (error) {
      if (!REFUSED.has(errorCode(error) ?? '')) done.push(`${attempt}: ${String(error)}`)
    }
  }
  t.strictSame(done, [], who)
}

t.test('no login of a tenant may read, change or forge the mark', async (t) => {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const [role, row] = [rolePlacement(), rowPlacement()]
  for (const each of [role, row, ...ownPlacements()]) await each.prepare(admin)
  const mark = { id: randomUUID(), installation: randomUUID() }
  t.strictSame(await writeMark(admin, mark), mark)

  for (const placement of [role, ...ownPlacements()]) {
    const tenant = await provisionTenant(t, placement, admin)
    const db = await openTenant(t, url, placement, tenant)
    await assertAllRefused(t, placement.name, db)
    if (placement.name === 'role') continue
    await asOwner(db, tenant.id, () => assertAllRefused(t, `${placement.name}, its owner role`, db))
  }

  const [login, password] = [`lessor_row_${randomBytes(6).toString('hex')}`, randomPassword()]
  t.teardown(() => admin.script(`drop owned by ${login}; drop role ${login}`))
  await row.provisionRuntime(admin, { role: login, verifier: scramVerifier(password), limits: LIMITS })
  const withLogin = new URL(url)
  withLogin.username = login
  withLogin.password = password.reveal()
  const db = await openSession(t, withLogin.href, { 'rls.tenant_id': randomUUID() })
  await assertAllRefused(t, 'row', db)

  t.strictSame([...(await admin.query(sql`select id, installation from lessor.database_mark`))], [mark])
  t.strictSame(await writeMark(admin, { id: FORGED, installation: FORGED }), mark, 'the first one counts')
})
