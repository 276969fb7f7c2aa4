import { randomUUID } from 'node:crypto'
import t from 'tap'
import { type Db, type Statement, sql } from '../../src/pool/statement.ts'
import type { UserListRequest } from '../../src/users/user.ts'
import { userListStatement } from '../../src/users/user-store.ts'
import { testDatabase } from '../support/database.ts'
import { includes, sameRows } from '../support/like.ts'
import { openAdmin, openTenant, provisionTenant, rolePlacement } from './support.ts'

const PARTITIONS = 500
/** The best of so many runs counts: a machine that is busy may make any of them slow. */
const RUNS = 20

interface Plan {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Cond'?: string
  readonly Plans?: readonly Plan[]
}

interface Explained {
  readonly Plan: Plan
  readonly 'Planning Time': number
}

const FIRST_PAGE: UserListRequest = {
  search: null,
  searchColumns: ['first_name', 'last_name'],
  confirmed: null,
  createdFrom: null,
  createdBefore: null,
  sortColumn: 'created_at',
  sortDirection: 'descending',
  page: 1,
  pageSize: 20,
}

async function explain(db: Db, statement: Statement): Promise<Explained> {
  const [row] = await db.query<{ 'QUERY PLAN': readonly Explained[] | string }>(
    sql`explain (format json, summary) ${statement}`,
  )
  const plan = row?.['QUERY PLAN'] ?? '[]'
  const [explained] = typeof plan === 'string' ? JSON.parse(plan) : plan
  return explained
}

function nodes(plan: Plan): readonly Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodes)]
}

t.test(`with ${PARTITIONS} partitions a statement is planned for its tenant's alone`, async (t) => {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const placement = rolePlacement()
  await placement.prepare(admin)
  const promoted = await provisionTenant(t, placement, admin)
  const common = await provisionTenant(t, placement, admin)
  await admin.script(`select lessor.partition('app.users')`)
  await admin.query(sql`
    select lessor.begin_move('app.users', ${promoted.id}::uuid), lessor.abandon_move('app.users', ${randomUUID()}::uuid)`)
  await admin.script(`
    do $$
    declare own text := lessor.partition_name('app.users', '${promoted.id}');
    begin
      execute format('alter table app.users attach partition %s for values in (%L)', own, '${promoted.id}');
      for i in 2..${PARTITIONS} loop
        execute format('create table lessor_partitions.other_%s partition of app.users for values in (%L)',
          i, gen_random_uuid());
      end loop;
    end $$`)
  for (const tenant of [promoted, common]) {
    const db = await openTenant(t, url, placement, tenant)
    await db.query(sql`
      insert into users (first_name, last_name) select 'name ' || i, 'x' from generate_series(1, 2000) i`)
  }
  await admin.script('analyze app.users')
  const [own] = await admin.query<{ name: string }>(sql`
    select relname as name from pg_class where oid = lessor.partition_of('app.users', ${promoted.id}::uuid)`)

  for (const { tenant, relation } of [
    { tenant: promoted, relation: own?.name },
    { tenant: common, relation: 'users' },
  ]) {
    const db = await openTenant(t, url, placement, tenant)
    const statements = {
      'by id': sql`select * from users where tenant_id = ${tenant.id}::uuid and id = ${randomUUID()}::uuid`,
      'first page': userListStatement(tenant.id, FIRST_PAGE),
      update: sql`
        update users set confirmed = true where tenant_id = ${tenant.id}::uuid and id = ${randomUUID()}::uuid`,
      delete: sql`delete from users where tenant_id = ${tenant.id}::uuid and id = ${randomUUID()}::uuid`,
    }
    for (const [name, statement] of Object.entries(statements)) {
      let best = Number.POSITIVE_INFINITY
      for (let run = 0; run < RUNS; run++) {
        const explained = await explain(db, statement)
        best = Math.min(best, explained['Planning Time'])
        if (run > 0) continue
        const all = nodes(explained.Plan)
        const relations = [...new Set(all.flatMap((node) => node['Relation Name'] ?? []))]
        t.strictSame(
          // What is written is named by the parent as well.
          relations.filter((each) => each !== 'users' || relation === 'users'),
          [relation],
          `${name}: no other partition is touched`,
        )
        const scans = all.filter(
          (node) => /Index/.test(node['Node Type']) && node['Index Cond'] !== undefined,
        )
        t.ok(scans.length > 0, `${name}: an index is used`)
        for (const scan of scans) {
          includes(t, scan['Index Cond'], `tenant_id = '${tenant.id}'::uuid`, `${name}: ${scan['Node Type']}`)
        }
        t.notOk(
          all.some((node) => node['Node Type'] === 'Append'),
          `${name}: the plan knows the partition`,
        )
      }
      t.ok(best < 1, `${name}: planned in ${best} ms`)
    }
  }

  const db = await openTenant(t, url, placement, common)
  sameRows(
    t,
    await db.query(sql`select current_setting('plan_cache_mode') as mode`),
    [{ mode: 'force_custom_plan' }],
    'no statement is planned for all partitions at once',
  )
  for (let run = 0; run < 8; run++) {
    await db.query(sql`select count(*) from users where tenant_id = ${common.id}::uuid`)
  }
  sameRows(
    t,
    await db.query(sql`
      select generic_plans::integer as generic, custom_plans::integer as custom from pg_prepared_statements
      where statement like 'select count(*) from users %'`),
    [{ generic: 0, custom: 8 }],
  )
})
