import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { ensureDatabase } from '../../src/placement/tenant-database.ts'
import { hexOf, ownerName, spaceName, userName } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { asOwner, leftOf, NOTHING, type OwnName, prepared, twoTenants } from './own-support.ts'
import { LIMITS, openAdmin, openSession, openTenant, provisionTenant } from './support.ts'

/** lifeSuite is what a tenant with tables of its own goes through in its placement, from provisioning to the end. */
export function lifeSuite(t: Test, name: OwnName): void {
  t.test(`${name}: a new tenant has tables of its own that work as the shared ones do`, async (t) => {
    const { url, admin, placement } = await prepared(t, name)
    const tenants = [await provisionTenant(t, placement, admin), await provisionTenant(t, placement, admin)]
    for (const tenant of tenants) {
      const db = await openTenant(t, url, placement, tenant)
      await t.resolves(placement.check(db, tenant.id))
      await db.query(sql`insert into users (first_name, last_name) values ('Ada', 'Lovelace')`)
      sameRows(t, await db.query(sql`select tenant_id, first_name from users`), [
        { tenant_id: tenant.id, first_name: 'Ada' },
      ])
      sameRows(
        t,
        await db.query(sql`
          select pg_get_userbyid(relowner) as owner, relrowsecurity as enabled, relforcerowsecurity as forced
          from pg_class where oid = 'users'::regclass`),
        [{ owner: ownerName(tenant.id), enabled: true, forced: true }],
      )
      await rejectsLike(
        t,
        db.query(
          sql`insert into users (tenant_id, first_name, last_name) values (gen_random_uuid(), 'a', 'b')`,
        ),
        { code: '42501' },
        'row level security stands beneath the grants',
      )
      sameRows(
        t,
        await db.query(sql`
          select has_table_privilege(${userName(tenant.id)}, 'users', 'truncate, references, trigger') as beyond`),
        [{ beyond: false }],
      )
    }
    t.equal(await placement.removeRows(), 0)
    like(t, placement, { name, hasOwnLogin: true, hasOwnTables: true })
  })

  t.test(`${name}: a login has its limits and settings, whatever program logs in`, async (t) => {
    const { url, admin, placement } = await prepared(t, name)
    const tenant = await provisionTenant(t, placement, admin)
    const { user, database, parameters } = placement.login(tenant.id, 'blue')
    const bare = new URL(url)
    bare.username = user
    bare.password = tenant.password.reveal()
    if (database !== undefined) bare.pathname = `/${database}`
    const db = await openSession(t, bare.href)
    sameRows(
      t,
      await db.query(sql`
        select current_setting('search_path') as search_path, current_setting('rls.tenant_id') as "rls.tenant_id",
          current_setting('statement_timeout') as timeout`),
      [{ ...parameters, timeout: '30s' }],
    )
    like(t, await admin.query(sql`select * from pg_roles where rolname = ${user}`), [
      { rolsuper: false, rolbypassrls: false, rolcreatedb: false, rolconnlimit: LIMITS.connectionLimit },
    ])
    like(t, await admin.query(sql`select rolpassword from pg_authid where rolname = ${user}`), [
      { rolpassword: /^SCRAM-SHA-256\$/ },
    ])
  })

  t.test(`${name}: provisioning again changes the password and nothing else`, async (t) => {
    const { url, admin, placement, own, db } = await twoTenants(t, name)
    const password = randomPassword()
    const request = { tenantId: own.id.toUpperCase(), colour: 'blue', limits: LIMITS } as const
    await placement.provision(admin, { ...request, verifier: scramVerifier(password) })
    await rejectsLike(t, openTenant(t, url, placement, own), { code: '28P01' })
    const again = await openTenant(t, url, placement, { ...own, password })
    sameRows(
      t,
      await again.query(sql`select first_name from users`),
      await db.query(sql`select first_name from users`),
    )
    await t.resolves(placement.check(again, own.id))
    await rejectsLike(t, placement.provision(admin, { ...request, verifier: 'plain' }), {
      message: /"verifier"/,
    })
    await rejectsLike(t, placement.provision(admin, { ...request, tenantId: 'x; --', verifier: '' }), {
      message: /"tenantId"/,
    })
  })

  t.test(
    `${name}: the two logins see the same, and what a withdrawn one owned goes to the other`,
    async (t) => {
      const { url, admin, placement, own, db } = await twoTenants(t, name)
      await asOwner(db, own.id, () => db.query(sql`create table notes (id int)`))
      await db.query(sql`select lo_from_bytea(4711, 'kept')`)
      const green = await provisionTenant(t, placement, admin, { id: own.id, colour: 'green' })
      const greenDb = await openTenant(t, url, placement, green)
      await t.resolves(placement.check(greenDb, own.id))
      await rejectsLike(t, greenDb.query(sql`select lo_get(4711)`), { code: '42501' })
      await placement.withdraw(admin, own.id, 'blue')
      await db.connection.lost
      await rejectsLike(t, openTenant(t, url, placement, own), { code: '28P01' })
      like(t, await greenDb.query(sql`select convert_from(lo_get(4711), 'utf8') as text`), [{ text: 'kept' }])
      t.equal((await greenDb.query(sql`select from users`)).length, 1)
      await asOwner(greenDb, own.id, () => greenDb.query(sql`alter table notes add column text text`))
      await t.resolves(placement.check(greenDb, own.id))
      await placement.withdraw(admin, own.id, 'blue')
    },
  )

  t.test(`${name}: unprovisioning leaves nothing, ends sessions, and can be repeated`, async (t) => {
    const { url, admin, placement, own, other, db } = await twoTenants(t, name)
    await provisionTenant(t, placement, admin, { id: own.id, colour: 'green' })
    await db.query(sql`select lo_from_bytea(4711, 'large')`)
    await asOwner(db, own.id, async () => {
      await db.query(sql`create table notes (id int)`)
      await db.query(sql`create view seen as select * from users`)
      await db.query(sql`create function one() returns int language sql security definer as 'select 1'`)
      await db.query(sql`create materialized view kept as select one() as one`)
      await db.query(sql`create type pair as (a int, b int)`)
      await db.query(sql`alter default privileges grant select on tables to public`)
    })
    await placement.unprovision(admin, own.id)
    await db.connection.lost
    t.strictSame(await leftOf(admin, own.id), NOTHING)
    await placement.unprovision(admin, own.id)
    await t.resolves(placement.check(await openTenant(t, url, placement, other), other.id))
  })

  t.test(`${name}: a tenant that is half made is finished, or taken back`, async (t) => {
    const { url, admin, placement } = await prepared(t, name)
    const halves: readonly ((id: string) => Promise<unknown>)[] = [
      (id) => admin.script(`create role ${ownerName(id)}`),
      (id) => admin.script(`create role ${userName(id)}; create role ${ownerName(id)}`),
      ...(name === 'schema'
        ? [
            (id: string) => admin.script(`create schema ${spaceName(id)}`),
            (id: string) =>
              admin.script(`create schema ${spaceName(id)}; create role tm_${hexOf(id)}_0000 login`),
          ]
        : [
            (id: string) => admin.script(`create database ${spaceName(id)} allow_connections false`),
            (id: string) => admin.script(`create database ${spaceName(id)}`),
            async (id: string) => {
              await admin.script(`create database ${spaceName(id)}`)
              // What is left of one that was being dropped.
              await admin.query(
                sql`update pg_database set datconnlimit = -2 where datname = ${spaceName(id)}`,
              )
            },
            async (id: string) => {
              await admin.script(`create role ${userName(id)}`)
              await ensureDatabase(admin, spaceName(id), userName(id))
            },
          ]),
    ]
    for (const [number, half] of halves.entries()) {
      const [finished, takenBack] = [randomUUID(), randomUUID()]
      await half(finished)
      const tenant = await provisionTenant(t, placement, admin, { id: finished })
      const db = await openTenant(t, url, placement, tenant)
      await t.resolves(placement.check(db, finished), `half ${number} is finished`)
      sameRows(t, await db.query(sql`select from users`), [])
      await half(takenBack)
      await placement.unprovision(admin, takenBack)
      t.strictSame(await leftOf(admin, takenBack), NOTHING, `half ${number} is taken back`)
    }
  })

  t.test(`${name}: what a tenant has left in another database does not keep its logins`, async (t) => {
    const { url, admin, placement, own } = await twoTenants(t, name)
    const elsewhere = new URL((await testDatabase(t)).url)
    const bare = new URL(url)
    bare.username = placement.login(own.id, 'blue').user
    bare.password = own.password.reveal()
    bare.pathname = elsewhere.pathname
    const db = await openSession(t, bare.href)
    await db.query(sql`select lo_from_bytea(4712, 'left')`)
    await placement.unprovision(admin, own.id)
    t.strictSame(await leftOf(admin, own.id), NOTHING)
    sameRows(t, await openAdmin(t, elsewhere.href).query(sql`select from pg_largeobject_metadata`), [])
  })

  t.test(`${name}: a tenant is dropped whatever its neighbour has granted it`, async (t) => {
    const { admin, placement, own, other, otherDb } = await twoTenants(t, name)
    const { user } = placement.login(own.id, 'blue')
    await asOwner(otherDb, other.id, async () => {
      for (const statement of [
        `grant select on users to ${user}`,
        `alter default privileges grant select on tables to ${user}, ${ownerName(own.id)}`,
        `create policy guests on users to ${user}, ${userName(own.id)} using (true)`,
      ]) {
        await otherDb.run(statement)
      }
    })
    await placement.unprovision(admin, own.id)
    t.strictSame(await leftOf(admin, own.id), NOTHING)
    t.equal((await otherDb.query(sql`select from users`)).length, 1)
  })
}
