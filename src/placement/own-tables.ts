import { randomBytes } from 'node:crypto'
import { LessorError } from '../errors.ts'
import { type ScriptDb, type Statement, sql } from '../pool/statement.ts'
import { afterClashes } from './after-clashes.ts'
import type { DataFiles } from './data-files.ts'
import { dropRole, rollBackPrepared } from './drop-role.ts'
import { BUILDERS, OWNER, SCHEMAS } from './group-roles.ts'
import type { AdminDb } from './placement.ts'
import { randomPassword, scramVerifier } from './scram.ts'
import { closeLogin, dropLogin } from './tenant-logins.ts'
import { loginName, migratorPrefix, ownerName, userName } from './tenant-names.ts'

/** How long a migrator's password works, should its process die before it drops the role. */
const MIGRATOR_LIFE = '1 hour'
const MIGRATION_TIMEOUT_MS = 3_600_000

/**
 * ensureOwnRoles makes the two roles of a tenant that has tables of its own: its owner role, which may create in
 * what is the tenant's and call lessor.protect, and the role that has the verbs. Neither can log in.
 */
export async function ensureOwnRoles(
  admin: ScriptDb,
  tenantId: string,
  { usesServerDatabase }: { readonly usesServerDatabase: boolean },
): Promise<void> {
  await afterClashes(async () => {
    const [row] = await admin.query<{ script: string }>(sql`
      select string_agg(
        case when to_regrole(quote_ident(role)) is null then format(E'create role %I nologin;\n', role) else '' end
          || case when member_of is null then '' else format('grant %I to %I', member_of, role)
            || case when current_setting('server_version_num')::integer >= 160000
                 then ' with inherit true, set false' else '' end end, E';\n') as script
      from (values
        (${ownerName(tenantId)}::text, ${BUILDERS}::text),
        (${userName(tenantId)}::text, ${usesServerDatabase ? SCHEMAS : null}::text)
      ) roles (role, member_of)`)
    await admin.script(row?.script ?? '')
  })
}

/**
 * ensureOwnSchema makes the schema that holds a tenant's own tables. It does not belong to the tenant's owner role,
 * which may create in it: a schema's owner could let other tenants into it.
 */
export async function ensureOwnSchema(db: ScriptDb, tenantId: string, schema: string): Promise<void> {
  await afterClashes(async () => {
    const [row] = await db.query<{ script: string }>(sql`
      select concat_ws(E';\n',
        case when to_regnamespace(quote_ident(schema)) is null
          then format(E'create schema %1$I authorization %2$I;\nrevoke all on schema %1$I from public',
            schema, ${OWNER}::text) end,
        format('grant usage, create on schema %I to %I', schema, ${ownerName(tenantId)}::text),
        format('grant usage on schema %I to %I', schema, ${userName(tenantId)}::text)
      ) as script
      from (select ${schema}::text as schema) own`)
    await db.script(row?.script ?? '')
  })
}

/** hasLogin says whether a tenant has a login of either colour. */
export async function hasLogin(admin: ScriptDb, tenantId: string): Promise<boolean> {
  const rows = await admin.query(sql`
    select from pg_roles
    where rolname in (${loginName(tenantId, 'blue')}, ${loginName(tenantId, 'green')})`)
  return rows.length > 0
}

export interface MigrateOwn {
  readonly tenantId: string
  readonly schema: string
  /** Absent when it is the server's own. */
  readonly database?: string
  readonly lockTimeoutMs: number
  readonly timeoutMs?: number
}

/**
 * migrateOwnTables runs sql/app over a session of the tenant's own: logged in as a role made for this and dropped
 * after it, which may nothing but become the tenant's owner role. The files change tables on which the tenant
 * may have put triggers, and an administrator's session would give these its own rights, whatever role it
 * has taken on.
 * @throws LessorError STATEMENT_TIMEOUT when it took too long; what a file or its tables have raised
 */
export async function migrateOwnTables(
  admin: AdminDb,
  files: DataFiles,
  { tenantId, schema, database, lockTimeoutMs, timeoutMs = MIGRATION_TIMEOUT_MS }: MigrateOwn,
): Promise<readonly string[]> {
  const owner = ownerName(tenantId)
  const user = `${migratorPrefix(tenantId)}${randomBytes(4).toString('hex')}`
  const password = randomPassword()
  await dropExpiredMigrators(admin, tenantId)
  try {
    await afterClashes(async () => {
      const [row] = await admin.query<{ script: string }>(sql`
        select concat_ws(E';\n',
          format('create role %I login connection limit 1 password %L valid until %L',
            role, ${scramVerifier(password)}::text, now() + ${MIGRATOR_LIFE}::interval),
          format('grant %I to %I', ${userName(tenantId)}::text, role)
            || case when modern then ' with inherit true, set false' else '' end,
          format('grant %I to %I', ${owner}::text, role)
            || case when modern then ' with inherit false, set true' else '' end
        ) as script
        from (
          select ${user}::text as role, current_setting('server_version_num')::integer >= 160000 as modern
        ) migrator`)
      await admin.script(row?.script ?? '')
    })
    const login = { user, password, ...(database !== undefined && { database }) }
    return await inTime(admin, user, timeoutMs, () =>
      admin.asLogin(login, (session) => files.ownTables(session, { tenantId, schema, owner, lockTimeoutMs })),
    )
  } finally {
    await dropLogin(admin, user)
  }
}

/** Ends the login's sessions when time is up: a limit of PostgreSQL's could be lifted by the code that it is for. */
async function inTime<T>(
  admin: AdminDb,
  user: string,
  timeoutMs: number,
  work: () => Promise<T>,
): Promise<T> {
  let ending: Promise<unknown> | undefined
  const timer = setTimeout(() => {
    // Who cannot be ended now is ended with the login.
    ending = closeLogin(admin, user).catch(() => {})
  }, timeoutMs)
  try {
    return await work()
  } catch (error) {
    if (ending === undefined) throw error
    throw new LessorError('STATEMENT_TIMEOUT', `The migration took longer than ${timeoutMs} ms.`, {
      cause: error,
    })
  } finally {
    clearTimeout(timer)
    await ending
  }
}

/** closeOwnLogins keeps all logins of a tenant from logging in, and ends their sessions and what they have prepared. */
export async function closeOwnLogins(admin: AdminDb, tenantId: string): Promise<void> {
  for (const name of await ownLogins(admin, tenantId)) {
    await closeLogin(admin, name)
    await rollBackPrepared(admin, name)
  }
}

/** dropOwnRoles drops all roles of a tenant, which have no sessions any more. */
export async function dropOwnRoles(admin: AdminDb, tenantId: string): Promise<void> {
  for (const name of await ownLogins(admin, tenantId)) await dropRole(admin, name)
  await dropRole(admin, userName(tenantId))
  await dropRole(admin, ownerName(tenantId))
}

async function ownLogins(admin: ScriptDb, tenantId: string): Promise<readonly string[]> {
  const rows = await admin.query<{ name: string }>(sql`
    select rolname as name from pg_roles
    where rolname in (${loginName(tenantId, 'blue')}, ${loginName(tenantId, 'green')})
    union all
    select rolname from pg_roles where ${isMigrator(tenantId)}`)
  return rows.map(({ name }) => name)
}

/** Between the prefix and what no hexadecimal digit can follow: a server may have very many roles, and these come by index. */
function isMigrator(tenantId: string): Statement {
  const prefix = migratorPrefix(tenantId)
  return sql`rolname >= ${prefix} and rolname < ${`${prefix}g`}`
}

/** Those that have not expired may be at work, for another process. */
async function dropExpiredMigrators(admin: AdminDb, tenantId: string): Promise<void> {
  const rows = await admin.query<{ name: string }>(sql`
    select rolname as name from pg_roles where ${isMigrator(tenantId)} and rolvaliduntil < now()`)
  for (const { name } of rows) await dropLogin(admin, name)
}
