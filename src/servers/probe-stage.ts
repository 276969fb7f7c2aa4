import { randomBytes, randomUUID } from 'node:crypto'
import type { DatabaseAddress } from '../control/database-url.ts'
import { afterClashes } from '../placement/after-clashes.ts'
import type { AdminDb, OtherLogin } from '../placement/placement.ts'
import { randomPassword, scramVerifier } from '../placement/scram.ts'
import { type ScriptDb, sql } from '../pool/statement.ts'
import type { Engine } from './capabilities.ts'
import { spread } from './probe-engine.ts'

/** ProbeLogin is a login that the probe has made, for one tenant or for all. */
export interface ProbeLogin extends OtherLogin {
  /** The tenant whose login it is, of role and schema and database; of `row`, none. */
  readonly tenantId: string | undefined
}

/**
 * Stage is what the probe has set up on a data server: two tenants with a row each in a table that is walled
 * as the application's are. Every name is random, so that two probes do not meet, and begins with the time, so
 * that a later probe finds what a death has left behind.
 */
export interface Stage {
  readonly admin: AdminDb
  readonly address: DatabaseAddress
  readonly engine: Engine
  /** Of the schema, of the database, and of the notification's channel. */
  readonly name: string
  /** The shared table. */
  readonly table: string
  readonly owner: string
  /** What the logins of `role` and the one of `row` are members of. */
  readonly groups: { readonly role: string; readonly row: string }
  readonly first: ProbeLogin & { readonly tenantId: string }
  readonly second: ProbeLogin & { readonly tenantId: string }
  /** The login of `row`, for both tenants. */
  readonly runtime: ProbeLogin
}

const PREFIX = 'lessor_probe_'
const STALE_SECONDS = 3_600

/** planStage names everything; nothing is made. */
export async function planStage(admin: AdminDb, address: DatabaseAddress, engine: Engine): Promise<Stage> {
  const [row] = await admin.query<{ now: string }>(sql`select extract(epoch from now())::bigint::text as now`)
  const begin = `${PREFIX}${row?.now}_`
  const name = `${begin}${randomBytes(6).toString('hex')}`
  const login = (tenantId: string) => ({
    tenantId,
    // The wall of `role` compares the end of the name.
    user: `${begin}${tenantId.replaceAll('-', '')}`,
    password: randomPassword(),
  })
  return {
    admin,
    address,
    engine,
    name,
    table: `${name}.rows`,
    owner: `${name}_owner`,
    groups: { role: `${name}_role`, row: `${name}_row` },
    first: login(randomUUID()),
    second: login(randomUUID()),
    runtime: { tenantId: undefined, user: `${name}_runtime`, password: randomPassword() },
  }
}

/** makeRoles makes the roles and logins; the server gets verifiers and never a password. */
export async function makeRoles(stage: Stage): Promise<void> {
  const { admin, engine, owner, groups, first, second, runtime } = stage
  const isModern = await isAtLeast(admin, 160_000)
  const membership = isModern ? ' with inherit true, set false' : ''
  const groupless = [owner, groups.role, groups.row].map(
    // What the owner does reaches the workers of Citus as the owner.
    (role) => `create role ${role} ${role === owner && engine === 'citus' ? 'login' : 'nologin'}`,
  )
  const logins = [first, second, runtime].map(
    ({ user, password }) => `create role ${user} login password '${scramVerifier(password)}'`,
  )
  await admin.script(
    [
      ...groupless,
      ...logins,
      `grant ${groups.role} to ${first.user}, ${second.user}${membership}`,
      `grant ${groups.row} to ${runtime.user}${membership}`,
      // So that an administrator who is no superuser may act as the owner.
      `grant ${owner} to current_user`,
    ].join(';\n'),
  )
}

/** makeTable makes the schema with the walled table, and lets the logins in. */
export async function makeTable(stage: Stage): Promise<void> {
  const { admin, engine, name, table, owner, groups } = stage
  const members = `${groups.role}, ${groups.row}`
  const visitors = engine === 'citus' ? `${members}, ${owner}` : members
  await afterClashes(() =>
    admin.script(`
      do $$ begin execute format('grant connect on database %I to ${visitors}', current_database()); end $$;
      create schema ${name} authorization ${owner}`),
  )
  await asOwner(stage, async (tx) => {
    await tx.script(`
      create table ${table} (tenant_id uuid not null, id integer not null, primary key (tenant_id, id));
      alter table ${table} enable row level security, force row level security;
      create policy by_role on ${table} to ${groups.role}
        using (tenant_id = right(current_user, 32)::uuid)
        with check (tenant_id = right(current_user, 32)::uuid);
      create policy by_setting on ${table} to ${groups.row}
        using (tenant_id = current_setting('rls.tenant_id')::uuid)
        with check (tenant_id = current_setting('rls.tenant_id')::uuid);
      grant usage on schema ${name} to ${members};
      grant select, insert, update, delete on ${table} to ${members}`)
    await spread(tx, engine, table)
  })
}

/** asOwner runs `work` in a transaction as the owner of the probe's tables. */
export async function asOwner<T>(
  { admin, owner }: Pick<Stage, 'admin' | 'owner'>,
  work: (tx: ScriptDb) => Promise<T>,
): Promise<T> {
  return admin.transaction(async (tx) => {
    await tx.script(`set local role ${owner}`)
    return work(tx)
  })
}

/** clear removes all that a probe has made. What cannot be removed stays for a later probe. Never rejects. */
export async function clear(stage: Stage): Promise<void> {
  const { admin, name, owner, groups, first, second, runtime } = stage
  const roles = [first.user, second.user, runtime.user, groups.role, groups.row, owner]
  await remove(admin, { databases: [name], schemas: [name], roles })
}

/** clearStale removes what probes that died have left behind. Never rejects. */
export async function clearStale(admin: AdminDb): Promise<void> {
  const rows = await admin
    .query<{ kind: 'databases' | 'schemas' | 'roles'; name: string }>(sql`
      select kind, name
      from (
        select 'databases' as kind, datname::text as name from pg_database
        union all select 'schemas', nspname from pg_namespace
        union all select 'roles', rolname from pg_roles
      ) object
      where name ~ ${`^${PREFIX}[0-9]{10}_[0-9a-z_]+$`}
        and substr(name, ${PREFIX.length + 1}::integer, 10)::bigint
          < extract(epoch from now()) - ${STALE_SECONDS}::integer
      -- Groups and owners have shorter names than the logins, and go last.
      order by kind, length(name) desc`)
    .catch(() => [])
  const named = (kind: string) => rows.filter((row) => row.kind === kind).map(({ name }) => name)
  await remove(admin, { databases: named('databases'), schemas: named('schemas'), roles: named('roles') })
}

interface Remains {
  readonly databases: readonly string[]
  readonly schemas: readonly string[]
  readonly roles: readonly string[]
}

async function remove(admin: AdminDb, { databases, schemas, roles }: Remains): Promise<void> {
  const attempt = (text: string) => afterClashes(() => admin.script(text)).catch(() => {})
  for (const name of databases) await attempt(`drop database if exists ${name} with (force)`)
  for (const name of schemas) await attempt(`drop schema if exists ${name} cascade`)
  for (const name of roles) {
    await attempt(
      `do $$ begin
        if to_regrole('${name}') is not null then
          execute format('revoke all on database %I from ${name}', current_database());
          drop role ${name};
        end if;
      end $$`,
    )
  }
}

async function isAtLeast(admin: AdminDb, version: number): Promise<boolean> {
  const [row] = await admin.query<{ yes: boolean }>(sql`
    select current_setting('server_version_num')::integer >= ${version}::integer as yes`)
  return row?.yes ?? false
}
