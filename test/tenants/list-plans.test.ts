import t from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { countTenants } from '../../src/tenants/count-store.ts'
import { listTenants, type TenantFilter } from '../../src/tenants/tenant-store.ts'
import { testDatabase } from '../support/database.ts'

const TENANTS = 20_000

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly 'Actual Rows': number
  readonly Plans?: readonly PlanNode[]
}

/** Explains what it is asked instead of answering. */
class Explainer implements Db {
  readonly #db: Db
  plan: PlanNode | undefined

  constructor(db: Db) {
    this.#db = db
  }

  async query<Row extends object>(statement: Parameters<Db['query']>[0]): Promise<readonly Row[]> {
    const [row] = await this.#db.query<{ 'QUERY PLAN': readonly [{ Plan: PlanNode }] }>(
      sql`explain (analyze, format json) ${statement}`,
    )
    this.plan = row?.['QUERY PLAN'][0].Plan
    return []
  }

  transaction(): never {
    throw new Error('bug: a list is one statement')
  }
}

function flat(node: PlanNode): readonly PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flat)]
}

t.test('no list and no count reads all tenants', async (t) => {
  const { url } = await testDatabase(t, { template: 'control' })
  const db = new ControlDatabase({ url })
  t.teardown(() => db.close())
  await db.query(sql`
    insert into lessor.servers (name, host, port, database, tls) values ('default', '127.0.0.1', 1, 'none', 'disable')
    on conflict do nothing`)
  await db.query(sql`insert into lessor.namespaces (name, name_key) values ('small', 'small')`)
  // A namespace whose few tenants are the oldest, many that live, and as many tombstones on top.
  await db.query(sql`
    insert into lessor.tenants (id, namespace_id, name, name_key, placement, server, status, created_at)
    select gen_random_uuid(), n.id, 'tenant ' || i, 'tenant ' || i, 'row', 'default',
      case when i > ${TENANTS / 2}::integer then 'deleted' when i % 1000 = 0 then 'suspended' else 'active' end,
      now() + (i / 100) * interval '1 second'
    from generate_series(1, ${TENANTS}::integer) i
    join lessor.namespaces n on n.name = case when i <= 30 then 'small' else 'default' end`)
  await db.query(sql`analyze lessor.tenants`)
  const [row] = await db.query<{ small: string; position: string; id: string }>(sql`
    select (select id from lessor.namespaces where name = 'small') as small, id,
      (extract(epoch from created_at) * 1000000)::bigint::text as position
    from lessor.tenants where name = 'tenant 5000'`)
  if (row === undefined) throw new Error('the tenants are not there')

  const all = { namespaceId: undefined, status: undefined, nameKey: undefined, limit: 21, after: undefined }
  const lists: readonly (readonly [Partial<TenantFilter>, index: string])[] = [
    [{}, 'tenants_listed'],
    [{ after: [row.position, row.id] }, 'tenants_listed'],
    [{ status: 'active' }, 'tenants_listed'],
    [{ namespaceId: row.small }, 'tenants_of_namespace'],
    [{ status: 'suspended' }, 'tenants_not_active'],
    [{ status: 'deleted' }, 'tenants_not_active'],
    [{ status: 'provisioning' }, 'tenants_not_active'],
    [{ nameKey: 'tenant 77' }, 'tenants_name_key'],
    [{ nameKey: 'tenant 7', namespaceId: row.small }, 'tenants_name_key'],
  ]
  for (const [filter, index] of lists) {
    const what = JSON.stringify(filter)
    const explainer = new Explainer(db)
    await listTenants(explainer, { ...all, ...filter })
    const nodes = explainer.plan === undefined ? [] : flat(explainer.plan)
    const used = nodes.flatMap((node) =>
      node['Relation Name'] === 'tenants' ? (node['Index Name'] ?? 'none') : [],
    )
    t.strictSame(used, [index], what)
    t.ok(Math.max(...nodes.map((node) => node['Actual Rows'])) <= 40, `${what}: as many rows as a page has`)
  }

  const counts = new Explainer(db)
  await countTenants(counts)
  t.strictSame(counts.plan && flat(counts.plan).flatMap((node) => node['Relation Name'] ?? []), [
    'tenant_counts',
  ])
})
