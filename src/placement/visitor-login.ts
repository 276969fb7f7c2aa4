import { randomBytes } from 'node:crypto'
import { type ScriptDb, sql } from '../pool/statement.ts'
import { TENANTS } from './group-roles.ts'
import type { AdminDb, Placement, RoleLimits } from './placement.ts'
import { dropLogin, ensureLogin } from './tenant-logins.ts'
import { canonical, hexOf, userName } from './tenant-names.ts'

/** Sessions of one visitor: psql's own, and one for what it starts. */
const CONNECTIONS = 2

/** VisitorRequest is a login for a person, for a while. */
export interface VisitorRequest {
  /** Made by {@link visitorName}. */
  readonly role: string
  readonly tenantId: string
  /** SCRAM-SHA-256 verifier. */
  readonly verifier: string
  readonly limits: RoleLimits
  /** Nobody can log in by it any more from then on; a session that is open goes on. */
  readonly validUntil: Date
  readonly writes: boolean
}

/**
 * visitorName makes up a name, `tc_<8 hex digits>_<32 hex digits>`. It ends in the tenant's id, since that
 * is what the policies on shared tables compare with a row's, for the tenants of placement `row` as well.
 */
export function visitorName(tenantId: string): string {
  return `tc_${randomBytes(4).toString('hex')}_${hexOf(tenantId)}`
}

/**
 * makeVisitor makes the login, with what the tenant's own logins may do. Without `writes` its transactions
 * begin read only, which guards against slips: a session can change that.
 * @throws TypeError when `verifier` is not a SCRAM verifier
 */
export async function makeVisitor(
  admin: ScriptDb,
  placement: Placement,
  { role, tenantId, verifier, limits, validUntil, writes }: VisitorRequest,
): Promise<void> {
  const id = canonical(tenantId)
  const { search_path: searchPath = '' } = placement.login(id, 'blue').parameters
  const group = placement.hasOwnTables ? userName(id) : TENANTS
  await admin.transaction(async (tx) => {
    const login = { name: role, tenantId: id, group, searchPath }
    await ensureLogin(tx, login, { verifier, limits: { ...limits, connectionLimit: CONNECTIONS } })
    const [row] = await tx.query<{ script: string }>(sql`
      select concat_ws(E';\n',
        format('alter role %I valid until %L', role, ${validUntil}::timestamptz),
        format('alter role %I set default_transaction_read_only = %s', role, ${writes ? 'off' : 'on'}::text)
      ) as script
      from (select ${role}::text as role) visitor`)
    await tx.script(row?.script ?? '')
  })
}

/** dropVisitor ends the visitor's sessions and drops the login. One that is not there is fine. */
export async function dropVisitor(admin: AdminDb, role: string): Promise<void> {
  await dropLogin(admin, role)
}

/** dropVisitors does so with all visitors of a tenant. */
export async function dropVisitors(admin: AdminDb, tenantId: string): Promise<void> {
  const rows = await admin.query<{ name: string }>(sql`
    select rolname as name from pg_roles
    where rolname >= 'tc_' and rolname < 'td' and rolname ~ ('^tc_[0-9a-f]{8}_' || ${hexOf(tenantId)}::text || '$')`)
  for (const { name } of rows) await dropLogin(admin, name)
}
