import { type Statement, sql } from '../../src/pool/statement.ts'
import type { UserListRequest } from '../../src/users/user.ts'
import { userListStatement } from '../../src/users/user-store.ts'
import type { ConnectionDb } from '../placement/support.ts'

/** FIRST_PAGE is what a caller gets who asks for nothing in particular. */
export const FIRST_PAGE: UserListRequest = {
  search: null,
  searchColumns: ['first_name', 'last_name'],
  confirmed: null,
  createdFrom: null,
  createdBefore: null,
  sortColumn: 'created_at',
  sortDirection: 'descending',
  page: 1,
  pageSize: 10,
}

/** REQUESTS are lists of every kind. */
export const REQUESTS: readonly UserListRequest[] = [
  FIRST_PAGE,
  { ...FIRST_PAGE, page: 2 },
  { ...FIRST_PAGE, search: 'a' },
  { ...FIRST_PAGE, search: 'a', searchColumns: ['last_name'] },
  { ...FIRST_PAGE, confirmed: true },
  { ...FIRST_PAGE, confirmed: false, createdFrom: new Date('2026-01-01T00:00:00Z') },
  { ...FIRST_PAGE, createdBefore: new Date('2026-01-02T00:00:00Z') },
]

/** Plan is a node of a plan, as EXPLAIN prints it. */
export interface Plan {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly 'Index Cond'?: string
  readonly Plans?: readonly Plan[]
}

/** planOf resolves with all nodes of a list's plan. */
export async function planOf(
  db: ConnectionDb,
  tenantId: string,
  request: UserListRequest,
): Promise<readonly Plan[]> {
  return explain(db, userListStatement(tenantId, request))
}

/** explain resolves with all nodes of a statement's plan. */
export async function explain(db: ConnectionDb, statement: Statement): Promise<readonly Plan[]> {
  const [row] = await db.query<{ 'QUERY PLAN': [{ Plan: Plan }] }>(sql`explain (format json) ${statement}`)
  const nodes: Plan[] = []
  const visit = (plan: Plan) => {
    nodes.push(plan)
    plan.Plans?.forEach(visit)
  }
  if (row !== undefined) visit(row['QUERY PLAN'][0].Plan)
  return nodes
}

/** scansOf are the nodes of plans that read the users' table or an index of it. */
export function scansOf(nodes: readonly Plan[]): readonly Plan[] {
  return nodes.filter((node) => node['Relation Name'] === 'users' || node['Index Name'])
}
