import type { Attack } from './attack.ts'
import { refused } from './expectation.ts'

/** SessionFacts is what a session could go for besides objects. */
export interface SessionFacts {
  /** The login's own role. */
  readonly user: string
  /** Roles that it may become: the owner of its own tables, where it has such. */
  readonly mayBecome: ReadonlySet<string>
  /** Roles of the server: groups, administrators, the other tenant's. */
  readonly roles: readonly string[]
  /** A session of the other tenant. Undefined where both share one login, which is the service's own. */
  readonly otherPid: number | undefined
  /** Whether a superuser has revoked what only a superuser may revoke. */
  readonly isRevoked: boolean
  /** Whether its tables are its own: such a tenant keeps advisory locks and large objects. */
  readonly hasOwnTables: boolean
}

/** sessionAttacks tries to become somebody else, to make something, and to leave the database. */
export function sessionAttacks(facts: SessionFacts): readonly Attack[] {
  const { user, roles, otherPid, isRevoked, hasOwnTables } = facts
  const me = quote(user)
  const others = roles.filter((role) => role !== user)
  return [
    ...others.flatMap((role) => becoming(role, user, facts.mayBecome.has(role))),
    ...named('the session', [
      ['create role', 'create role stolen'],
      ['alter itself bypassrls', `alter role ${me} bypassrls`],
      ['alter itself superuser', `alter role ${me} superuser`],
      ['alter itself createrole', `alter role ${me} createrole`],
      ['alter itself replication', `alter role ${me} replication`],
      ['alter itself connection limit', `alter role ${me} connection limit -1`],
      ['rename itself', `alter role ${me} rename to stolen`],
      ['create schema', 'create schema stolen'],
      ['create temporary table', 'create temporary table stolen (x integer)'],
      ['create publication', 'create publication stolen for all tables'],
      ['create foreign data wrapper', 'create foreign data wrapper stolen'],
      ['create event trigger', 'create event trigger stolen on ddl_command_end execute function stolen()'],
      ['copy from a file', `copy pg_catalog.pg_class from '/etc/passwd'`],
      ['copy to a file', `copy (select 1) to '/tmp/stolen'`],
      ['copy to a program', `copy (select 1) to program 'true'`],
      ['read a file', `select pg_read_file('postgresql.conf')`],
      ['list a folder', `select pg_ls_dir('.')`],
      ['import a file', `select lo_import('/etc/passwd')`],
      ['reload the configuration', 'select pg_reload_conf()'],
      ['make a replication slot', `select pg_create_physical_replication_slot('stolen')`],
      ...(isRevoked ? HARMFUL : []),
      ...(isRevoked && !hasOwnTables ? HARMFUL_BESIDE_OTHERS : []),
      ['set session_replication_role', `set local session_replication_role = replica`],
      ['set log_statement', `set local log_statement = 'none'`],
      ...(otherPid === undefined
        ? []
        : ([
            ['end another tenant’s session', `select pg_terminate_backend(${otherPid})`],
            ['cancel another tenant’s statement', `select pg_cancel_backend(${otherPid})`],
          ] as const)),
    ]),
  ]
}

/** What hurts others and is no matter of rows. */
const HARMFUL = [
  ['write to the log of the cluster', `select pg_logical_emit_message(false, 'stolen', 'x')`],
  ['make files', 'select pg_export_snapshot()'],
] as const
const HARMFUL_BESIDE_OTHERS = [
  ['take an advisory lock', 'select pg_try_advisory_lock(4711)'],
  ['take an advisory lock for the transaction', 'select pg_advisory_xact_lock(4711)'],
  ['give back advisory locks', 'select pg_advisory_unlock_all()'],
  ['make a large object', 'select lo_create(0)'],
  ['make a large object of bytes', `select lo_from_bytea(0, 'x')`],
] as const

function becoming(role: string, user: string, isAllowed: boolean): readonly Attack[] {
  const name = quote(role)
  const attacks = named(`role ${role}`, [
    ['set session authorization', `set session authorization ${name}`],
    [
      'set by set_config',
      `select set_config('session_authorization', '${role.replaceAll("'", "''")}', true)`,
    ],
    ['change the password', `alter role ${name} password null`],
    ['change its settings', `alter role ${name} set row_security = off`],
    ['comment', `comment on role ${name} is 'stolen'`],
    ['drop', `drop role ${name}`],
  ])
  const grant: Attack = {
    object: `role ${role}`,
    name: 'grant to itself',
    text: `grant ${name} to ${quote(user)}`,
    expect: refused(...RESERVED, ...(role === MEMBERLESS ? [INTERNAL_ERROR] : [])),
  }
  if (isAllowed) return [grant, ...attacks]
  return [
    grant,
    ...named(`role ${role}`, [
      ['set role', `set role ${name}`],
      ['set role by set_config', `select set_config('role', '${role.replaceAll("'", "''")}', true)`],
    ]),
    ...attacks,
  ]
}

/** reserved_name, and what is never done to a predefined role or to the session's own. */
const RESERVED = ['42939', '0A000']

/** The predefined role that never has members. PostgreSQL 16 and 17 refuse to grant it with an internal error, 18 with 0A000. */
const MEMBERLESS = 'pg_database_owner'
const INTERNAL_ERROR = 'XX000'

/** named makes attacks that are all refused. */
function named(
  object: string,
  attacks: readonly (readonly [name: string, text: string])[],
): readonly Attack[] {
  return attacks.map(([name, text]) => ({ object, name, text, expect: refused(...RESERVED) }))
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
