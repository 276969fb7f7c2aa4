import { type ScriptDb, sql } from '../pool/statement.ts'
import { afterClashes } from './after-clashes.ts'
import type { AdminDb } from './placement.ts'

/** What pg_database.datconnlimit is of a database that was being dropped when the server stopped (from 15.4 on). */
const INVALID = -2

/** hasDatabase says whether a database can be connected to. */
export async function hasDatabase(admin: ScriptDb, name: string): Promise<boolean> {
  const rows = await admin.query(sql`
    select from pg_database where datname = ${name} and datallowconn and datconnlimit <> ${INVALID}::integer`)
  return rows.length > 0
}

/**
 * ensureDatabase makes a database to which the members of `user` may connect and nobody else. Until that is so it
 * takes no connection, since a fresh one would let everybody in. Encoding and locale are those of the
 * server's own database; nothing else of it, and nothing of template1, is in it.
 */
export async function ensureDatabase(admin: AdminDb, name: string, user: string): Promise<void> {
  await afterClashes(async () => {
    const [row] = await admin.query<{ broken: boolean }>(
      sql`select datconnlimit = ${INVALID}::integer as broken from pg_database where datname = ${name}`,
    )
    if (row?.broken === true) await dropDatabase(admin, name)
    if (row === undefined || row.broken) await createDatabase(admin, name)
  })
  await afterClashes(async () => {
    const [row] = await admin.query<{ script: string }>(sql`
      select concat_ws(E';\n',
        case when exists (
          select from aclexplode(coalesce(datacl, acldefault('d', datdba))) where grantee = 0)
          then format('revoke all on database %I from public', datname) end,
        -- Whoever is named in the list itself: has_database_privilege would count what everybody may.
        case when not exists (
          select from aclexplode(datacl)
          where grantee = to_regrole(quote_ident(${user})) and privilege_type = 'CONNECT')
          then format('grant connect on database %I to %I', datname, ${user}::text) end,
        case when not datallowconn then format('alter database %I allow_connections true', datname) end
      ) as script
      from pg_database where datname = ${name}`)
    if (row === undefined) throw new Error(`bug: database ${name} is not there though it was made`)
    await admin.script(row.script)
  })
}

/** dropDatabase ends all sessions in a database and drops it; one that is not there is fine. */
export async function dropDatabase(admin: ScriptDb, name: string): Promise<void> {
  const [row] = await admin.query<{ script: string }>(
    sql`select format('drop database if exists %I with (force)', ${name}::text) as script`,
  )
  await admin.script(row?.script ?? '')
}

async function createDatabase(admin: ScriptDb, name: string): Promise<void> {
  const [row] = await admin.query<{ script: string }>(sql`
    select format('create database %I template template0 allow_connections false encoding %L lc_collate %L lc_ctype %L',
        ${name}::text, pg_encoding_to_char(encoding), datcollate, datctype)
      || case datlocprovider
        when 'i' then format(' locale_provider icu icu_locale %L', locale)
        when 'b' then format(' locale_provider builtin builtin_locale %L', locale)
        else ' locale_provider libc' end as script
    from pg_database d,
      -- The column's name has changed with PostgreSQL 17.
      coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') locale
    where datname = current_database()`)
  await admin.script(row?.script ?? '')
}
