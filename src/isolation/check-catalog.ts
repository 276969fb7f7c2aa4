import { type Db, type Statement, sql } from '../pool/statement.ts'
import { FUNCTION_NOTICES, FUNCTION_RULES } from './function-rules.ts'
import { rightRules } from './right-rules.ts'
import { ROLE_RULES } from './role-rules.ts'
import type { BrokenRule, Rule } from './rule.ts'
import { STATISTICS_NOTICES } from './statistics-rules.ts'
import { tableRules } from './table-rules.ts'

/** catalogRules is every rule over a catalog, with the own tables of the tenants in `own`, by the digits of their ids. */
export function catalogRules(own: readonly string[]): readonly Rule[] {
  return [...tableRules(own), ...rightRules(own), ...FUNCTION_RULES, ...ROLE_RULES]
}

/** CatalogReport is what the catalog of one database says. */
export interface CatalogReport {
  readonly server: string
  readonly database: string
  /** Number of rules that were looked at. */
  readonly rules: number
  readonly broken: readonly BrokenRule[]
  /** What PostgreSQL or this administrator gives no wall against, a sentence each. */
  readonly notices: readonly string[]
}

/**
 * checkCatalog asks the catalog of one database whether every rule holds, by statements that read system
 * catalogs; no table of the application is touched. `db` is any login that may read pg_policy.
 * @throws what `db.query` throws
 */
export async function checkCatalog(
  db: Db,
  server: string,
  own: readonly string[] = [],
): Promise<CatalogReport> {
  const [here] = await db.query<{ database: string }>(sql`select current_database() as database`)
  const database = here?.database ?? ''
  const rules = catalogRules(own)
  const rows = await db.query<Pick<BrokenRule, 'rule' | 'object' | 'problem'>>(allOf(rules))
  const broken = rows.map((row) => ({ server, database, ...row }))
  return { server, database, rules: rules.length, broken, notices: await readNotices(db) }
}

/** allOf asks for all of them at once, which costs a tenth of asking one by one. */
function allOf(rules: readonly Rule[]): Statement {
  return rules
    .map(
      ({ name, broken }) => sql`select ${name}::text as rule, object, problem from (${broken}) broken_rule`,
    )
    .reduce((all, each) => sql`${all} union all ${each}`)
}

async function readNotices(db: Db): Promise<readonly string[]> {
  const rows = await db.query<{ notice: string }>(NOTICES)
  return rows.map(({ notice }) => notice)
}

const NOTICES: Statement = sql`
  select format('everybody may connect to database %I of this server: a tenant’s login finds its catalog there, no tenant’s rows, and the functions that are closed here', datname) as notice
  from pg_database d
  where datallowconn and datname <> current_database() and datname !~ '^t_[0-9a-f]{32}$'
    and exists (select from aclexplode(coalesce(datacl, acldefault('d', datdba))) a
      where a.grantee = 0 and a.privilege_type = 'CONNECT')
  union all
  select format('%s has rights on %s: it is no tenant’s role, and row level security shows it no row unless it has BYPASSRLS',
    g.rolname, string_agg(distinct c.oid::regclass::text, ', '))
  from pg_class c join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'app'
  cross join lateral aclexplode(c.relacl) a join pg_roles g on g.oid = a.grantee
  where a.grantee <> c.relowner and g.rolname !~ '^(lessor_(tenant|row|keeper|ddl)|t[bgmcuo]_[0-9a-f]{32})'
  group by g.rolname
  union all
  ${FUNCTION_NOTICES}
  union all
  ${STATISTICS_NOTICES}`
