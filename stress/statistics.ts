// Measures what it costs that PostgreSQL keeps no values of shared tables' columns (npm run statistics): the same
// statements of the same tenants over tables that differ in nothing else, side by side in one run. Times are
// the server's own, as EXPLAIN ANALYZE gives them; each is the median of many runs that take turns.
import { parseArgs } from 'node:util'
import { statementOf } from '../src/isolation/session.ts'
import type { Db } from '../src/pool/statement.ts'
import {
  openAdmin,
  openTenant,
  type ProvisionedTenant,
  provisionTenant,
  rolePlacement,
} from '../test/placement/support.ts'
import { testDatabase } from '../test/support/database.ts'
import { saveResult } from './results.ts'

/** SIDES are the schemas of the tables: as before, as protect makes them, and so with one column named as no secret. */
const SIDES = ['with_statistics', 'app', 'status_named'] as const
type Side = (typeof SIDES)[number]

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '300000' },
    tenants: { type: 'string', default: '300' },
    runs: { type: 'string', default: '21' },
  },
})
const [ROWS, TENANTS, RUNS] = [Number(values.rows), Number(values.tenants), Number(values.runs)]

/** `#` is the tenant. Of a hundred people one is late, and all others have paid; each has two orders. */
const STATEMENTS = {
  'list, newest first': `select id, name from people where tenant_id = '#' order by created_at desc, id desc limit 20`,
  'by e-mail address': `select id, name from people where tenant_id = '#' and email = 'n77@example.com'`,
  'search by a prefix': `select id, name from people where tenant_id = '#' and lower(name) like 'n77%' order by created_at desc limit 20`,
  'a frequent status, newest first': `select id from people where tenant_id = '#' and status = 'paid' order by created_at desc limit 20`,
  'a rare status, newest first': `select id from people where tenant_id = '#' and status = 'late' order by created_at desc limit 20`,
  'count by a status': `select count(*) from people where tenant_id = '#' and status = 'late'`,
  'a range, counted': `select count(*) from people where tenant_id = '#' and created_at > now() - interval '1 day'`,
  'a join from one row': `select count(*) from people p join orders o on o.tenant_id = p.tenant_id and o.person = p.id where p.tenant_id = '#' and p.email = 'n77@example.com'`,
  'a join from a rare status': `select count(*), sum(o.total) from people p join orders o on o.tenant_id = p.tenant_id and o.person = p.id where p.tenant_id = '#' and p.status = 'late'`,
  'a join of all': `select count(*), sum(o.total) from people p join orders o on o.tenant_id = p.tenant_id and o.person = p.id where p.tenant_id = '#'`,
  'groups of a status': `select status, count(*) from people where tenant_id = '#' group by status`,
} as const

process.exitCode = await main()

async function main(): Promise<number> {
  await using resources = new AsyncDisposableStack()
  const scope = { teardown: (fn: () => unknown) => resources.defer(async () => void (await fn())) }
  const { url } = await testDatabase(scope)
  const admin = openAdmin(scope, url)
  const placement = rolePlacement()
  await placement.prepare(admin)
  const parties = {
    'large (a tenth of all rows)': await provisionTenant(scope, placement, admin),
    'one of many': await provisionTenant(scope, placement, admin),
  }
  const [large, small] = Object.values(parties)
  if (large === undefined || small === undefined) throw new Error('bug: there are two tenants')
  await admin.script('set statement_timeout = 0')
  for (const side of SIDES) await fill(admin, side, large, small)

  const rows: { statement: string; tenant: string; ms: Record<Side, number> }[] = []
  for (const [name, tenant] of Object.entries(parties)) {
    const sessions = {
      with_statistics: await openTenant(scope, url, placement, tenant, { search_path: 'with_statistics' }),
      app: await openTenant(scope, url, placement, tenant, { search_path: 'app' }),
      status_named: await openTenant(scope, url, placement, tenant, { search_path: 'status_named' }),
    }
    for (const [statement, text] of Object.entries(STATEMENTS)) {
      const times: Record<Side, number[]> = { with_statistics: [], app: [], status_named: [] }
      for (let run = 0; run <= RUNS; run++) {
        for (const side of run % 2 === 0 ? SIDES : SIDES.toReversed()) {
          const ms = await timeOf(sessions[side], text.replaceAll('#', tenant.id))
          // The first reads what the others find in memory.
          if (run > 0) times[side].push(ms)
        }
      }
      const ms = {
        with_statistics: median(times.with_statistics),
        app: median(times.app),
        status_named: median(times.status_named),
      }
      rows.push({ statement, tenant: name, ms })
    }
  }
  console.log('| statement | tenant | with, ms | without | status named |')
  console.log('| --- | --- | --- | --- | --- |')
  for (const { statement, tenant, ms } of rows)
    console.log(
      `| ${statement} | ${tenant} | ${ms.with_statistics.toFixed(2)} | ${(ms.app / ms.with_statistics).toFixed(2)} | ${(ms.status_named / ms.with_statistics).toFixed(2)} |`,
    )
  console.log(
    await saveResult('statistics', { rows: ROWS, tenants: TENANTS, runs: RUNS, measurements: rows }),
  )
  return 0
}

/** fill makes the tables of a side; those of all lie in one database, with the same rows. */
async function fill(
  admin: Db & { script(text: string): Promise<void> },
  side: Side,
  large: ProvisionedTenant,
  small: ProvisionedTenant,
): Promise<void> {
  if (side !== 'app')
    await admin.script(`
      create schema ${side} authorization lessor_owner;
      grant usage on schema ${side} to lessor_tenant`)
  // A tenth of all rows is the large tenant's, the rest are spread evenly.
  const tenant = `case when i % 10 = 0 then '${large.id}'::uuid when i % ${TENANTS} = 1 then '${small.id}'::uuid
    else ('00000000-0000-4000-8000-' || lpad((i % ${TENANTS})::text, 12, '0'))::uuid end`
  await admin.script(`
    set search_path = ${side};
    create table people (
      tenant_id uuid, id bigint, name text not null, email text not null, status text not null,
      created_at timestamptz not null, primary key (tenant_id, id), unique (tenant_id, email)
    );
    create index on people (tenant_id, created_at, id);
    create index on people (tenant_id, status);
    create index on people (tenant_id, lower(name) text_pattern_ops);
    create table orders (
      tenant_id uuid, id bigint, person bigint not null, total numeric not null, primary key (tenant_id, id),
      foreign key (tenant_id, person) references people
    );
    create index on orders (tenant_id, person);
    select lessor.protect('people'), lessor.protect('orders');
    insert into people
    select ${tenant}, i, 'N' || i / 10, 'n' || i / 10 || '@example.com', case when i % 97 = 1 then 'late' else 'paid' end,
      now() - i * interval '1 minute'
    from generate_series(1, ${ROWS}) i on conflict do nothing;
    insert into orders select tenant_id, id * 2 + n, id, id % 100 from people, generate_series(0, 1) n;
    reset search_path`)
  if (side === 'status_named')
    await admin.script(`select lessor.tenant_statistics('${side}.people', array['status'])`)
  if (side === 'with_statistics') {
    for (const column of ['id', 'name', 'email', 'status', 'created_at'])
      await admin.query(statementOf(`alter table ${side}.people alter column ${column} set statistics -1`))
    for (const column of ['id', 'person', 'total'])
      await admin.query(statementOf(`alter table ${side}.orders alter column ${column} set statistics -1`))
  }
  for (const table of ['people', 'orders'])
    await admin.query(statementOf(`vacuum (analyze) ${side}.${table}`))
}

async function timeOf(db: Db, text: string): Promise<number> {
  const [row] = await db.query<{
    'QUERY PLAN': readonly { 'Planning Time': number; 'Execution Time': number }[]
  }>(statementOf(`explain (analyze, timing off, format json) ${text}`))
  const [plan] = row?.['QUERY PLAN'] ?? []
  if (plan === undefined) throw new Error('bug: EXPLAIN gives a plan')
  return plan['Planning Time'] + plan['Execution Time']
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN
}
