import { randomBytes } from 'node:crypto'
import { errorCode } from '../pool/driver-errors.ts'
import { type ScriptDb, sql } from '../pool/statement.ts'
import { afterClashes } from './after-clashes.ts'
import { inBatches } from './batches.ts'
import type { AdminDb } from './placement.ts'
import { TENANT_LOGIN } from './tenant-names.ts'

const DEPENDENT_OBJECTS = '2BP01'

/**
 * dropRole drops a role that has no session, as `dropLogin` does. Another tenant with tables of its own may
 * have named it in its grants and policies, and it may have left large objects in any database that it could
 * log in to: all that would keep it, so all databases are looked through that have something of it. A role that is named
 * again meanwhile, by the login of a tenant that keeps doing so, gives its name back at once, and is dropped later.
 */
export async function dropRole(admin: AdminDb, name: string, heir?: string): Promise<void> {
  await rollBackPrepared(admin, name)
  const isGone = await tryToDrop(admin, name, heir)
  if (!isGone) {
    await endNamers(admin, name)
    if (!(await tryToDrop(admin, name, heir))) await giveNameBack(admin, name)
  }
  await dropLeftovers(admin)
}

/** False when something names the role. */
async function tryToDrop(admin: AdminDb, name: string, heir?: string): Promise<boolean> {
  try {
    await dropWithAll(admin, name, heir)
    return true
  } catch (error) {
    if (errorCode(error) !== DEPENDENT_OBJECTS) throw error
    return false
  }
}

/** What stays is a role without a name that says anything, a login, a password or a membership. */
async function giveNameBack(admin: AdminDb, name: string): Promise<void> {
  const leftover = `td_${randomBytes(16).toString('hex')}`
  await afterClashes(async () => {
    const [row] = await admin.query<{ script: string }>(sql`
      select concat_ws(E';\n',
        format('alter role %I nologin password null', r.rolname),
        (select string_agg(format('revoke %I from %I', g.rolname, r.rolname), E';\n')
         from pg_auth_members m join pg_roles g on g.oid = m.roleid where m.member = r.oid),
        format('alter role %I rename to %I', r.rolname, ${leftover}::text)) as script
      from pg_roles r where r.rolname = ${name}`)
    if (row !== undefined) await admin.script(row.script)
  })
}

const LEFTOVERS = 3

/** Never rejects: what is still named is tried again at the next removal. */
async function dropLeftovers(admin: AdminDb): Promise<void> {
  const found = await admin.query<{ name: string }>(sql`
    select rolname::text as name from pg_roles
    where rolname ~ '^td_[0-9a-f]{32}$' and (pg_has_role(oid, 'member with admin option') or current_setting('server_version_num')::integer < 160000)
    order by random() limit ${LEFTOVERS}::integer`)
  for (const { name } of found) await Promise.allSettled([dropWithAll(admin, name, undefined)])
}

/**
 * rollBackPrepared rolls back what a role has prepared: that outlives sessions, and the role, with its locks, and then nothing
 * tells whose it was. An administrator who is no superuser ends it as its owner; ROLLBACK PREPARED is a statement by itself.
 */
export async function rollBackPrepared(admin: AdminDb, name: string): Promise<void> {
  const found = await admin.query<{ database: string; scripts: readonly string[] }>(sql`
    select database, array_cat(
      case when may then array[]::text[]
        else array[format('grant %I to current_user', owner), format('set role %I', owner)] end,
      array[format('rollback prepared %L', gid)]) as scripts
    from (
      select database, gid, owner, (select rolsuper from pg_roles where rolname = current_user) as may
      from pg_prepared_xacts where owner = ${name}
    ) prepared`)
  for (const { database, scripts } of found) {
    await admin.inDatabase(database, async (db) => {
      for (const script of scripts) await db.script(script)
    })
  }
}

/** The sessions of tenants' logins in other databases that name the role: they may do so again and again. */
async function endNamers(admin: ScriptDb, name: string): Promise<void> {
  await admin.query(sql`
    select pg_terminate_backend(pid, 1000) from pg_stat_activity
    where usename ~ ${TENANT_LOGIN} and datname <> current_database()
      and (pg_has_role(usesysid, 'usage') or pg_has_role('pg_signal_backend', 'usage'))
      and datid in (
        select dbid from pg_shdepend
        where refclassid = 'pg_authid'::regclass and refobjid = to_regrole(quote_ident(${name})))`)
}

async function dropWithAll(admin: AdminDb, name: string, heir: string | undefined): Promise<void> {
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

/** DROP OWNED and REASSIGN OWNED take a lock for each object, so that what a tenant may have made very many of goes before. */
async function dropOwned(db: ScriptDb, name: string, heir: string | undefined, then: string): Promise<void> {
  await giveAwayLargeObjects(db, name, heir)
  await removeFromPolicies(db, name)
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

/** Each takes a lock. */
const LARGE_OBJECTS = 400

async function giveAwayLargeObjects(db: ScriptDb, name: string, heir: string | undefined): Promise<void> {
  await inBatches(LARGE_OBJECTS, (size) =>
    afterClashes(async () => {
      const [row] = await db.query<{ script: string | null }>(sql`
        select concat_ws(E';\n',
          case when not pg_has_role(max(owner), 'usage') then format('grant %I to current_user', max(owner)) end,
          case when not pg_has_role(max(heir), 'usage') then format('grant %I to current_user', max(heir)) end,
          string_agg(case when heir is null then format('select lo_unlink(%s)', id)
            else format('alter large object %s owner to %I', id, heir) end, E';\n'),
          case when not pg_has_role(max(heir), 'usage') then format('revoke %I from current_user', max(heir)) end,
          case when not pg_has_role(max(owner), 'usage') then format('revoke %I from current_user', max(owner)) end
        ) as script
        from (
          select s.objid as id, o.rolname::text as owner,
            (select rolname::text from pg_roles where rolname = ${heir ?? null}) as heir
          from pg_shdepend s join pg_roles o on o.oid = s.refobjid
          where o.rolname = ${name} and s.refclassid = 'pg_authid'::regclass and s.deptype = 'o'
            and s.classid = 'pg_largeobject'::regclass
            and s.dbid = (select oid from pg_database where datname = current_database())
          limit ${size}::integer
        ) large_objects`)
      if (!row?.script) return false
      await db.script(row.script)
      return true
    }),
  )
}

/** Each locks its table. */
const POLICIES = 50

/** Takes a role out of other tenants' policies, as DROP OWNED would: one that is left without a role goes. */
async function removeFromPolicies(db: ScriptDb, name: string): Promise<void> {
  await inBatches(POLICIES, (size) =>
    afterClashes(async () => {
      const [row] = await db.query<{ script: string | null }>(sql`
        with named as (
          select p.polname, p.polrelid::regclass as place, t.rolname as owner, pg_has_role(t.oid, 'usage') as may,
            (select string_agg(case each when 0 then 'public' else quote_ident(pg_get_userbyid(each)) end, ', ')
             from unnest(p.polroles) each where each <> s.refobjid) as others
          from pg_shdepend s
          join pg_policy p on s.classid = 'pg_policy'::regclass and p.oid = s.objid
          join pg_class c on c.oid = p.polrelid
          join pg_roles t on t.oid = c.relowner
          where s.refclassid = 'pg_authid'::regclass and s.refobjid = to_regrole(quote_ident(${name}))
            and s.dbid = (select oid from pg_database where datname = current_database())
            -- Whose tables an administrator can act on; what is left is for DROP OWNED.
            and (pg_has_role(t.oid, 'usage') or t.rolname ~ '^to_[0-9a-f]{32}$')
          limit ${size}::integer
        )
        select concat_ws(E';\n',
          (select string_agg(format('grant %I to current_user', owner), E';\n')
           from (select distinct owner from named where not may) owners),
          (select string_agg(case when others is null then format('drop policy %I on %s', polname, place)
            else format('alter policy %I on %s to %s', polname, place, others) end, E';\n') from named),
          (select string_agg(format('revoke %I from current_user', owner), E';\n')
           from (select distinct owner from named where not may) owners)
        ) as script`)
      if (!row?.script) return false
      await db.script(row.script)
      return true
    }),
  )
}
