import t, { type Test } from 'tap'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import type { Placement } from '../../src/placement/placement.ts'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { ownerName } from '../../src/placement/tenant-names.ts'
import { sql } from '../../src/pool/statement.ts'
import { ServerAdmin } from '../../src/servers/server-admin.ts'
import { OwnServer } from '../faults/own-server.ts'
import { rejectsLike } from '../support/like.ts'
import { leftOf, NOTHING, ownPlacement } from './own-support.ts'
import {
  type ConnectionDb,
  LIMITS,
  openAdmin,
  openTenant,
  ownPlacements,
  provisionTenant,
  rolePlacement,
} from './support.ts'

// A server of this file's own with room for a few hundred locks, so that some hundred objects are too many for one transaction.

t.setTimeout(240_000)
const server = await OwnServer.start(t, { maxConnections: 30 })
const setUp = new ServerAdmin({ address: parseDatabaseUrl(server.url) })
for (const each of [rolePlacement(), ...ownPlacements()]) await each.prepare(setUp)
// What the walls take from tenants where a superuser stands them; elsewhere they keep it.
await setUp.script('grant execute on function lo_create(oid) to public')
await setUp.script('alter system set max_locks_per_transaction = 10')
await setUp.close()
await server.stop()
await server.startAgain()

async function tenantOf(t: Test, placement: Placement) {
  const admin = openAdmin(t, server.url)
  const tenant = await provisionTenant(t, placement, admin)
  const db = await openTenant(t, server.url, placement, tenant)
  return { admin, id: tenant.id, db, user: placement.login(tenant.id, 'blue').user }
}

/** Runs what a tenant may do again and again, for the numbers from 1 to `count`, few in a transaction. */
async function many(db: ConnectionDb, count: number, body: string): Promise<void> {
  const size = 20
  for (let from = 1; from <= count; from += size) {
    await db.run(
      `do $do$ begin for i in ${from}..${Math.min(count, from + size - 1)} loop ${body} end loop; end $do$`,
    )
  }
}

async function largeObjects(admin: ServerAdmin, owner: string): Promise<number> {
  const rows = await admin.query(sql`
    select from pg_largeobject_metadata where lomowner = to_regrole(quote_ident(${owner}))`)
  return rows.length
}

for (const placement of [rolePlacement(), ownPlacement('schema')]) {
  t.test(
    `${placement.name}: very many large objects go to the other login, and with the tenant`,
    async (t) => {
      const { admin, db, id, user } = await tenantOf(t, placement)
      // Those of `role` are from before they were kept from it, or by a team's own grant.
      await admin.script('grant execute on function lo_create(oid) to lessor_tenant')
      await many(db, 900, 'perform lo_create(0);')
      await placement.provision(admin, {
        tenantId: id,
        colour: 'green',
        verifier: scramVerifier(randomPassword()),
        limits: LIMITS,
      })
      await placement.withdraw(admin, id, 'blue')
      t.equal(await largeObjects(admin, user), 0)
      t.equal(await largeObjects(admin, placement.login(id, 'green').user), 900)
      await placement.unprovision(admin, id)
      t.strictSame({ ...(await leftOf(admin, id)) }, NOTHING)
      t.strictSame([...(await admin.query(sql`select from pg_largeobject_metadata`))], [])
    },
  )
}

const MADE: Readonly<Record<string, (db: ConnectionDb) => Promise<void>>> = {
  'very many tables': (db) =>
    many(db, 500, `execute format('create table many_%s (id integer primary key, name text)', i);`),
  'a table with very many partitions': async (db) => {
    await db.run('create table parts (id integer) partition by list (id)')
    await many(db, 500, `execute format('create table part_%s partition of parts for values in (%s)', i, i);`)
  },
  'a table with very many constraints, indexes, triggers, rules and policies': async (db) => {
    await db.run('create table laden (id integer, name text)')
    await db.run(`create function nothing() returns trigger language plpgsql as 'begin return new; end'`)
    await many(
      db,
      150,
      `execute format('alter table laden add constraint c_%1$s check (id <> %1$s)', i);
       execute format('create index on laden (id) where id = %s', i);
       execute format('create trigger t_%s before insert on laden execute function nothing()', i);
       execute format('create rule r_%s as on update to laden do also select 1', i);
       execute format('create policy p_%s on laden using (true)', i);`,
    )
  },
  'very many views on a view that is younger': async (db) => {
    await many(db, 800, `execute format('create view v_%s as select 1 as id', i);`)
    await db.run('create view young as select 1 as id')
    await many(db, 800, `execute format('create or replace view v_%s as select id from young', i);`)
  },
  'a chain of views, each of which reads a younger one and the youngest': async (db) => {
    await many(db, 1_000, `execute format('create view v_%s as select 1 as id', i);`)
    await many(
      db,
      999,
      `execute format('create or replace view v_%s as select a.id from v_%s a, v_1000 b', 1000 - i, 1001 - i);`,
    )
  },
  'very many functions, types and sequences': async (db) => {
    await db.run("create type mood as enum ('sad')")
    await many(
      db,
      250,
      `execute format('create function f_%s(mood) returns integer language sql return 1', i);
       execute format('create type e_%s as enum (%L)', i, 'a');
       execute format('create domain d_%s as text check (value <> %L)', i, 'a');
       execute format('create sequence s_%s', i);
       execute format('create type c_%s as (m mood)', i);`,
    )
  },
}

/** What hangs together in every way that PostgreSQL has, so often that it is too much for one transaction. */
async function intertwined(db: ConnectionDb): Promise<void> {
  await db.run('create table parts (id integer, at integer) partition by list (id)')
  await db.run('create table elder (mark integer)')
  await many(
    db,
    40,
    `execute format('create domain d_%s as integer check (value > 0)', i);
     execute format('create type c_%1$s as (a d_%1$s, b d_%1$s[])', i);
     execute format('create table a_%1$s (id d_%1$s primary key, c c_%1$s, b integer) inherits (elder)', i);
     execute format('create table b_%1$s (id integer primary key, a integer references a_%1$s (id))', i);
     execute format('alter table a_%1$s add foreign key (b) references b_%1$s (id)', i);
     execute format('create function f_%1$s(a_%1$s) returns b_%1$s language sql return null::b_%1$s', i);
     execute format('create view v_%1$s as select f_%1$s(a) as f, a.* from a_%1$s a', i);
     execute format('create function g_%1$s() returns setof v_%1$s language sql begin atomic select * from v_%1$s; end', i);
     execute format('create or replace view v_%1$s as select f_%1$s(a) as f, a.* from a_%1$s a where exists (select g_%1$s())', i);
     execute format('create materialized view m_%1$s as select * from v_%1$s with no data', i);
     execute format('create aggregate s_%1$s(integer) (sfunc = int4pl, stype = integer)', i);
     execute format('create table p_%1$s partition of parts for values in (%1$s) partition by list (at)', i);
     execute format('create table q_%1$s partition of p_%1$s for values in (1)', i);
     execute format('create statistics x_%1$s on id, a from b_%1$s', i);
     execute format('create sequence n_%1$s owned by b_%1$s.a', i);
     execute format('alter table b_%1$s alter column id set default nextval(%2$L)', i, 'n_' || i);`,
  )
  await db.run('create index on parts (id)')
  await db.run('alter default privileges grant select on tables to public')
  await db.run(`alter default privileges in schema ${await schemaOf(db)} grant select on tables to public`)
}

async function schemaOf(db: ConnectionDb): Promise<string> {
  const [row] = await db.run('select current_schema()::text as name')
  return String(row?.name)
}

for (const [what, make] of Object.entries({ ...MADE, 'what hangs together': intertwined })) {
  t.test(`schema: a tenant with ${what} is removed`, async (t) => {
    const placement = ownPlacement('schema')
    const { admin, db, id } = await tenantOf(t, placement)
    await db.run(`set role ${ownerName(id)}`)
    await make(db)
    await placement.unprovision(admin, id)
    t.strictSame({ ...(await leftOf(admin, id)) }, NOTHING)
  })
}

t.test('schema: what an administrator has put into it is in the way of nothing', async (t) => {
  const placement = ownPlacement('schema')
  const { admin, db, id } = await tenantOf(t, placement)
  const schema = await schemaOf(db)
  await admin.script(`create extension hstore schema ${schema}; create table ${schema}.others (id integer)`)
  await db.run(`set role ${ownerName(id)}`)
  await many(db, 500, `execute format('create table many_%s (id integer primary key, name text)', i);`)
  await placement.unprovision(admin, id)
  t.strictSame({ ...(await leftOf(admin, id)) }, NOTHING)
  t.strictSame([...(await admin.query(sql`select from pg_extension where extname = 'hstore'`))], [])
})

t.test('schema: a deletion that ended in the middle goes on where it was', async (t) => {
  const placement = ownPlacement('schema')
  const { admin, db, id } = await tenantOf(t, placement)
  const schema = await schemaOf(db)
  await db.run(`set role ${ownerName(id)}`)
  await many(db, 300, `execute format('create table many_%s (id integer primary key, name text)', i);`)
  const tables = async () => {
    const rows = await admin.query(sql`
      select from pg_class where relkind = 'r' and relnamespace = to_regnamespace(${schema})`)
    return rows.length
  }
  const before = await tables()
  let drops = 0
  const script = (text: string) => {
    if (/^drop table/m.test(text) && ++drops > 3) throw new Error('the process ends here')
    return admin.script(text)
  }
  const dying = new Proxy(admin, {
    get(target, name) {
      if (name === 'script') return script
      const value = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  await rejectsLike(t, placement.unprovision(dying, id), { message: 'the process ends here' })
  const left = await tables()
  t.ok(left < before && left > 0, `${before} tables before, ${left} in the middle`)
  await placement.unprovision(admin, id)
  t.strictSame({ ...(await leftOf(admin, id)) }, NOTHING)
})

t.test('database: a tenant with very many tables and large objects is removed', async (t) => {
  const placement = ownPlacement('database')
  const { admin, db, id } = await tenantOf(t, placement)
  await many(db, 500, 'perform lo_create(0);')
  await db.run(`set role ${ownerName(id)}`)
  await many(db, 500, `execute format('create table many_%s (id integer primary key, name text)', i);`)
  await placement.provision(admin, {
    tenantId: id,
    colour: 'green',
    verifier: scramVerifier(randomPassword()),
    limits: LIMITS,
  })
  await placement.withdraw(admin, id, 'blue')
  await placement.unprovision(admin, id)
  t.strictSame({ ...(await leftOf(admin, id)) }, NOTHING)
})

t.test('schema: a tenant that another one has named very many times is removed, and rotated', async (t) => {
  const placement = ownPlacement('schema')
  const { admin, id, user } = await tenantOf(t, placement)
  const other = await tenantOf(t, placement)
  await other.db.run(`set role ${ownerName(other.id)}`)
  await many(
    other.db,
    500,
    `execute format('create table named_%s (id integer)', i);
     execute format('grant select on named_%s to ${user}', i);
     execute format('create policy p on named_%s to ${user}', i);
     execute format('create policy shared on named_%s to ${user}, ${other.user}', i);`,
  )
  await placement.provision(admin, {
    tenantId: id,
    colour: 'green',
    verifier: scramVerifier(randomPassword()),
    limits: LIMITS,
  })
  await placement.withdraw(admin, id, 'blue')
  t.strictSame(
    [
      ...(await other.db.run(`
      select polname::text as name, count(*)::integer as count, min(polroles::regrole[]::text) as roles
      from pg_policy where polrelid::regclass::text like 'named_%' group by 1`)),
    ],
    [{ name: 'shared', count: 500, roles: `{${other.user}}` }],
  )
  await placement.unprovision(admin, id)
  t.strictSame({ ...(await leftOf(admin, id)) }, NOTHING)
})

t.test('an administrator who is no superuser removes it as well', async (t) => {
  const superuser = openAdmin(t, server.url)
  const password = randomPassword().reveal()
  await superuser.script(`create role landlord login createrole password '${password}'`)
  await superuser.script('create database landlord owner landlord')
  await superuser.script(
    `grant lessor_owner, lessor_tenant, lessor_row, lessor_keeper, lessor_schema, lessor_ddl to landlord with admin option`,
  )
  const url = new URL(server.url)
  Object.assign(url, { username: 'landlord', password, pathname: '/landlord' })
  const admin = openAdmin(t, url.href)
  const placement = ownPlacement('schema')
  await placement.prepare(admin)
  const tenant = await provisionTenant(t, placement, admin)
  const db = await openTenant(t, url.href, placement, tenant)
  await many(db, 300, 'perform lo_create(0);')
  await db.run(`set role ${ownerName(tenant.id)}`)
  await db.run('create table laden (id integer)')
  await many(db, 400, `execute format('create rule r_%s as on update to laden do also select 1', i);`)
  await many(db, 100, `execute format('create table many_%s (id integer primary key, name text)', i);`)
  await placement.unprovision(admin, tenant.id)
  t.strictSame({ ...(await leftOf(admin, tenant.id)) }, NOTHING)
})
