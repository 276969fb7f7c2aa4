import { setTimeout as delay } from 'node:timers/promises'
import { errorCode } from '../pool/driver-errors.ts'
import { type ScriptDb, type Statement, sql } from '../pool/statement.ts'
import { afterClashes } from './after-clashes.ts'
import { dropRole } from './drop-role.ts'
import type { AdminDb, RoleLimits } from './placement.ts'
import { isScramVerifier } from './scram.ts'

/** How long the sessions of a role that is closed may take to end. */
const TERMINATE_TIMEOUT_MS = 10_000
/** How long after it was let in a session may take to say whose it is; one that takes longer was not let in yet. */
const STARTING_MS = 1_000
const LOOK_AGAIN_MS = 20
/** "tuple concurrently updated" is one: the role was changed at the same moment. */
const INTERNAL_ERROR = 'XX000'

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

/**
 * closeLogin keeps a role from logging in, which is committed by itself, and then ends its sessions.
 * @throws Error when one does not end in time
 */
export async function closeLogin(admin: ScriptDb, name: string): Promise<void> {
  if (await keepOut(admin, name)) await endSessions(admin, name)
}

/**
 * keepOut keeps a role from logging in; its sessions go on, unless they change the role again and again. False when
 * there is no such role.
 */
export async function keepOut(admin: ScriptDb, name: string): Promise<boolean> {
  const startedAt = performance.now()
  for (;;) {
    try {
      return await setLogin(admin, name, 'nologin')
    } catch (error) {
      const isClash = errorCode(error) === INTERNAL_ERROR
      if (!isClash || performance.now() - startedAt > TERMINATE_TIMEOUT_MS) throw error
    }
    await terminate(admin, name)
  }
}

/** openLogin lets a role that was closed log in again. One that is not there is fine. */
export async function openLogin(admin: ScriptDb, name: string): Promise<void> {
  await setLogin(admin, name, 'login')
}

/** False when there is no such role. */
async function setLogin(admin: ScriptDb, name: string, to: 'login' | 'nologin'): Promise<boolean> {
  return afterClashes(async () => {
    const [row] = await admin.query<{ script: string | null }>(sql`
      select case when rolcanlogin <> ${to === 'login'} then format('alter role %I ' || ${to}::text, rolname) end as script
      from pg_roles where rolname = ${name}`)
    if (row?.script) await admin.script(row.script)
    return row !== undefined
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

/**
 * endSessions ends the sessions of a role that cannot log in any more. A session that was let in before that may still be
 * starting: until PostgreSQL knows its role it is seen by its lock on its own transaction, and it is waited for.
 * @throws Error when one does not end in time
 */
export async function endSessions(admin: ScriptDb, name: string): Promise<void> {
  const startedAt = performance.now()
  const starting = new Set(await pidsOf(admin, sessionsStarting))
  for (;;) {
    const left = await terminate(admin, name)
    const waitedMs = performance.now() - startedAt
    if (starting.size > 0) {
      const still = new Set(await pidsOf(admin, sessionsStarting))
      for (const pid of starting) if (!still.has(pid) || waitedMs > STARTING_MS) starting.delete(pid)
    } else if (left === 0) return
    if (waitedMs > TERMINATE_TIMEOUT_MS) throw new Error(`${left} sessions of role ${name} did not end`)
    await delay(LOOK_AGAIN_MS)
  }
}

const sessionsStarting = sql`
  select l.pid from pg_locks l
  where l.locktype = 'virtualxid' and l.granted
    and not exists (select from pg_stat_activity a where a.pid = l.pid and a.usesysid is not null)`

async function pidsOf(admin: ScriptDb, statement: Statement): Promise<readonly number[]> {
  return (await admin.query<{ pid: number }>(statement)).map(({ pid }) => pid)
}

/** Carries the outcome out of a transaction that is to leave nothing behind. */
class Undone {
  readonly sessions: number

  constructor(sessions: number) {
    this.sessions = sessions
  }
}

/**
 * Ending a session takes its role's privileges, which an administrator who is no superuser gives itself until the
 * rollback. Resolves with how many sessions there were.
 */
async function terminate(admin: ScriptDb, name: string): Promise<number> {
  const end = async (db: ScriptDb) => {
    const rows = await db.query(sql`
      select pg_terminate_backend(pid) from pg_stat_activity where usename = ${name}`)
    return rows.length
  }
  const [row] = await admin.query<{ script: string | null }>(sql`
    select case when not pg_has_role(rolname, 'usage') and not pg_has_role('pg_signal_backend', 'usage')
      then format('grant %I to current_user', rolname) end as script
    from pg_roles where rolname = ${name}`)
  const script = row?.script
  if (!script) return end(admin)
  try {
    return await admin.transaction(async (tx) => {
      await tx.script(script)
      throw new Undone(await end(tx))
    })
  } catch (error) {
    if (error instanceof Undone) return error.sessions
    throw error
  }
}
