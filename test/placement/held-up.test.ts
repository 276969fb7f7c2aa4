import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import type { Placement } from '../../src/placement/placement.ts'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { hexOf, ownerName } from '../../src/placement/tenant-names.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { testDatabase } from '../support/database.ts'
import {
  type ConnectionDb,
  LIMITS,
  openAdmin,
  openTenant,
  ownPlacements,
  type ProvisionedTenant,
  provisionTenant,
  rolePlacement,
} from './support.ts'

// What open transactions of tenants hold is in no one's way who closes, drops or makes logins.

/** How long an administrator's statement would wait, so that a hold-up shows soon. */
const PATIENCE = { lockTimeoutMs: 5_000, statementTimeoutMs: 10_000 }

async function house(t: Test, placement: Placement) {
  const { url } = await testDatabase(t)
  const setUp = openAdmin(t, url)
  for (const each of [rolePlacement(), ...ownPlacements()]) await each.prepare(setUp)
  const admin = new ServerAdmin({ address: parseDatabaseUrl(url), ...PATIENCE })
  t.teardown(() => admin.close())
  const tenant = async () => {
    const made = await provisionTenant(t, placement, setUp)
    return { ...made, open: () => endless(t, url, placement, made) }
  }
  return { url, admin, own: await tenant(), other: await tenant(), third: await tenant() }
}

/** A session that has lifted what bounds it. */
async function endless(t: Test, url: string, placement: Placement, tenant: ProvisionedTenant) {
  const db = await openTenant(t, url, placement, tenant)
  await db.run(
    `select set_config(name, '0', false)
     from unnest(array['statement_timeout', 'idle_in_transaction_session_timeout', 'lock_timeout']) name`,
  )
  return db
}

/** Leaves a transaction open in which the statements have run. */
async function leaveOpen(db: ConnectionDb, statements: readonly string[]): Promise<void> {
  await db.connection.command('begin').result
  for (const statement of statements) await db.run(statement)
}

const CHANGES_OF_OWN_ROLE = [
  [`alter role current_user set work_mem = '1MB'`],
  [`alter role current_user password 'own'`],
  ['alter role current_user set rls.tenant_id to default', 'select lo_create(0)'],
]

for (const placement of [rolePlacement(), ...ownPlacements()]) {
  const { name } = placement

  t.test(`${name}: a tenant's open transactions hold up neither a withdrawal nor its end`, async (t) => {
    const { admin, own, third } = await house(t, placement)
    const green = scramVerifier(randomPassword())
    await placement.provision(admin, { tenantId: own.id, colour: 'green', verifier: green, limits: LIMITS })
    const sessions: ConnectionDb[] = []
    for (const statements of CHANGES_OF_OWN_ROLE) {
      const db = await own.open()
      sessions.push(db)
      // The second waits for the first; whether it does so is of no matter here.
      void leaveOpen(db, statements).catch(() => {})
    }
    const bystander = await third.open()
    await placement.withdraw(admin, own.id, 'blue')
    for (const db of sessions) await db.connection.lost
    await placement.unprovision(admin, own.id)
    await placement.unprovision(admin, own.id)
    t.strictSame([...(await bystander.run('select 1 as alive'))], [{ alive: 1 }])
  })
}

for (const placement of ownPlacements().filter(({ name }) => name === 'schema')) {
  const namings = (victim: string) => [
    [`alter default privileges grant select on tables to ${victim}`],
    ['create table lent (id integer)', `grant select on lent to ${victim}`],
    [
      'create table guarded (id integer)',
      'alter table guarded enable row level security',
      `create policy p on guarded to ${victim} using (true)`,
    ],
  ]

  for (const [number, kind] of ['default privileges', 'a grant', 'a policy'].entries()) {
    t.test(
      `another tenant's open transaction with ${kind} for it holds up nothing of a tenant's`,
      async (t) => {
        const { admin, own, other, third } = await house(t, placement)
        const hold = async (victim: string) => {
          const db = await other.open()
          await db.run(`set role ${ownerName(other.id)}`)
          await leaveOpen(db, namings(victim)[number] ?? [])
          return db
        }
        const verifier = scramVerifier(randomPassword())
        const bystander = await third.open()
        const green = { tenantId: own.id, colour: 'green', verifier, limits: LIMITS } as const
        let held = await hold(placement.login(own.id, 'blue').user)
        await placement.provision(admin, green)
        await placement.provision(admin, { ...green, colour: 'blue' })
        await placement.withdraw(admin, own.id, 'blue')
        await held.connection.lost
        held = await hold(placement.login(own.id, 'green').user)
        await placement.unprovision(admin, own.id)
        await held.connection.lost
        held = await hold(`tu_${hexOf(third.id)}, lessor_tenant, lessor_schema, lessor_ddl`)
        const tenantId = randomUUID()
        t.teardown(() => placement.unprovision(admin, tenantId))
        await placement.provision(admin, { tenantId, colour: 'blue', verifier, limits: LIMITS })
        t.strictSame([...(await bystander.run('select 1 as alive'))], [{ alive: 1 }])
      },
    )
  }
}

t.test('rows are removed though a tenant has locked the table', async (t) => {
  const placement = rolePlacement()
  const { admin, own, other } = await house(t, placement)
  const [db, holder] = [await own.open(), await other.open()]
  await db.run(`insert into users (first_name, last_name) values ('Ada', 'Lovelace')`)
  await leaveOpen(holder, ['lock table users in exclusive mode'])
  t.equal(await placement.removeRows(admin, own.id), 1)
  await holder.connection.lost
})

t.test('a session that was let in just before its login was closed is ended as well', async (t) => {
  const placement = rolePlacement()
  const { admin, own, url } = await house(t, placement)
  const opened = Promise.allSettled(Array.from({ length: 10 }, () => openTenant(t, url, placement, own)))
  await placement.withdraw(admin, own.id, 'blue')
  for (const each of await opened) {
    if (each.status === 'fulfilled') await each.value.connection.lost
  }
  t.pass('none of them is left')
})
