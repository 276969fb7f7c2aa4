import { randomBytes, randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { dataFiles } from '../../src/control/data-files.ts'
import { migrate, readMigrations } from '../../src/control/migrate.ts'
import { checkCatalog } from '../../src/isolation/check-catalog.ts'
import { RolePlacement } from '../../src/placement/role-placement.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import type { ServerAdmin } from '../../src/servers/server-admin.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike, sameRows } from '../support/like.ts'
import { openAdmin, openSession, openTenant, provisionTenant, rolePlacement } from './support.ts'

const WALLS = new URL('../../sql/walls/', import.meta.url)
const BEFORE = 6

/** olderPlacement prepares a server as the version before statistics were hidden did. */
function olderPlacement(): RolePlacement {
  return new RolePlacement({
    files: {
      ...dataFiles(),
      walls: async (admin) => {
        const migrations = (await readMigrations(WALLS)).slice(0, BEFORE)
        return (await migrate(admin, migrations, { ledger: 'lessor.wall_migrations' })).map(
          ({ name }) => name,
        )
      },
    },
    notice: () => {},
  })
}

/** prepareOlder makes a server of that version, with tables that were analyzed, one of them partitioned. */
async function prepareOlder(t: Test, admin: ServerAdmin, url: string): Promise<void> {
  const placement = olderPlacement()
  await placement.prepare(admin)
  const tenant = await provisionTenant(t, placement, admin)
  await admin.script(`
    set search_path = app;
    create table notes (
      tenant_id uuid, id bigint generated always as identity, kind text collate "C" check (kind <> ''), body text,
      primary key (tenant_id, id)
    );
    alter table notes alter column body set storage external;
    create index on notes (tenant_id, lower(body));
    create index on notes (tenant_id, kind);
    select lessor.protect('notes', array['select', 'insert']), lessor.tenant_statistics('notes');
    create table plain (tenant_id uuid, id integer, parent integer, secret text, primary key (tenant_id, id),
      foreign key (tenant_id, parent) references plain);
    select lessor.protect('plain');
    create table seen (tenant_id uuid, id integer, secret text, primary key (tenant_id, id));
    select lessor.protect('seen'), lessor.tenant_view('seen');
    reset search_path`)
  const db = await openTenant(t, url, placement, tenant)
  for (const text of [
    `insert into notes (kind, body) select 'secret', 'secret ' || i from generate_series(1, 200) i`,
    `insert into plain (id, parent, secret) select i, i, 'secret ' || i from generate_series(1, 200) i`,
    `insert into seen (id, secret) select i, 'secret ' || i from generate_series(1, 200) i`,
  ])
    await db.run(text)
  await admin.query(sql`select lessor.partition('app.notes')`)
  await admin.query(sql`select lessor.begin_move('app.notes', ${tenant.id}::uuid)`)
  await admin.transaction(async (tx) => {
    await tx.query(sql`select lessor.copy_rows('app.notes', ${tenant.id}::uuid, 1000)`)
  })
  const [leaf] = await admin.query<{ name: string }>(
    sql`select lessor.partition_name('app.notes', ${tenant.id}::uuid) as name`,
  )
  for (const table of ['app.notes', 'lessor_partitions.notes', 'app.plain', 'app.seen', leaf?.name])
    await admin.script(`analyze ${table}`)
}

/** keptOf is what PostgreSQL keeps of which columns, as a superuser sees it. */
async function keptOf(db: Db): Promise<readonly string[]> {
  const rows = await db.query<{ name: string }>(sql`
    select distinct tablename || '.' || attname as name from pg_stats
    where schemaname in ('app', 'lessor_partitions') and attname <> 'tenant_id'
      and tablename not like 'users%'
      and num_nonnulls(most_common_vals, histogram_bounds, correlation, most_common_elems) > 0
    union all
    select stxname::text from pg_statistic_ext
    order by 1`)
  return rows.map(({ name }) => name.replace(/[0-9a-f]{32}/, '<tenant>'))
}

/** brokenRules is what the rules over statistics and functions name; others name a partition that is being made. */
async function brokenRules(db: Db): Promise<readonly string[]> {
  const { broken } = await checkCatalog(db, 'default')
  return broken
    .filter(({ rule }) => /statistics|values|function of PostgreSQL/.test(rule))
    .map(({ object, problem }) => `${object}: ${problem}`)
}

/** parentsOf is how many different parents the planner takes the rows of `plain` to have, by what it knows. */
async function parentsOf(db: Db): Promise<readonly number[]> {
  const rows = await db.query<{ distinct: number }>(sql`
    select n_distinct as distinct from pg_stats where tablename = 'plain' and attname = 'parent'`)
  return rows.map(({ distinct }) => distinct)
}

async function grantsOf(db: Db): Promise<readonly unknown[]> {
  return [
    ...(await db.query(sql`
      select oid::regclass::text as name, relacl::text as rights from pg_class
      where relnamespace in (select oid from pg_namespace where nspname in ('app', 'lessor_partitions')) order by 1`)),
  ]
}

t.test('what was kept of shared tables goes with the new walls, and grants stay', async (t) => {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  await prepareOlder(t, admin, url)
  const before = await keptOf(admin)
  for (const name of ['plain.secret', 'seen.secret', 'notes.body', 'notes_<tenant>.body'])
    t.ok(before.includes(name), name)
  t.ok(before.some((name) => /^notes_[0-9a-f]{16}$/.test(name)))
  const grants = await grantsOf(admin)
  // Readers and writers go on: a change that locks them out would wait here, and give up.
  const writer = await openSession(t, url)
  await writer.transaction(async (tx) => {
    await tx.query(sql`lock table app.notes, app.plain, app.seen, app.users in row exclusive mode`)
    await rolePlacement().prepare(admin)
  })
  t.strictSame(await keptOf(admin), [])
  t.strictSame(await parentsOf(admin), [-1], 'as many as there are rows to refer to')
  sameRows(t, await grantsOf(admin), grants)
  t.strictSame(await brokenRules(admin), [])
  await openAdmin(t, url).script('analyze')
  t.strictSame(await keptOf(admin), [], 'nor does it come back')
})

t.test('walls that have to wait for a lock give up, and come the next time', async (t) => {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  await prepareOlder(t, admin, url)
  const other = await openSession(t, url)
  await other.transaction(async (tx) => {
    await tx.query(sql`lock table app.plain in share update exclusive mode`)
    await rejectsLike(t, rolePlacement().prepare(admin), { code: '55P03' })
  })
  await rolePlacement().prepare(admin)
  t.strictSame(await keptOf(admin), [])
})

/** openWarden makes an administrator who is no superuser, with a database that it owns; `there` is a superuser in it. */
async function openWarden(t: Test) {
  const { url } = await testDatabase(t)
  const superuser = openAdmin(t, url)
  await rolePlacement().prepare(openAdmin(t, (await testDatabase(t)).url))
  const name = `warden_${randomBytes(4).toString('hex')}`
  const password = randomUUID()
  await superuser.script(`
    create role ${name} login createrole password '${password}';
    grant lessor_owner, lessor_keeper, lessor_tenant, lessor_row, lessor_schema, lessor_ddl to ${name} with admin option`)
  await superuser.script(`create database ${name} owner ${name}`)
  const own = new URL(url)
  Object.assign(own, { username: name, password, pathname: `/${name}` })
  const admin = openAdmin(t, own.href)
  t.teardown(async () => {
    await admin.close()
    await superuser.script(`drop database ${name}`)
    await superuser.script(`drop owned by ${name}; drop role ${name}`)
  })
  const there = openAdmin(t, Object.assign(new URL(url), { pathname: `/${name}` }).href)
  t.teardown(() => there.close())
  const [server] = await admin.query<{ clears: boolean }>(
    sql`select current_setting('server_version_num')::integer >= 180000 as clears`,
  )
  return { admin, there, url: own.href, clears: server?.clears === true }
}

t.test('an administrator who is no superuser has it forgotten as far as that is possible', async (t) => {
  const { admin, there, url, clears } = await openWarden(t)
  await prepareOlder(t, admin, url)
  t.ok((await keptOf(there)).includes('plain.secret'))
  await rolePlacement().prepare(admin)
  // A view needs its columns as they are: before PostgreSQL 18 none but a superuser has those forgotten.
  const left = clears ? [] : ['seen.id', 'seen.secret']
  t.strictSame(await keptOf(there), left)
  t.strictSame(await parentsOf(there), clears ? [-1] : [])
  t.strictSame(await brokenRules(admin), [])
  const { notices } = await checkCatalog(admin, 'default')
  t.strictSame(
    notices.filter((notice) => /EXPLAIN/.test(notice)),
    left.length === 0
      ? []
      : [
          "EXPLAIN tells values of app.seen, the most frequent and the two ends if not more: id, secret; a superuser clears them by lessor.hide_statistics('app.seen')",
        ],
  )
  t.equal(
    notices.filter((notice) =>
      /^tenants may run .*lo_create.*pg_advisory_lock.*pg_logical_emit_message.*lessor\.close_functions\(\)$/.test(
        notice,
      ),
    ).length,
    1,
  )
  t.equal(notices.filter((notice) => /not visible to this administrator/.test(notice)).length, 1)
  t.strictSame(
    [
      ...(await there.query(sql`
        select attname as name, attstorage as storage, attcollation::regcollation::text as collation from pg_attribute
        where attrelid = 'lessor_partitions.notes'::regclass and attname in ('kind', 'body') order by 1`)),
    ],
    [
      { name: 'body', storage: 'e', collation: '"default"' },
      { name: 'kind', storage: 'x', collation: '"C"' },
    ],
    'columns are as they were',
  )
  await there.query(sql`select lessor.hide_statistics('app.seen')`)
  t.strictSame(await keptOf(there), [], 'the superuser clears the rest')
  t.strictSame(
    (await checkCatalog(there, 'default')).notices.filter((notice) => /EXPLAIN|not visible/.test(notice)),
    [],
  )
})

t.test('nor is what was kept of the expression of an index left to such an administrator', async (t) => {
  const { admin, there } = await openWarden(t)
  await rolePlacement().prepare(admin)
  await admin.script(`
    create table app.late (tenant_id uuid, id integer, secret text, primary key (tenant_id, id));
    select lessor.protect('app.late')`)
  await there.script(`
    insert into app.late select gen_random_uuid(), i, 'secret ' || i from generate_series(1, 200) i;
    create index late_lower on app.late (tenant_id, lower(secret))`)
  await there.script('analyze app.late')
  t.strictSame(await keptOf(there), ['late_lower.lower'])
  await there.query(sql`select lessor.close_functions()`)
  t.strictSame(await brokenRules(there), [
    'app.late_lower: PostgreSQL keeps values of column lower',
    'app.late_lower: values of column lower are there',
  ])
  await admin.script(`select lessor.protect('app.late')`)
  t.strictSame(await keptOf(there), [])
  t.strictSame(await brokenRules(there), [])
})

t.test('no large table is read by such an administrator to have it forgotten', async (t) => {
  const { admin, there, url, clears } = await openWarden(t)
  await prepareOlder(t, admin, url)
  await there.script(`
    create index large_lower on app.plain (tenant_id, lower(secret));
    update pg_class set reltuples = 200000 where oid = 'app.plain'::regclass;
    update pg_class set reltuples = -1 where oid = 'app.notes'::regclass;
    update pg_class set reltuples = 200000 where oid = 'lessor_partitions.notes'::regclass`)
  const files = () =>
    there.query(sql`
      select i.indexrelid::regclass::text as name, c.relfilenode::text as file
      from pg_index i join pg_class c on c.oid = i.indexrelid
      where i.indrelid in ('app.plain'::regclass, 'lessor_partitions.notes'::regclass) order by 1`)
  const before = await files()
  await rolePlacement().prepare(admin)
  t.strictSame([...(await files())], [...before], 'no index was built again')
  const left = (await keptOf(there)).filter((name) => /^(notes|plain)\./.test(name))
  t.strictSame(left, clears ? [] : ['notes.body', 'notes.id', 'notes.kind', 'plain.secret'])
})
