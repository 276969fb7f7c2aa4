import t, { type Test } from 'tap'
import { type Db, type Statement, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { includes, like, rejectsLike, sameRows } from '../support/like.ts'
import { appFiles, ownPlacement } from './own-support.ts'
import { openAdmin, openTenant, provisionTenant, rolePlacement } from './support.ts'

const ENUMERATED = `
  create table app.notes (
    tenant_id uuid, id bigint generated always as identity, kind text, colour text,
    primary key (tenant_id, id)
  );
  create index notes_by_kind on app.notes (tenant_id, kind);
  select lessor.protect('app.notes')`

async function prepared(t: Test) {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const placement = rolePlacement()
  await placement.prepare(admin)
  await admin.script(ENUMERATED)
  const estimate = async (statement: Statement) => {
    const [row] = await admin.query<{ 'QUERY PLAN': [{ Plan: { 'Plan Rows': number } }] }>(
      sql`explain (format json) ${statement}`,
    )
    return row?.['QUERY PLAN'][0].Plan['Plan Rows'] ?? Number.NaN
  }
  return { url, admin, placement, estimate }
}

t.test('the planner knows what is frequent with a tenant', async (t) => {
  const { admin, estimate } = await prepared(t)
  // Of 50 tenants one has only notes of a kind that no other has.
  await admin.script(`
    insert into app.notes (tenant_id, kind)
    select ('00000000-0000-0000-0000-' || lpad((i % 50 + 1)::text, 12, '0'))::uuid,
      case when i % 50 = 7 then 'rare' else 'usual' end
    from generate_series(1, 20000) i;
    analyze app.notes`)
  const rare = sql`
    select * from app.notes where tenant_id = '00000000-0000-0000-0000-000000000008' and kind = 'rare'`
  const before = await estimate(rare)
  t.ok(before < 40, `without statistics it expects ${before} of 400`)
  await admin.script(`
    select lessor.tenant_statistics('app.notes', array['kind']), lessor.tenant_statistics('app.notes', array['kind']);
    analyze app.notes`)
  const after = await estimate(rare)
  t.ok(after > 300 && after < 500, `with them ${after}`)
  sameRows(
    t,
    await admin.query(sql`
      select attname as name, coalesce(attstattarget, -1)::integer as target from pg_attribute
      where attrelid = 'app.notes'::regclass and attnum > 0 order by attnum`),
    [
      { name: 'tenant_id', target: 1000 },
      { name: 'id', target: 0 },
      { name: 'kind', target: -1 },
      { name: 'colour', target: 0 },
    ],
  )
  sameRows(
    t,
    await admin.query(sql`
      select array(select attname from pg_attribute where attrelid = stxrelid and attnum = any (stxkeys::smallint[]) order by attnum)::text as columns,
        stxkind::text as kinds, pg_get_userbyid(stxowner) as owner
      from pg_statistic_ext`),
    [{ columns: '{tenant_id,kind}', kinds: '{d,f,m}', owner: 'lessor_owner' }],
    'once, for the column that was named',
  )
})

t.test('columns can be named, and every partition has the same statistics', async (t) => {
  const { admin, placement } = await prepared(t)
  const tenant = await provisionTenant(t, placement, admin)
  await admin.script(`
    select lessor.tenant_statistics('app.notes', array['colour'], 50);
    select lessor.partition('app.notes')`)
  await admin.query(sql`select lessor.begin_move('app.notes', ${tenant.id}::uuid)`)
  await admin.script(`select lessor.tenant_statistics('app.notes', array['colour', 'kind'], 60)`)
  const tables = await admin.query(sql`
    select stxrelid::regclass = 'lessor_partitions.notes'::regclass as common, count(*)::integer as count
    from pg_statistic_ext group by 1 order by 1`)
  sameRows(t, tables, [
    { common: false, count: 1 },
    { common: true, count: 2 },
  ])
})

t.test('columns of an index are not named by themselves', async (t) => {
  const { admin } = await prepared(t)
  await admin.script(`select lessor.tenant_statistics('app.notes')`)
  t.equal((await admin.query(sql`select from pg_statistic_ext`)).length, 0)
  t.strictSame(await shown(admin), [])
})

t.test(
  'what was named stays so, through a partition and another protect, until it is taken back',
  async (t) => {
    const { admin, placement } = await prepared(t)
    const tenant = await provisionTenant(t, placement, admin)
    await admin.script(`
    create index on app.notes (tenant_id, lower(colour));
    select lessor.tenant_statistics('app.notes', array['kind', 'colour']), lessor.protect('app.notes');
    select lessor.partition('app.notes')`)
    await admin.query(sql`select lessor.begin_move('app.notes', ${tenant.id}::uuid)`)
    const expected = [
      { name: 'id', targets: '{0}' },
      { name: 'kind', targets: '{-1}' },
      { name: 'colour', targets: '{-1}' },
    ]
    sameRows(t, await targets(admin), expected, 'the parent and both partitions, as soon as they are there')
    t.strictSame(await expressionTargets(admin), [0, 0, 0])
    await admin.script(`select lessor.protect('app.notes')`)
    t.strictSame(await shown(admin), ['colour', 'kind'])
    sameRows(t, await targets(admin), expected)
    await admin.script(`select lessor.hide_statistics('app.notes', array['kind'])`)
    t.strictSame(await shown(admin), ['colour'])
  },
)

async function shown(admin: Db): Promise<readonly string[]> {
  const rows = await admin.query<{ name: string }>(
    sql`select name from lessor.shown_columns('app.notes') name order by 1`,
  )
  return rows.map(({ name }) => name)
}

/** targets is what the columns of a table, its default partition and a tenant's have, those that differ one by one. */
async function targets(admin: Db): Promise<readonly unknown[]> {
  const rows = await admin.query(sql`
    select attname as name, array_agg(distinct coalesce(attstattarget, -1)::integer)::text as targets
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relkind in ('r', 'p') and c.relname like 'notes%' and attnum > 0 and attname <> 'tenant_id'
    group by attname, attnum order by attnum`)
  return [...rows]
}

/** expressionTargets is what the expressions of indexes have, of a table, its default partition and a tenant's. */
async function expressionTargets(admin: Db): Promise<readonly number[]> {
  const rows = await admin.query<{ target: number }>(sql`
    select coalesce(a.attstattarget, -1)::integer as target
    from pg_index i join pg_class c on c.oid = i.indrelid join pg_attribute a on a.attrelid = i.indexrelid
    where c.relname like 'notes%' and i.indkey[a.attnum - 1] = 0`)
  return rows.map(({ target }) => target)
}

t.test("a tenant's login sees nothing of what was collected", async (t) => {
  const { url, admin, placement } = await prepared(t)
  const tenant = await provisionTenant(t, placement, admin)
  await admin.script(`
    select lessor.tenant_statistics('app.notes', array['kind', 'colour']);
    select lessor.partition('app.notes')`)
  await admin.query(sql`select lessor.begin_move('app.notes', ${tenant.id}::uuid)`)
  const db = await openTenant(t, url, placement, tenant)
  await db.query(sql`
    insert into notes (kind, colour) select 'secret ' || i % 3, 'colour ' || i % 3 from generate_series(1, 500) i`)
  await admin.script('analyze')
  const seen = (view: Statement) => sql`
    select count(*)::integer as count from ${view} s where s.schemaname in ('app', 'lessor_partitions')`
  const views = {
    pg_stats: sql`pg_stats`,
    pg_stats_ext: sql`pg_stats_ext`,
    pg_stats_ext_exprs: sql`pg_stats_ext_exprs`,
  }
  for (const [name, view] of Object.entries(views)) {
    sameRows(t, await db.query(seen(view)), [{ count: 0 }], `${name} is empty for the tenant`)
  }
  for (const view of [views.pg_stats, views.pg_stats_ext]) {
    const [row] = await admin.query<{ count: number }>(seen(view))
    t.ok((row?.count ?? 0) > 0, 'the administrator sees them')
  }
  for (const table of [sql`pg_statistic`, sql`pg_statistic_ext_data`]) {
    await rejectsLike(t, db.query(sql`select * from ${table}`), { code: '42501' })
  }
})

t.test('an ANALYZE policy follows the size of a table', async (t) => {
  const { admin } = await prepared(t)
  const options = async () => {
    const [row] = await admin.query<{ options: string }>(
      sql`select reloptions::text as options from pg_class where oid = 'app.notes'::regclass`,
    )
    return row?.options
  }
  for (const [rows, part] of [
    [50_000, '0.1'],
    [500_000, '0.05'],
    [5_000_000, '0.01'],
    [50_000_000, '0.002'],
  ] as const) {
    await admin.query(sql`update pg_class set reltuples = ${rows}::integer where oid = 'app.notes'::regclass`)
    await admin.script(`select lessor.analyze_policy('app.notes')`)
    includes(t, await options(), `autovacuum_analyze_scale_factor=${part}`, `${rows} rows`)
  }
  await admin.script(`select lessor.analyze_policy('app.notes', 0.3)`)
  includes(t, await options(), 'autovacuum_analyze_scale_factor=0.3')
  await admin.script(`select lessor.partition('app.notes'), lessor.analyze_policy('app.notes', 0.25)`)
  sameRows(
    t,
    await admin.query(
      sql`select reloptions::text as options from pg_class where oid = 'lessor_partitions.notes'::regclass`,
    ),
    [{ options: '{autovacuum_analyze_threshold=500,autovacuum_analyze_scale_factor=0.25}' }],
    'of a parent it is for the partitions',
  )
})

t.test('what is due for ANALYZE is told, with the reason', async (t) => {
  const { admin } = await prepared(t)
  const state = async () => {
    // Counters of a session reach the others when it is idle; this shows them at once.
    await admin.query(sql`select pg_stat_force_next_flush()`)
    return admin.query<{ name: string; isDue: boolean; reason: string | null }>(sql`
      select name::text, is_due as "isDue", reason from lessor.analyze_state() where name = 'app.notes'::regclass`)
  }
  const insert = (count: number) =>
    admin.transaction(async (tx) => {
      await tx.query(sql`
        insert into app.notes (tenant_id, kind)
        select gen_random_uuid(), 'x' from generate_series(1, ${count}::integer)`)
      await tx.query(sql`select pg_stat_force_next_flush()`)
    })
  await admin.script(`
    alter table app.notes set (autovacuum_enabled = false);
    select lessor.analyze_policy('app.notes')`)
  sameRows(t, await state(), [{ name: 'app.notes', isDue: false, reason: null }], 'an empty table is not')
  await insert(100)
  like(t, await state(), [{ isDue: true, reason: 'it was never analyzed' }])
  await admin.script('analyze app.notes')
  like(t, await state(), [{ isDue: false, reason: null }])
  await insert(600)
  like(t, await state(), [{ isDue: true, reason: 'more rows have changed than its policy allows' }])
  await admin.script(`analyze app.notes; select lessor.partition('app.notes')`)
  like(t, await state(), [{ isDue: true, reason: 'it was never analyzed' }], 'nobody analyzes a parent')
  await admin.script('analyze app.notes')
  like(t, await state(), [{ isDue: false, reason: null }])
})

t.test('what makes no sense is refused', async (t) => {
  const { admin } = await prepared(t)
  await admin.script('create table app.bare (tenant_id uuid, id integer, primary key (tenant_id, id))')
  for (const [statement, code, message] of [
    [sql`select lessor.tenant_statistics('app.bare')`, '42P16', /is not shared between tenants/],
    [sql`select lessor.hide_statistics('app.bare')`, '42P16', /is not shared between tenants/],
    [
      sql`select lessor.tenant_statistics('app.notes', array['size'])`,
      '42703',
      /app\.notes has no column size/,
    ],
    [sql`select lessor.tenant_statistics('app.notes', array['tenant_id'])`, '42703', /no column tenant_id/],
    [sql`select lessor.tenant_statistics('app.notes', null, 0)`, '22023', /from 1 to 10000, not 0/],
    [sql`select lessor.analyze_policy('app.notes', 0)`, '22023', /part must be above 0/],
    [sql`select lessor.analyze_policy('app.notes', 1.5)`, '22023', /part must be above 0/],
  ] as const) {
    await rejectsLike(t, admin.query(statement), { code, message })
  }
})

for (const name of ['schema', 'database'] as const) {
  t.test(`${name}: the same file runs over a tenant's own tables, which keep their statistics`, async (t) => {
    const { url } = await testDatabase(t)
    const admin = openAdmin(t, url)
    const placement = ownPlacement(
      name,
      await appFiles(t, {
        '000001-notes.sql': `
          create table notes (tenant_id uuid, id integer, kind text, primary key (tenant_id, id));
          select lessor.protect('notes'), lessor.tenant_statistics('notes', array['kind']),
            lessor.hide_statistics('notes', array['kind'])`,
      }),
    )
    await placement.prepare(admin)
    const tenant = await provisionTenant(t, placement, admin)
    await placement.migrate(admin, tenant.id, { lockTimeoutMs: 0 })
    const db = await openTenant(t, url, placement, tenant)
    const hidden = await db.query(sql`
      select attname from pg_attribute where attrelid = 'notes'::regclass and attstattarget >= 0 and attnum > 0`)
    t.equal(hidden.length, 0)
  })
}
