import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { CITUS_KEEPER, distributeTables, isCitus, keeperScripts } from '../../src/placement/citus.ts'
import { isolateTenant, tenantShards } from '../../src/placement/citus-shards.ts'
import { KEEPER } from '../../src/placement/group-roles.ts'
import type { AdminDb } from '../../src/placement/placement.ts'
import { removeRows } from '../../src/placement/remove-rows.ts'
import { type ScriptDb, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { openAdmin, rolePlacement } from './support.ts'

/** What the code asks of Citus, in miniature: a table is distributed when that is written down. */
const STAND_IN = `
  set local allow_system_table_mods = on;
  create table pg_catalog.pg_dist_partition (logicalrelid regclass primary key, colocated text);
  create function pg_catalog.create_distributed_table(
    target regclass, column_name text, colocate_with text default 'default') returns void
  language plpgsql as $$
  begin
    if column_name <> 'tenant_id' then raise 'distributed by %', column_name; end if;
    if exists (
      select from pg_constraint where conrelid = target and contype = 'f' and confrelid <> target
        and confrelid not in (select logicalrelid from pg_dist_partition)
    ) then
      raise 'a table that % refers to is not distributed', target;
    end if;
    insert into pg_dist_partition values (target, colocate_with);
  end $$;
`

const NOTES = `
  create table app.notes (
    tenant_id uuid, id uuid, user_id uuid, reply_to uuid,
    primary key (tenant_id, id),
    foreign key (tenant_id, user_id) references app.users (tenant_id, id),
    foreign key (tenant_id, reply_to) references app.notes (tenant_id, id)
  );
  create table app.attachments (
    tenant_id uuid, id uuid, note_id uuid,
    primary key (tenant_id, id),
    foreign key (tenant_id, note_id) references app.notes (tenant_id, id)
  );
  create table app.unprotected (id integer primary key);
  select lessor.protect('app.notes'), lessor.protect('app.attachments');
`

/** An administrator of a prepared database; with `standIn`, one that looks as if it could distribute tables. */
async function prepared(t: Test, { standIn = false } = {}): Promise<AdminDb> {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  if (standIn) await admin.transaction((tx) => tx.script(STAND_IN))
  await rolePlacement().prepare(admin)
  return admin
}

async function distributed(admin: AdminDb): Promise<unknown> {
  return admin.query(
    sql`select logicalrelid::text as "table", colocated from pg_dist_partition order by logicalrelid`,
  )
}

t.test('a plain PostgreSQL is not taken for Citus, and stays as it is', async (t) => {
  const admin = await prepared(t)
  t.equal(await isCitus(admin), false)
  t.strictSame(await distributeTables(admin), [])
  sameRows(
    t,
    await admin.query(sql`select from pg_database where datacl::text like ${`%${CITUS_KEEPER}%`}`),
    [],
  )
  sameRows(t, await tenantShards(admin, randomUUID()), [])
  await rejectsLike(t, isolateTenant(admin, randomUUID()), { code: 'PLACEMENT_UNAVAILABLE' })
})

t.test('preparing a server that distributes tables does so with the shared ones, once', async (t) => {
  const admin = await prepared(t, { standIn: true })
  t.equal(await isCitus(admin), true)
  sameRows(t, await distributed(admin), [{ table: 'app.users', colocated: 'default' }])
  t.strictSame(await distributeTables(admin), [], 'nothing is left to do')
  await rolePlacement().prepare(admin)
  sameRows(t, await distributed(admin), [{ table: 'app.users', colocated: 'default' }])
})

t.test('a new table goes where the others are, after those that it refers to', async (t) => {
  const admin = await prepared(t, { standIn: true })
  await admin.script(NOTES)
  t.strictSame(await distributeTables(admin), ['app.notes', 'app.attachments'])
  sameRows(t, await distributed(admin), [
    { table: 'app.users', colocated: 'default' },
    { table: 'app.notes', colocated: 'app.users' },
    { table: 'app.attachments', colocated: 'app.notes' },
  ])
})

t.test('services that start at once distribute a table once', async (t) => {
  const admin = await prepared(t, { standIn: true })
  await admin.script(NOTES)
  const outcomes = await Promise.all([1, 2, 3].map(() => distributeTables(admin)))
  t.strictSame(outcomes.flat(), ['app.notes', 'app.attachments'])
})

t.test('tables that refer to each other in a circle are named, and none is distributed', async (t) => {
  const admin = await prepared(t, { standIn: true })
  await admin.script(`${NOTES}
    alter table app.notes add column first_attachment uuid,
      add foreign key (tenant_id, first_attachment) references app.attachments (tenant_id, id)`)
  await rejectsLike(t, distributeTables(admin), {
    code: 'PLACEMENT_UNAVAILABLE',
    message: /circle: app\.attachments, app\.notes/,
  })
  sameRows(t, await distributed(admin), [{ table: 'app.users', colocated: 'default' }])
})

t.test(
  'the keeper of distributed tables removes the rows of one tenant behind row level security',
  async (t) => {
    const admin = await prepared(t, { standIn: true })
    const [tenant, other] = [randomUUID(), randomUUID()]
    for (const id of [tenant, other]) {
      await admin.query(sql`
      insert into app.users (tenant_id, first_name, last_name)
      select ${id}::uuid, 'Ada', 'Lovelace' from generate_series(1, 3)`)
    }
    const asKeeper = <T>(fn: (tx: ScriptDb) => Promise<T>) =>
      admin.transaction(async (tx) => {
        for (const script of keeperScripts(tenant, true)) await tx.script(script)
        return fn(tx)
      })
    const seen = sql`select current_user::text as name, count(*)::integer as rows from app.users`
    sameRows(t, await asKeeper((tx) => tx.query(seen)), [{ name: CITUS_KEEPER, rows: 3 }])
    await rejectsLike(
      t,
      asKeeper((tx) => tx.query(sql`update app.users set first_name = 'x'`)),
      { code: '42501' },
    )
    t.equal(await removeRows(admin, tenant), 3)
    sameRows(t, await admin.query(sql`select tenant_id from app.users group by 1`), [{ tenant_id: other }])
    const [role] = await admin.query(sql`
    select rolcanlogin, rolpassword, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb,
      (select json_agg(roleid::regrole::text) from pg_auth_members where member = a.oid) as groups
    from pg_authid a where rolname = ${CITUS_KEEPER}`)
    like(t, role, {
      rolcanlogin: true,
      rolpassword: null,
      rolsuper: false,
      rolbypassrls: false,
      rolcreaterole: false,
      rolcreatedb: false,
      groups: [KEEPER],
    })
  },
)

t.test(
  'the binding of the keeper is sent statement by statement where workers would get it all',
  async (t) => {
    const id = randomUUID()
    t.strictSame(keeperScripts(id, false), [`set local role ${KEEPER}; set local rls.tenant_id = '${id}'`])
    t.strictSame(keeperScripts(id, true), [
      `set local role ${CITUS_KEEPER}`,
      "set local citus.propagate_set_commands = 'local'",
      `set local rls.tenant_id = '${id}'`,
    ])
  },
)

t.test('a protected table can be protected again without touching its tenant_id', async (t) => {
  const admin = await prepared(t)
  const [before] = await admin.query(sql`select xmin::text from pg_attribute
    where attrelid = 'app.users'::regclass and attname = 'tenant_id'`)
  await admin.script(`select lessor.protect('app.users', array['select'])`)
  sameRows(
    t,
    await admin.query(sql`select xmin::text from pg_attribute
      where attrelid = 'app.users'::regclass and attname = 'tenant_id'`),
    [before],
  )
})
