import { type ScriptDb, sql } from '../pool/statement.ts'
import { afterClashes } from './after-clashes.ts'
import type { AdminDb, RoleLimits } from './placement.ts'
import { isScramVerifier } from './scram.ts'

/** How long one session of a role that is dropped may take to end. */
const TERMINATE_TIMEOUT_MS = 5_000

/** LoginRole is a role that can log in for tenants. */
export interface LoginRole {
  readonly name: string
  /** The tenant that it is; undefined when it is bound to one for each transaction. */
  readonly tenantId: string | undefined
  /** The role whose privileges it has, without being able to become it. */
  readonly group: string
  /** The role that it may become, by SET ROLE, without having its privileges before. */
  readonly owner?: string
  readonly searchPath: string
}

export interface LoginSettings {
  /** SCRAM-SHA-256 verifier. */
  readonly verifier: string
  readonly limits: RoleLimits
}

/**
 * ensureLogin makes the role, or brings it to the requested password and limits when it is there.
 * DDL takes no parameters, so the server quotes the values itself.
 * @throws TypeError when the verifier is none: the server would take it for a plain password
 */
export async function ensureLogin(admin: ScriptDb, role: LoginRole, settings: LoginSettings): Promise<void> {
  const { verifier, limits } = settings
  if (!isScramVerifier(verifier)) throw new TypeError('"verifier" must be a SCRAM-SHA-256 verifier')
  await afterClashes(async () => {
    const [row] = await admin.query<{ script: string }>(sql`
      select concat_ws(E';\n',
        format('%s role %I login connection limit %s password %L',
          case when to_regrole(quote_ident(role)) is null then 'create' else 'alter' end,
          role, ${limits.connectionLimit}::integer, ${verifier}::text),
        -- Since PostgreSQL 16 a member can be kept from becoming the group itself. On 15 the policies
        -- do so: the group's name holds no tenant, or this one. There it has its owner's privileges as well.
        format('grant %I to %I', ${role.group}::text, role)
          || case when modern then ' with inherit true, set false' else '' end,
        case when owner is not null then format('grant %I to %I', owner, role)
          || case when modern then ' with inherit false, set true' else '' end end,
        format('alter role %I set search_path = %I', role, ${role.searchPath}::text),
        format('alter role %I set statement_timeout = %s', role, ${limits.statementTimeoutMs}::integer),
        format('alter role %I set idle_in_transaction_session_timeout = %s',
          role, ${limits.idleInTransactionTimeoutMs}::integer),
        case when has_parameter_privilege('temp_file_limit', 'set')
          then format('alter role %I set temp_file_limit = %s', role, ${limits.tempFileLimitKb}::integer) end,
        case when tenant is not null and has_parameter_privilege('rls.tenant_id', 'set')
          then format('alter role %I set rls.tenant_id = %L', role, tenant) end
      ) as script
      from (
        select ${role.name}::text as role, ${role.owner ?? null}::text as owner,
          ${role.tenantId ?? null}::text as tenant,
          current_setting('server_version_num')::integer >= 160000 as modern
      ) login`)
    await admin.script(row?.script ?? '')
  })
}

/**
 * dropLogin ends the role's sessions and drops it. What it owns, in whatever database, goes to `heir` if that is a
 * role, and is dropped else. A role that is not there is fine.
 * @throws Error when a session does not end in time
 */
export async function dropLogin(admin: AdminDb, name: string, heir?: string): Promise<void> {
  await closeLogin(admin, name)
  await dropRole(admin, name, heir)
}

/** closeLogin keeps a role from logging in and ends its sessions. @throws Error when one does not end in time */
export async function closeLogin(admin: ScriptDb, name: string): Promise<void> {
  await afterClashes(async () => {
    const [row] = await admin.query<{ script: string }>(sql`
      select concat_ws(E';\n',
        format('alter role %I nologin', rolname),
        -- Ending its sessions and dropping what it owns takes the role's own privileges.
        case when not pg_has_role(rolname, 'usage') then format('grant %I to current_user', rolname) end
      ) as script
      from pg_roles where rolname = ${name}`)
    if (row === undefined) return
    await admin.script(row.script)
    await endSessions(admin, name)
  })
}

/**
 * dropRole drops a role that has no session, as {@link dropLogin} does. Another tenant with tables of its own may
 * have named it in its grants and policies, and it may have left large objects in any database that it could
 * log in to: all that would keep it, so all databases are looked through that have something of it.
 */
export async function dropRole(admin: AdminDb, name: string, heir?: string): Promise<void> {
  const databases = await admin.query<{ name: string }>(sql`
    select distinct d.datname as name
    from pg_shdepend s join pg_database d on d.oid = s.dbid
    where s.refclassid = 'pg_authid'::regclass and s.refobjid = to_regrole(quote_ident(${name}))
      and d.datname <> current_database() and d.datallowconn`)
  for (const database of databases) {
    await admin.inDatabase(database.name, (db) => dropOwned(db, name, heir, ''))
  }
  await dropOwned(admin, name, heir, ';\ndrop role %1$I')
}

async function dropOwned(db: ScriptDb, name: string, heir: string | undefined, then: string): Promise<void> {
  await afterClashes(async () => {
    const [row] = await db.query<{ script: string }>(sql`
      select concat_ws(E';\n',
        case when not pg_has_role(rolname, 'usage') then format('grant %I to current_user', rolname) end,
        -- Giving something to the heir takes the heir's privileges; the grant ends with this transaction.
        case when not pg_has_role(heir, 'usage') then format('grant %I to current_user', heir) end,
        case when heir is not null then format('reassign owned by %I to %I', rolname, heir) end,
        case when not pg_has_role(heir, 'usage') then format('revoke %I from current_user', heir) end,
        format('drop owned by %1$I' || ${then}::text, rolname)
      ) as script
      from pg_roles
      left join (select rolname as heir from pg_roles where rolname = ${heir ?? null}) other on true
      where rolname = ${name}`)
    if (row !== undefined) await db.script(row.script)
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

async function endSessions(admin: ScriptDb, name: string): Promise<void> {
  await admin.query(sql`
    select pg_terminate_backend(pid, ${TERMINATE_TIMEOUT_MS}::bigint) from pg_stat_activity
    where usename = ${name}`)
  const left = await admin.query(sql`select pid from pg_stat_activity where usename = ${name}`)
  if (left.length > 0) throw new Error(`${left.length} sessions of role ${name} did not end`)
}
