import t, { type Test } from 'tap'
import { type Statement, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { openAdmin, openTenant, provisionTenant, rolePlacement } from './support.ts'

/** A table with all that can hang on one. */
const RICH = `
  create sequence app.numbers;
  create table app.teams (tenant_id uuid, id integer, primary key (tenant_id, id));
  create table app.notes (
    tenant_id uuid,
    id bigint generated always as identity,
    team integer,
    email text,
    number integer default nextval('app.numbers'),
    place serial,
    body text not null constraint body_is_short check (length(body) < 1000),
    double integer generated always as (number * 2) stored,
    changed_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint one_email unique (tenant_id, email),
    constraint of_team foreign key (tenant_id, team) references app.teams on delete cascade
  );
  create index notes_by_body on app.notes (tenant_id, lower(body)) where number > 0;
  create table app.replies (
    tenant_id uuid, id integer, note bigint, primary key (tenant_id, id),
    constraint to_note foreign key (tenant_id, note) references app.notes
  );
  select lessor.protect('app.teams'), lessor.protect('app.notes', array['select', 'insert', 'update']),
    lessor.protect('app.replies');
  comment on table app.notes is 'what is noted';
  comment on column app.notes.body is 'the text';
  comment on index app.notes_by_body is 'for the search';
  comment on constraint one_email on app.notes is 'one each';
  create statistics app.notes_known on tenant_id, team from app.notes;
  create view app.bodies with (security_invoker) as select id, body from app.notes;
  grant select on app.bodies to lessor_tenant;
  create function app.touch() returns trigger language plpgsql as
    $$ begin new.changed_at := '2001-01-01 00:00Z'; return new; end $$;
  create trigger touch before update on app.notes for each row execute function app.touch();
  create table public.audit (verb text);
  create function app.audit() returns trigger language plpgsql security definer as
    $$ begin insert into public.audit values (tg_op); return null; end $$;
  create trigger audit after insert or delete on app.notes for each row execute function app.audit();
  alter table app.notes disable trigger audit, alter column body set statistics 500, set (fillfactor = 90)`

async function prepared(t: Test, script = '') {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const placement = rolePlacement()
  await placement.prepare(admin)
  if (script !== '') await admin.script(script)
  return { url, admin, placement }
}

t.test('all that hangs on a table hangs on its parent when it is partitioned', async (t) => {
  const { url, admin, placement } = await prepared(t, RICH)
  const tenant = await provisionTenant(t, placement, admin)
  const db = await openTenant(t, url, placement, tenant)
  await admin.script('grant usage on sequence app.numbers, app.notes_place_seq to lessor_tenant')
  await db.query(sql`insert into teams (id) values (1)`)
  await db.query(sql`insert into notes (team, email, body) values (1, 'a@b', 'first')`)
  await db.query(sql`insert into replies (id, note) select 1, id from notes`)
  const looks = () =>
    admin.query(sql`
      select
        array(select conname || ' ' || pg_get_constraintdef(oid)
          from pg_constraint where conrelid = c.oid and contype <> 'n' order by 1)::text as constraints,
        array(select replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ')
          from pg_index where indrelid = c.oid order by 1)::text as indexes,
        array(select polname || pg_get_expr(polqual, polrelid) || pg_get_expr(polwithcheck, polrelid)
            || array(select pg_get_userbyid(role) from unnest(polroles) role order by 1)::text
          from pg_policy where polrelid = c.oid order by 1)::text as policies,
        array(select grantee::regrole::text || privilege_type
          from aclexplode(relacl) where grantee <> relowner order by 1)::text as grants,
        array(select pg_get_triggerdef(oid) || tgenabled::text
          from pg_trigger where tgrelid = c.oid and not tgisinternal order by 1)::text as triggers,
        array(select attname || ' ' || coalesce(col_description(c.oid, attnum), '') || attidentity::text
            || attgenerated::text || coalesce(
              (select pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = c.oid and adnum = attnum), '')
          from pg_attribute where attrelid = c.oid and attnum > 0 order by attnum)::text as columns,
        array(select conname || pg_get_constraintdef(oid) || convalidated::text
          from pg_constraint where confrelid = c.oid and conparentid = 0 order by 1)::text as referred,
        pg_get_userbyid(relowner) as owner, relrowsecurity, relforcerowsecurity,
        obj_description(c.oid, 'pg_class') as comment,
        obj_description('app.notes_by_body'::regclass, 'pg_class') as index_comment,
        (select obj_description(oid, 'pg_constraint') from pg_constraint where conrelid = c.oid and conname = 'one_email') as constraint_comment,
        pg_get_serial_sequence('app.notes', 'place') as owned
      from pg_class c where oid = 'app.notes'::regclass`)
  const [before] = await looks()
  await admin.script(`
    select lessor.partition('app.notes');
    alter table app.replies validate constraint to_note`)
  const [after] = await looks()
  t.strictSame(after, before)
  await admin.script(`select lessor.partition('app.notes')`)

  const [common] = await admin.query(sql`
    select relrowsecurity, relforcerowsecurity, relispartition,
      (select count(*)::integer from aclexplode(relacl) where grantee <> relowner) as grants
    from pg_class where oid = 'lessor_partitions.notes'::regclass`)
  t.strictSame(common, { relrowsecurity: true, relforcerowsecurity: true, relispartition: true, grants: 0 })
  await placement.check(db, tenant.id)
  await rejectsLike(t, db.query(sql`select * from lessor_partitions.notes`), { code: '42501' })

  await db.query(sql`insert into notes (team, email, body) values (1, 'c@d', 'second')`)
  sameRows(t, await db.query(sql`select id, body, number, place, double from notes order by id`), [
    { id: '1', body: 'first', number: 1, place: 1, double: 2 },
    { id: '2', body: 'second', number: 2, place: 2, double: 4 },
  ])
  like(t, await db.query(sql`select body from bodies order by id`), [{ body: 'first' }, { body: 'second' }])
  await rejectsLike(t, db.query(sql`insert into notes (team, email, body) values (1, 'a@b', 'third')`), {
    code: '23505',
  })
  await rejectsLike(t, db.query(sql`insert into notes (team, body) values (9, 'third')`), { code: '23503' })
  await rejectsLike(t, db.query(sql`insert into replies (id, note) values (2, 99)`), { code: '23503' })
  await rejectsLike(t, db.query(sql`delete from notes`), { code: '42501' }, 'a verb that was not named')
  like(t, await db.query(sql`update notes set body = 'x' where id = 1 returning changed_at`), [
    { changed_at: new Date('2001-01-01T00:00:00Z') },
  ])
})

t.test('a table moves with its foreign keys, and triggers take that for no change', async (t) => {
  const { url, admin, placement } = await prepared(t, RICH)
  const [tenant, other] = [
    await provisionTenant(t, placement, admin),
    await provisionTenant(t, placement, admin),
  ]
  await admin.script('grant usage on sequence app.numbers, app.notes_place_seq to lessor_tenant')
  for (const each of [tenant, other]) {
    const db = await openTenant(t, url, placement, each)
    await db.query(sql`insert into teams (id) values (1)`)
    await db.query(sql`
      insert into notes (team, email, body) select 1, 'mail ' || i, 'body ' || i from generate_series(1, 50) i`)
    await db.query(sql`insert into replies (id, note) select id, id from notes`)
  }
  await admin.script(`
    alter table app.notes enable trigger audit;
    select lessor.partition('app.notes');
    alter table app.replies validate constraint to_note`)
  const id = sql`${tenant.id}::uuid`
  await admin.query(sql`select lessor.begin_move('app.notes', ${id})`)
  while (
    (await admin.query<{ more: boolean }>(sql`select lessor.copy_rows('app.notes', ${id}, 7) as more`))[0]
      ?.more
  ) {
    await admin.query(sql`
      update app.notes set email = 'swapped ' || email where tenant_id = ${id} and id % 5 = 0 and email not like 'swap%'`)
  }
  await admin.transaction(async (tx) => {
    await tx.query(sql`set transaction isolation level repeatable read`)
    await tx.query(sql`select lessor.apply_changes('app.notes', ${id}, true)`)
  })
  await admin.query(sql`select lessor.finish_move('app.notes', ${id})`)
  const where = () =>
    admin.query(sql`
      select tenant_id = ${id} as large, tableoid = lessor.partition_of('app.notes', ${id}) as own, count(*)::integer as count
      from app.notes group by 1, 2 order by 1`)
  sameRows(t, await where(), [
    { large: false, own: false, count: 50 },
    { large: true, own: true, count: 50 },
  ])
  sameRows(t, await admin.query(sql`select * from public.audit`), [])
  sameRows(t, await admin.query(sql`select count(*)::integer as count from app.replies`), [{ count: 100 }])
  const db = await openTenant(t, url, placement, tenant)
  await rejectsLike(t, db.query(sql`insert into replies (id, note) values (999, 9999)`), { code: '23503' })

  await admin.query(sql`select lessor.return_rows('app.notes', ${id}, 50)`)
  sameRows(t, await where(), [
    { large: false, own: null, count: 50 },
    { large: true, own: null, count: 50 },
  ])
  sameRows(t, await admin.query(sql`select * from public.audit`), [])
  await db.query(sql`insert into notes (team, email, body) values (1, 'the last', 'x')`)
  sameRows(t, await admin.query(sql`select verb from public.audit`), [{ verb: 'INSERT' }])
})

t.test('a copy that differs is not put in the place of the rows', async (t) => {
  const { url, admin, placement } = await prepared(t)
  const tenant = await provisionTenant(t, placement, admin)
  const db = await openTenant(t, url, placement, tenant)
  await db.query(sql`insert into users (first_name, last_name) select 'A', 'B' from generate_series(1, 10)`)
  await admin.script(`select lessor.partition('app.users')`)
  const id = sql`${tenant.id}::uuid`
  const [named] = await admin.query<{ leaf: string }>(
    sql`select lessor.partition_name('app.users', ${id}) as leaf`,
  )
  const compare = () =>
    admin.transaction(async (tx) => {
      await tx.query(sql`set transaction isolation level repeatable read`)
      await tx.query(sql`select lessor.apply_changes('app.users', ${id}, true)`)
    })
  for (const damage of [
    `update ${named?.leaf} set first_name = 'Z' where ctid = '(0,1)'`,
    `delete from ${named?.leaf} where ctid = '(0,1)'`,
  ]) {
    await admin.query(sql`select lessor.begin_move('app.users', ${id})`)
    await admin.query(sql`select lessor.copy_rows('app.users', ${id}, 100)`)
    await t.resolves(compare())
    await admin.script(damage)
    await rejectsLike(
      t,
      compare(),
      { code: '23000', message: /are (10|9) in its partition, or differ/ },
      damage,
    )
  }
  await rejectsLike(t, admin.query(sql`select lessor.finish_move('app.users', ${id})`), { code: '23000' })
  await rejectsLike(t, admin.query(sql`select lessor.apply_changes('app.users', ${id})`), { code: '25001' })
  sameRows(t, await db.query(sql`select count(*)::integer as count from users`), [{ count: 10 }])
  // A change that was noted and not applied keeps the switch from happening as well.
  await admin.query(sql`select lessor.begin_move('app.users', ${id})`)
  await admin.query(sql`select lessor.copy_rows('app.users', ${id}, 100)`)
  await db.query(sql`update users set first_name = 'C'`)
  await rejectsLike(t, admin.query(sql`select lessor.finish_move('app.users', ${id})`), { code: '23000' })
  await admin.query(sql`select lessor.abandon_move('app.users', ${id})`)
  sameRows(
    t,
    await admin.query(sql`
      select relname from pg_class where relnamespace = 'lessor_partitions'::regnamespace and relkind = 'r'`),
    [{ relname: 'users' }],
  )
})

t.test('who comes to read while the switch is not committed yet finds every row', async (t) => {
  const { url, admin, placement } = await prepared(t)
  const tenant = await provisionTenant(t, placement, admin)
  const db = await openTenant(t, url, placement, tenant)
  await db.query(sql`insert into users (first_name, last_name) select 'A', 'B' from generate_series(1, 10)`)
  await admin.script(`select lessor.partition('app.users')`)
  const count = sql`select count(*)::integer as count from users where tenant_id = ${tenant.id}::uuid`
  sameRows(t, await db.query(count), [{ count: 10 }])
  const id = sql`${tenant.id}::uuid`
  await admin.query(sql`select lessor.begin_move('app.users', ${id})`)
  await admin.query(sql`select lessor.copy_rows('app.users', ${id}, 100)`)
  const { reading } = await admin.transaction(async (tx) => {
    const [locks] = await tx.query<{ script: string }>(sql`select lessor.switch_locks('app.users') as script`)
    await tx.script(locks?.script ?? '')
    sameRows(t, await db.query(count), [{ count: 10 }], 'writers wait, readers do not')
    await tx.query(sql`select lessor.finish_move('app.users', ${id})`)
    const reading = db.query(count)
    const waits = sql`select 1 from pg_locks where not granted and pid in (
      select pid from pg_stat_activity where usename like 't__' || replace(${tenant.id}, '-', ''))`
    while ((await admin.query(waits)).length === 0) await new Promise(setImmediate)
    // Not awaited: it waits for the commit.
    return { reading }
  })
  sameRows(t, await reading, [{ count: 10 }])
})

t.test('a partition with rows is not dropped', async (t) => {
  const { url, admin, placement } = await prepared(t)
  const tenant = await provisionTenant(t, placement, admin)
  const db = await openTenant(t, url, placement, tenant)
  await db.query(sql`insert into users (first_name, last_name) values ('A', 'B')`)
  await admin.script(`select lessor.partition('app.users')`)
  const id = sql`${tenant.id}::uuid`
  await admin.query(sql`select lessor.begin_move('app.users', ${id})`)
  await admin.query(sql`select lessor.copy_rows('app.users', ${id}, 10)`)
  await admin.query(sql`select lessor.finish_move('app.users', ${id})`)
  const drop = sql`select lessor.drop_partition('app.users', ${id})`
  await rejectsLike(t, admin.query(drop), { code: '55000', message: /still holds rows/ })
  await db.query(sql`delete from users`)
  await admin.query(drop)
  sameRows(t, await admin.query(sql`select lessor.partition_of('app.users', ${id}) as own`), [{ own: null }])
})

t.test('a table that cannot be partitioned is refused, saying why', async (t) => {
  const { admin } = await prepared(
    t,
    'create table app.parents (tenant_id uuid, id int, primary key (tenant_id, id)); select lessor.protect($$app.parents$$)',
  )
  const table = (columns: string, more = '') =>
    `create table app.bad (tenant_id uuid, id integer, ${columns} primary key (tenant_id, id)); select lessor.protect('app.bad'); ${more}`
  for (const { script, why } of [
    { script: 'create table app.bad (id integer primary key)', why: /it has no column tenant_id/ },
    {
      script: 'create table app.bad (tenant_id uuid, id integer, primary key (tenant_id, id))',
      why: /lessor.protect has not been called/,
    },
    {
      script: table('', 'create materialized view public.seen as select * from app.bad'),
      why: /materialized view public\.seen depends on it/,
    },
    {
      script: table('', 'create function public.of(app.bad) returns int language sql return 1'),
      why: /function public\.of\(app\.bad\) depends on it/,
    },
    {
      script: table('', 'create rule no as on delete to app.bad do instead nothing'),
      why: /rule no on table app\.bad depends on it/,
    },
    {
      script: table('', 'create publication news for table app.bad'),
      why: /publication news depends on it|publication of table app\.bad in publication news depends on it/,
    },
    { script: table('', 'grant select (id) on app.bad to lessor_tenant'), why: /grants on its column id/ },
    {
      script: table('', 'alter table app.bad replica identity full'),
      why: /replica identity is not the default/,
    },
    {
      script: table('parent integer, foreign key (tenant_id, parent) references app.bad,'),
      why: /foreign key bad_tenant_id_parent_fkey refers to the table itself/,
    },
    {
      script: table(
        'parent integer,',
        'alter table app.bad add foreign key (tenant_id, parent) references app.parents not valid',
      ),
      why: /constraint bad_tenant_id_parent_fkey is not valid/,
    },
    {
      script: table(
        '',
        `create function app.f() returns trigger language plpgsql as 'begin return null; end';
        create trigger each after insert on app.bad referencing new table as fresh for each row execute function app.f()`,
      ),
      why: /trigger each has transition tables/,
    },
    {
      script: table(
        '',
        `create function app.f() returns trigger language plpgsql as 'begin return null; end';
        create constraint trigger late after insert on app.bad for each row execute function app.f()`,
      ),
      why: /constraint trigger late cannot be/,
    },
    {
      script: table('email text, unique (tenant_id, email) deferrable,'),
      why: /constraint bad_tenant_id_email_key can be deferred/,
    },
    {
      script: `create table app.bad (tenant_id uuid, id integer, primary key (tenant_id, id)) partition by hash (tenant_id);
        select lessor.protect('app.bad')`,
      why: /partitioned in another way/,
    },
    {
      script: `create unlogged table app.bad (tenant_id uuid, id int, primary key (tenant_id, id)); select lessor.protect('app.bad')`,
      why: /not a permanent table/,
    },
  ]) {
    await admin
      .transaction(async (tx) => {
        await tx.script(script)
        const rejected: Statement = sql`select lessor.partition('app.bad')`
        await rejectsLike(
          t,
          tx.transaction((inner) => inner.query(rejected)),
          { code: '42P16', message: why },
          script,
        )
        throw new Undone()
      })
      .catch((error: unknown) => {
        if (!(error instanceof Undone)) throw error
      })
  }
})

class Undone extends Error {}
