import { type ScriptDb, sql } from '../pool/statement.ts'
import { afterClashes } from './after-clashes.ts'
import { TENANTS } from './group-roles.ts'
import type { ProvisionRequest } from './placement.ts'
import { isScramVerifier } from './scram.ts'

/** How long one session of a tenant that is removed may take to end. */
const TERMINATE_TIMEOUT_MS = 5_000

/** LoginRole is one of a tenant's two roles that can log in. */
export interface LoginRole {
  readonly name: string
  readonly tenantId: string
}

/**
 * ensureLogin makes the role, or brings it to the requested password and limits when it is there.
 * DDL takes no parameters, so the server quotes the values itself.
 * @throws TypeError when the verifier is none: the server would take it for a plain password
 */
export async function ensureLogin(
  admin: ScriptDb,
  role: LoginRole,
  request: ProvisionRequest,
): Promise<void> {
  const { verifier, limits } = request
  if (!isScramVerifier(verifier)) throw new TypeError('"verifier" must be a SCRAM-SHA-256 verifier')
  await afterClashes(async () => {
    const [row] = await admin.query<{ script: string }>(sql`
      select concat_ws(E';\n',
        format('%s role %I login connection limit %s password %L',
          case when to_regrole(quote_ident(role)) is null then 'create' else 'alter' end,
          role, ${limits.connectionLimit}::integer, ${verifier}::text),
        -- Since PostgreSQL 16 a member can be kept from becoming the group itself. On 15 the policies
        -- do so: the group's name holds no tenant.
        format('grant %I to %I', ${TENANTS}::text, role)
          || case when current_setting('server_version_num')::integer >= 160000
               then ' with inherit true, set false' else '' end,
        format('alter role %I set statement_timeout = %s', role, ${limits.statementTimeoutMs}::integer),
        format('alter role %I set idle_in_transaction_session_timeout = %s',
          role, ${limits.idleInTransactionTimeoutMs}::integer),
        case when has_parameter_privilege('temp_file_limit', 'set')
          then format('alter role %I set temp_file_limit = %s', role, ${limits.tempFileLimitKb}::integer) end,
        case when has_parameter_privilege('rls.tenant_id', 'set')
          then format('alter role %I set rls.tenant_id = %L', role, ${role.tenantId}::text) end
      ) as script
      from (select ${role.name}::text as role) login`)
    await admin.script(row?.script ?? '')
  })
}

/**
 * dropLogin ends the role's sessions and drops it. What it owns in this database, which can only be
 * large objects, goes to `heir` if that is a role, and is dropped else. A role that is not there is fine.
 * @throws Error when a session does not end in time
 */
export async function dropLogin(admin: ScriptDb, role: LoginRole, heir?: LoginRole): Promise<void> {
  await afterClashes(async () => {
    const [row] = await admin.query<{ revoke: string; drop: string }>(sql`
      select
        concat_ws(E';\n',
          format('alter role %I nologin', rolname),
          -- Ending its sessions and dropping what it owns takes the role's own privileges.
          case when not pg_has_role(rolname, 'usage') then format('grant %I to current_user', rolname) end
        ) as revoke,
        concat_ws(E';\n',
          -- So does giving something to the heir; the grant ends with this transaction.
          case when not pg_has_role(heir, 'usage') then format('grant %I to current_user', heir) end,
          case when heir is not null then format('reassign owned by %I to %I', rolname, heir) end,
          case when not pg_has_role(heir, 'usage') then format('revoke %I from current_user', heir) end,
          format(E'drop owned by %1$I;\ndrop role %1$I', rolname)
        ) as drop
      from pg_roles
      left join (select rolname as heir from pg_roles where rolname = ${heir?.name ?? null}) other on true
      where rolname = ${role.name}`)
    if (row === undefined) return
    await admin.script(row.revoke)
    await endSessions(admin, role)
    await admin.script(row.drop)
  })
}

/**
 * missingParameters names the settings that this administrator may not set for a tenant's role: a
 * superuser may, others where `grant set on parameter ... to ...` allows it.
 */
export async function missingParameters(admin: ScriptDb): Promise<readonly string[]> {
  const rows = await admin.query<{ name: string }>(sql`
    select name from unnest(array['temp_file_limit', 'rls.tenant_id']) as name
    where not has_parameter_privilege(name, 'set')`)
  return rows.map((row) => row.name)
}

async function endSessions(admin: ScriptDb, role: LoginRole): Promise<void> {
  await admin.query(sql`
    select pg_terminate_backend(pid, ${TERMINATE_TIMEOUT_MS}::bigint) from pg_stat_activity
    where usename = ${role.name}`)
  const left = await admin.query(sql`select pid from pg_stat_activity where usename = ${role.name}`)
  if (left.length > 0) throw new Error(`${left.length} sessions of role ${role.name} did not end`)
}
