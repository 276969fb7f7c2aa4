import { randomUUID } from 'node:crypto'
import t from 'tap'
import { migrate, readMigrations } from '../../src/control/migrate.ts'
import { checkCatalog } from '../../src/isolation/check-catalog.ts'
import { hexOf, ownerName, spaceName, userName } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { asOwner, inOwn, OWN_NAMES, twoTenants } from './own-support.ts'
import {
  type ConnectionDb,
  openSession,
  openTenant,
  ownPlacements,
  type ProvisionedTenant,
  provisionTenant,
  rolePlacement,
} from './support.ts'

// What docs/architecture.md promises of the placements whose tenants may make tables of their own, tried by the statements
// of a tenant that has got hold of its own login and of its owner role.

/** What PostgreSQL answers to whom it does not let in; 0LP01 and 42P01 when it does not even look. */
const REFUSED = { code: /^(42501|42P01|3F000|0LP01|42704|2BP01)$/ }

/** Before PostgreSQL 16 a login that may become a role has that role's privileges already. */
async function isModern(db: ConnectionDb): Promise<boolean> {
  const [server] = await db.query<{ modern: boolean }>(
    sql`select current_setting('server_version_num')::integer >= 160000 as modern`,
  )
  return server?.modern === true
}

/** Where a tenant's table is for somebody who names it in full. */
function fullName(name: string, tenant: ProvisionedTenant): string {
  return name === 'schema' ? `${spaceName(tenant.id)}.users` : 'app.users'
}

for (const name of OWN_NAMES) {
  t.test(`${name}: a tenant reaches no other tenant's tables, schema, roles or database`, async (t) => {
    const { url, admin, own, other, db } = await twoTenants(t, name)
    const shared = rolePlacement()
    await shared.prepare(admin)
    const guest = await provisionTenant(t, shared, admin)
    const others = [`tb_${hexOf(other.id)}`, ownerName(other.id), userName(other.id), `tb_${hexOf(guest.id)}`]
    for (const role of [
      ...others,
      'lessor_owner',
      'lessor_keeper',
      // Since PostgreSQL 16 a member can be kept from becoming its group; before, these groups see nothing.
      ...((await isModern(db)) ? ['lessor_ddl', 'lessor_schema'] : []),
      'postgres',
    ]) {
      await rejectsLike(t, db.run(`set role ${role}`), REFUSED, `set role ${role}`)
      await rejectsLike(t, db.run(`set session authorization ${role}`), REFUSED)
      await asOwner(db, own.id, () =>
        rejectsLike(t, db.run(`grant ${role} to ${ownerName(own.id)}`), REFUSED),
      )
    }
    for (const statement of [
      `select * from ${spaceName(other.id)}.users`,
      `select * from lessor.schema_migrations`,
      `select * from lessor.app_migrations`,
      `create table ${spaceName(other.id)}.mine (id int)`,
      ...(name === 'schema' ? ['select * from app.users', 'insert into app.users default values'] : []),
    ]) {
      await rejectsLike(t, db.run(statement), REFUSED, statement)
      await asOwner(db, own.id, () => rejectsLike(t, db.run(statement), REFUSED, `as owner: ${statement}`))
    }

    const databases = ['postgres', 'template1', new URL(url).pathname.slice(1)]
    sameRows(
      t,
      await admin.query(sql`
        select datname from pg_database
        where datname ~ '^t_[0-9a-f]{32}$' and datname <> ${spaceName(own.id)}
          and (has_database_privilege(${`tb_${hexOf(own.id)}`}, oid, 'connect, create, temporary')
            or has_database_privilege(${ownerName(own.id)}, oid, 'connect, create, temporary'))`),
      [],
    )
    const asTenant = new URL(url)
    asTenant.username = `tb_${hexOf(own.id)}`
    asTenant.password = own.password.reveal()
    asTenant.pathname = `/${spaceName(other.id)}`
    await rejectsLike(t, openSession(t, asTenant.href), { code: name === 'schema' ? '3D000' : '42501' })
    if (name === 'database') {
      asTenant.pathname = `/${databases[2]}`
      await rejectsLike(t, openSession(t, asTenant.href), { code: '42501' }, "nor the server's own database")
      const asGuest = new URL(url)
      asGuest.username = `tb_${hexOf(guest.id)}`
      asGuest.password = guest.password.reveal()
      asGuest.pathname = `/${spaceName(own.id)}`
      await rejectsLike(t, openSession(t, asGuest.href), { code: '42501' }, 'nor do tenants of shared tables')
    }
  })

  t.test(
    `${name}: a tenant makes what it likes in its schema as its owner role, and nothing as its login`,
    async (t) => {
      const { placement, own, db } = await twoTenants(t, name)
      const ddl = [
        'create table notes (tenant_id uuid, id int generated always as identity, primary key (tenant_id, id))',
        "select lessor.protect('notes', array['select', 'insert'])",
        'alter table users add column nickname text',
        'create index users_nickname on users (tenant_id, nickname)',
        'create view names as select first_name from users',
        "create function one() returns int language sql as 'select 1'",
      ]
      const modern = await isModern(db)
      if (modern) {
        for (const statement of ddl)
          await rejectsLike(t, db.run(statement), { code: /^42(501|P01)$/ }, statement)
      }
      await asOwner(db, own.id, async () => {
        for (const statement of ddl) await t.resolves(db.run(statement), statement)
      })
      await db.query(sql`insert into notes default values`)
      like(t, await db.query(sql`select * from notes`), [{ tenant_id: own.id }])
      if (modern) {
        await rejectsLike(t, db.query(sql`delete from notes`), { code: '42501' }, 'a verb that was not named')
      }
      await t.resolves(placement.check(db, own.id), 'it may do so')
      await asOwner(db, own.id, async () => {
        await rejectsLike(t, db.run("select lessor.protect('pg_class')"), { code: /^42/ })
        await rejectsLike(t, db.run("select lessor.claim_own_migration(9, 'x', 'y')"), {
          code: '42501',
          message: /only a session that migrates a tenant/,
        })
        sameRows(t, await db.run('select * from lessor.own_migrations()'), [])
      })
    },
  )

  t.test(`${name}: a tenant that grants all it has lets nobody in`, async (t) => {
    const { url, admin, placement, own, other, db, otherDb } = await twoTenants(t, name)
    const { user } = placement.login(other.id, 'blue')
    const schema = name === 'schema' ? spaceName(own.id) : 'app'
    await asOwner(db, own.id, async () => {
      for (const statement of [
        `grant all on users to public, ${user}`,
        'alter table users disable row level security',
        'alter default privileges grant all on tables to public',
        "create function peek() returns setof users language sql security definer as 'select * from users'",
        'grant execute on function peek() to public',
      ]) {
        await t.resolves(db.run(statement), statement)
      }
      // PostgreSQL only warns where a role has a privilege without the right to pass it on.
      await db.run(`grant usage, create on schema ${schema} to public, ${user}`)
      for (const statement of [
        `alter schema ${schema} owner to ${ownerName(own.id)}`,
        `alter schema ${schema} rename to mine`,
        `drop schema ${schema} cascade`,
        `grant ${ownerName(own.id)} to ${user}`,
        `alter table users owner to ${user}`,
        'alter table users owner to lessor_owner',
        'alter table users set schema public',
        'create schema mine',
        'create temporary table mine (id int)',
        `alter database ${name === 'database' ? spaceName(own.id) : 'postgres'} owner to ${ownerName(own.id)}`,
        `reassign owned by ${ownerName(own.id)} to ${user}`,
        'create event trigger mine on ddl_command_start execute function peek()',
        'create extension pg_trgm',
        'create publication mine for all tables',
        "copy users to program 'true'",
        "alter system set work_mem = '1GB'",
        'set session_replication_role = replica',
        `alter role ${ownerName(own.id)} login`,
        `alter role ${user} set role postgres`,
        'create role mine',
        'create database mine',
      ]) {
        await rejectsLike(t, db.run(statement), REFUSED, statement)
      }
      const grant = `grant connect on database ${spaceName(own.id)} to public, ${user}`
      if (name === 'database') await rejectsLike(t, db.run(grant), { code: '42501' })
    })
    if (name === 'schema') {
      await rejectsLike(t, otherDb.run(`select * from ${fullName(name, own)}`), { code: '42501' })
      await rejectsLike(t, otherDb.run(`select ${schema}.peek()`), { code: '42501' })
      await asOwner(otherDb, other.id, () =>
        rejectsLike(t, otherDb.run(`select * from ${fullName(name, own)}`), { code: '42501' }),
      )
    } else {
      const asOther = new URL(url)
      asOther.username = user
      asOther.password = other.password.reveal()
      asOther.pathname = `/${spaceName(own.id)}`
      await rejectsLike(t, openSession(t, asOther.href), { code: '42501' })
    }
    await t.resolves(placement.check(db, own.id))
    await t.resolves(placement.check(otherDb, other.id))
    await inOwn(admin, placement, own.id, async (there) => {
      sameRows(
        t,
        await there.query(sql`
          select grantee::regrole::text from pg_namespace, aclexplode(nspacl)
          where nspname = ${schema} and grantee not in (nspowner, ${ownerName(own.id)}::regrole, ${userName(own.id)}::regrole)`),
        [],
      )
    })
  })

  t.test(`${name}: check fails when a wall is down`, async (t) => {
    const { url, admin, placement, own, other, db } = await twoTenants(t, name)
    const { user } = placement.login(own.id, 'blue')
    const schema = name === 'schema' ? spaceName(own.id) : 'app'
    const database = new URL(url).pathname.slice(1)
    const fails = async (rule: string, broken: string, mended: string) => {
      await inOwn(admin, placement, own.id, (there) => there.script(broken))
      await rejectsLike(
        t,
        placement.check(db, own.id),
        { code: 'INTERNAL', message: new RegExp(rule) },
        broken,
      )
      await inOwn(admin, placement, own.id, (there) => there.script(mended))
      await t.resolves(placement.check(db, own.id), mended)
    }
    await fails('attributes beyond login', `alter role ${user} createdb`, `alter role ${user} nocreatedb`)
    await fails(
      'a role of the tenant has attributes',
      `alter role ${ownerName(own.id)} bypassrls`,
      `alter role ${ownerName(own.id)} nobypassrls`,
    )
    await fails(
      'a role of the tenant has attributes',
      `alter role ${ownerName(own.id)} login`,
      `alter role ${ownerName(own.id)} nologin`,
    )
    for (const [group, member] of [
      ['lessor_owner', user],
      ['lessor_tenant', ownerName(own.id)],
      [userName(other.id), userName(own.id)],
    ]) {
      await fails('member of other roles', `grant ${group} to ${member}`, `revoke ${group} from ${member}`)
    }
    await fails(
      'member of other roles',
      `grant ${userName(own.id)} to ${user} with admin option`,
      `revoke admin option for ${userName(own.id)} from ${user}`,
    )
    await fails(
      'may create objects elsewhere',
      `grant create on database ${name === 'schema' ? database : spaceName(own.id)} to ${ownerName(own.id)}`,
      `revoke create on database ${name === 'schema' ? database : spaceName(own.id)} from ${ownerName(own.id)}`,
    )
    await fails(
      'may create objects elsewhere',
      'grant create on schema public to public',
      'revoke create on schema public from public',
    )
    // Before, a login has what its owner role has.
    if (await isModern(db)) {
      await fails(
        'may create objects in its schema',
        `grant create on schema ${schema} to ${user}`,
        `revoke create on schema ${schema} from ${user}`,
      )
      await fails(
        'the login may use schema lessor',
        `grant usage on schema lessor to ${user}`,
        `revoke usage on schema lessor from ${user}`,
      )
    }
    await fails(
      'may use tables outside its schema',
      'grant select on lessor.app_migrations to public',
      'revoke select on lessor.app_migrations from public',
    )
    await fails(
      'schema belongs to a tenant',
      `alter schema ${schema} owner to ${ownerName(own.id)}`,
      `alter schema ${schema} owner to lessor_owner;
       grant usage, create on schema ${schema} to ${ownerName(own.id)}`,
    )
    await fails(
      'others may use the tenant',
      `grant usage on schema ${schema} to lessor_tenant`,
      `revoke usage on schema ${schema} from lessor_tenant`,
    )
    if (name === 'schema') {
      await fails(
        'use another tenant',
        `grant usage on schema ${spaceName(other.id)} to ${userName(own.id)}`,
        `revoke usage on schema ${spaceName(other.id)} from ${userName(own.id)}`,
      )
    } else {
      await fails(
        "connect to another tenant's database",
        `grant connect on database ${spaceName(other.id)} to ${userName(own.id)}`,
        `revoke connect on database ${spaceName(other.id)} from ${userName(own.id)}`,
      )
      for (const grantee of ['public', userName(other.id)]) {
        await fails(
          "others may connect to the tenant's database",
          `grant connect on database ${spaceName(own.id)} to ${grantee}`,
          `revoke connect on database ${spaceName(own.id)} from ${grantee}`,
        )
      }
    }
    // Another tenant's database while it is being made: its rights come before it takes connections.
    const half = spaceName(randomUUID())
    await admin.script(`create database ${half} template template0 allow_connections false`)
    await t.resolves(placement.check(db, own.id))
    t.strictSame(
      (await checkCatalog(admin, 'default')).broken.filter(({ object }) => object === half),
      [],
    )
    await admin.script(`drop database ${half}`)
    await rejectsLike(t, placement.check(db, other.id), { message: /named after another tenant/ })
    await asOwner(db, own.id, async () => {
      // Fits the type of current_user better than the system's own.
      await db.run(
        `create function "right"(name, int) returns text language sql as $$ select '${hexOf(other.id)}' $$`,
      )
    })
    await rejectsLike(t, placement.check(db, other.id), { message: /named after another tenant/ })
    await t.resolves(placement.check(db, own.id))
    sameRows(t, await db.query(sql`show search_path`), [{ search_path: schema }], 'as it was')
    const strayed = await openTenant(t, url, placement, own, { search_path: 'public' })
    await rejectsLike(t, placement.check(strayed, own.id), { message: /search_path is not/ })
    const wrong = await openTenant(t, url, placement, own, { 'rls.tenant_id': other.id, row_security: 'off' })
    await rejectsLike(t, placement.check(wrong, own.id), {
      message: /row_security is off; rls.tenant_id names another/,
    })
  })
}

t.test('two tenants of the other placement on the same server are no way in either', async (t) => {
  const { url, admin, own, db } = await twoTenants(t, 'schema')
  const placement = ownPlacements()[1]
  if (placement === undefined) throw new Error('bug: no placement')
  const apart = await provisionTenant(t, placement, admin)
  const apartDb: ConnectionDb = await openTenant(t, url, placement, apart)
  await t.resolves(placement.check(apartDb, apart.id))
  await rejectsLike(t, db.run(`set role ${ownerName(apart.id)}`), REFUSED)
  await rejectsLike(t, apartDb.run(`set role ${ownerName(own.id)}`), REFUSED)
})

t.test(
  'no function of schema lessor is for everybody, and those for tenants have no rights of their own',
  async (t) => {
    const { admin, own } = await twoTenants(t, 'schema')
    await migrate(admin, await readMigrations())
    const functions = await admin.query<{
      name: string
      everybody: boolean
      owner: boolean
      definer: boolean
      by: string
    }>(sql`
    select proname as name, has_function_privilege('public', oid, 'execute') as everybody,
      has_function_privilege(${ownerName(own.id)}, oid, 'execute') as owner, prosecdef as definer,
      proowner::regrole::text as by
    from pg_proc where pronamespace = 'lessor'::regnamespace order by 1`)
    t.strictSame(
      functions.filter(({ everybody }) => everybody),
      [],
    )
    t.ok(functions.some(({ name, owner }) => owner && name === 'protect'))
    like(
      t,
      functions.filter(({ owner, definer }) => owner && definer),
      [
        { name: 'claim_own_migration', by: 'lessor_owner' },
        { name: 'own_migrations', by: 'lessor_owner' },
      ],
      "and none has an administrator's",
    )
  },
)

t.test('beside a control database, a tenant of a schema sees none of its tables', async (t) => {
  const { admin, own, db } = await twoTenants(t, 'schema')
  await migrate(admin, await readMigrations())
  const tables = await admin.query<{ name: string }>(sql`
    select c.oid::regclass::text as name from pg_class c
    where relnamespace = 'lessor'::regnamespace and relkind in ('r', 'v', 'm', 'p', 'S')`)
  t.ok(tables.length > 10)
  for (const { name } of tables) {
    await asOwner(db, own.id, () => rejectsLike(t, db.run(`select * from ${name}`), { code: '42501' }, name))
  }
})
