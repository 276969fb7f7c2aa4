import type { AdminDb } from '../../placement/placement.ts'
import { TENANT_LOGIN } from '../../placement/tenant-names.ts'
import { type Db, type ScriptDb, type Statement, sql } from '../../pool/statement.ts'
import type { SeenSession } from './ages.ts'
import type { AutovacuumWorker, PreparedTransaction, Process, Sight, Wait } from './sight.ts'

/** What changes a tenant's table waits so long for others at most. */
const LOCK_TIMEOUT_MS = 500

/** Seen is what one look shows. */
export type Seen = Omit<Sight, 'sessions' | 'notifyMs'> & { readonly sessions: readonly SeenSession[] }

/**
 * readSight looks at the server once. It reads what processes and the lock table say of themselves, and catalogs by
 * the locks of every reader; a tenant can make it wait for nothing. The locks are copied once.
 */
export async function readSight(db: Pick<Db, 'query'>, blockingMs: number): Promise<Seen> {
  const [row] = await db.query<{ sight: Seen }>(sql`
    with activity as materialized (select * from pg_stat_activity),
    locks as materialized (
      select pid, virtualtransaction as owner, mode = 'SIReadLock' as predicate, not granted as waits, waitstart,
        case when locktype = 'relation' then relation end as relation,
        locktype = 'virtualxid' and granted as own,
        case when locktype = 'transactionid' and granted and pid is null then transactionid end as prepared,
        -- Others need no place in the table that all share.
        not fastpath and not (locktype = 'virtualxid' and granted) as shared
      from pg_locks
    ),
    sums as (
      select pid, owner, count(*) filter (where shared and not predicate)::integer as locks,
        count(*) filter (where predicate)::integer as predicates, bool_or(own) as own
      from locks group by pid, owner
    ),
    setting as (
      select current_setting('max_connections')::integer as connections,
        current_setting('max_connections')::integer + current_setting('max_prepared_transactions')::integer as owners,
        current_setting('superuser_reserved_connections')::integer
          + coalesce(current_setting('reserved_connections', true)::integer, 0) as reserved
    )
    select json_build_object(
      'lockSize', owners * current_setting('max_locks_per_transaction')::integer,
      'locksPerOwner', current_setting('max_locks_per_transaction')::integer,
      'locks', (select coalesce(sum(locks), 0) from sums),
      'isInTheWay', exists (
        select from locks where waits and relation < 16384 and pg_backend_pid() = any(pg_blocking_pids(pid))),
      'predicateSize', owners * current_setting('max_pred_locks_per_transaction')::integer,
      'predicatesKept', (
        select coalesce(sum(predicates), 0) from sums where not own and (pid is not null or owner = '-1/0')),
      'notifyUsage', pg_notification_queue_usage(),
      'slots', json_build_object('open', connections - reserved, 'used', (
        select count(*) from activity
        where backend_type = 'client backend' or (backend_type is null and usesysid is not null))),
      'hasWaits', exists (select from locks where waits and ${waitedLongerThan(blockingMs)}),
      'sessions', coalesce((
        select json_agg(json_build_object(
          'pid', a.pid, 'startedAt', coalesce(a.backend_start::text, ''), 'login', a.usename, 'isIdle', a.state is not distinct from 'idle',
          'transactionMs', ${msSince(sql`a.xact_start`)}, 'quietMs', ${msSince(sql`a.state_change`)},
          'transaction', s.transaction,
          'locks', coalesce(s.locks, 0), 'predicateLocks', coalesce(s.predicates, 0)))
        from activity a
        left join (
          select pid, sum(locks) as locks, sum(predicates) filter (where own) as predicates, max(owner) filter (where own) as transaction
          from sums group by pid
        ) s using (pid)
        where a.usename ~ ${TENANT_LOGIN}), '[]'),
      'prepared', coalesce((
        select json_agg(json_build_object(
          'gid', p.gid, 'login', p.owner, 'database', p.database, 'preparedMs', ${msSince(sql`p.prepared`)},
          'locks', coalesce(s.locks, 0)))
        from pg_prepared_xacts p
        -- A prepared transaction keeps the virtual id of the session that it had.
        left join sums s on s.pid is null and s.owner = (
          select l.owner from locks l where l.prepared = p.transaction limit 1)
        where p.owner ~ ${TENANT_LOGIN}), '[]'),
      'workers', coalesce((
        select json_agg(json_build_object(
          'pid', pid, 'startedAt', backend_start::text, 'database', datname, 'work', query,
          'transactionMs', ${msSince(sql`xact_start`)},
          'isAnalyzing', exists (select from pg_stat_progress_analyze p where p.pid = activity.pid),
          'isHeld', wait_event_type is not distinct from 'Lock' or wait_event is not distinct from 'PgSleep'))
        from activity
        where backend_type = 'autovacuum worker' and datname is not null and xact_start is not null), '[]')
    ) as sight
    from setting`)
  if (row === undefined) throw new Error('bug: the look at a data server has no row')
  return row.sight
}

/** readWaits resolves with the sessions that have waited for a lock for longer than this, and what blocks each. */
export async function readWaits(db: Pick<Db, 'query'>, longerThanMs: number): Promise<readonly Wait[]> {
  return db.query<Wait>(sql`
    with prepared as materialized (
      select p.gid, l.virtualtransaction as owner
      from pg_prepared_xacts p
      join pg_locks l on l.pid is null and l.granted and l.locktype = 'transactionid' and l.transactionid = p.transaction
    ),
    locks as materialized (
      select l.*, coalesce(a.leader_pid, l.pid) as leader, p.gid,
        concat_ws('/', l.locktype, coalesce(l.database::text, '-'), coalesce(l.relation::text, '-'), coalesce(l.page::text, '-'),
          coalesce(l.tuple::text, '-'), coalesce(l.virtualxid, '-'), coalesce(l.transactionid::text, '-'),
          coalesce(l.classid::text, '-'), coalesce(l.objid::text, '-'), coalesce(l.objsubid::text, '-')) as tag
      from pg_locks l
      left join pg_stat_activity a on a.pid = l.pid
      left join prepared p on l.pid is null and l.virtualtransaction = p.owner
    ),
    waits as materialized (
      select w.*, ${msSince(sql`w.waitstart`)} as waited, pg_blocking_pids(w.pid) as blocking
      from locks w where not w.granted and ${waitedLongerThan(longerThanMs)}
    )
    select w.pid, a.usename as login, w.mode,
      -- The lock by which commits with notifications wait for each other.
      case when w.locktype = 'object' and w.database = 0 and w.classid = 1262 and w.objid = 0 then 'notify'
        else w.locktype end as locktype, w.waited as "waitedMs",
      coalesce(w.locktype = 'tuple' and w.relation < 16384, false)
        or (w.locktype = 'transactionid' and exists (
          select from locks t where t.pid = w.pid and t.locktype = 'tuple' and t.relation < 16384)) as "isCatalogRow",
      -- A row that is inserted twice leaves no lock of its own.
      w.locktype = 'transactionid' and not exists (
        select from locks t where t.pid = w.pid and t.locktype = 'tuple')
        and exists (
          select from locks t
          where t.pid = w.pid and t.locktype = 'relation' and t.relation < 16384 and t.mode = 'RowExclusiveLock'
        ) as "isCatalogKey",
      coalesce((
        select json_agg(json_build_object('pid', b.pid, 'gid', b.gid, 'held', b.held, 'wanted', b.wanted))
        from (
          select coalesce(l.leader, 0) as pid, l.gid,
            coalesce(json_agg(l.mode) filter (where l.granted), '[]') as held,
            coalesce(json_agg(l.mode) filter (where not l.granted), '[]') as wanted
          from locks l
          where l.tag = w.tag and coalesce(l.leader, 0) = any(w.blocking) and l.pid is distinct from w.pid
          group by 1, 2
        ) b), '[]') as blockers
    from waits w left join pg_stat_activity a on a.pid = w.pid`)
}

/** A wait that has only just begun has no time yet. */
function waitedLongerThan(ms: number): Statement {
  return sql`clock_timestamp() - waitstart > ${ms} * interval '1 millisecond'`
}

function msSince(time: Statement): Statement {
  return sql`floor(extract(epoch from clock_timestamp() - ${time}) * 1000)::float8`
}

/** Ender is the session by which others are ended. */
export interface Ender {
  query<Row extends object>(statement: Statement): Promise<readonly Row[]>
  /** queryAs runs it with what `script` changes, and undoes that. */
  queryAs<Row extends object>(script: string, statement: Statement): Promise<readonly Row[]>
}

/** SessionSeen is one session of a tenant's login. */
export type SessionSeen = Process & { readonly login: string }

/**
 * endSessions ends sessions, those that are still the ones that were seen, all in one statement: where many log in again and
 * again a round trip takes long. That takes the logins' privileges, which an administrator who is no superuser gives itself for
 * that. Resolves with what was thrown, by login, where that was not possible.
 * @throws what the server throws at all of them
 */
export async function endSessions(
  db: Ender,
  sessions: readonly SessionSeen[],
): Promise<ReadonlyMap<string, unknown>> {
  if (sessions.length === 0) return new Map()
  const rows = await db.query<{ login: string; script: string | null }>(sql`
    select usename::text as login, case when may then null else format('grant %I to current_user', usename) end as script,
      case when may then pg_terminate_backend(pid) end as ended
    from (
      select pid, usename, pg_has_role(usesysid, 'usage') or pg_has_role('pg_signal_backend', 'usage') as may
      from ${stillThere(sessions)}
      offset 0
    ) seen`)
  const scripts = new Map(rows.flatMap(({ login, script }) => (script === null ? [] : [[login, script]])))
  return endAs(db, sessions, scripts)
}

/** Where one login cannot be taken on, for it may be gone since, the others are taken on one by one. */
async function endAs(
  db: Ender,
  sessions: readonly SessionSeen[],
  scripts: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, unknown>> {
  if (scripts.size === 0) return new Map()
  const own = sessions.filter(({ login }) => scripts.has(login))
  try {
    await db.queryAs(
      [...scripts.values()].join(';'),
      sql`select pg_terminate_backend(pid) from ${stillThere(own)}`,
    )
    return new Map()
  } catch (error) {
    if (scripts.size === 1) return new Map([...scripts.keys()].map((login) => [login, error]))
  }
  const failed = new Map<string, unknown>()
  for (const script of scripts) {
    for (const [login, error] of await endAs(db, own, new Map([script]))) failed.set(login, error)
  }
  return failed
}

function stillThere(sessions: readonly SessionSeen[]): Statement {
  return sql`(
    select a.pid, a.usename, a.usesysid
    from unnest(
      ${sessions.map(({ pid }) => pid)}::integer[], ${sessions.map(({ login }) => login)}::text[],
      ${sessions.map(({ startedAt }) => startedAt)}::text[]) as s (pid, login, started)
    join pg_stat_activity a on a.pid = s.pid and a.usename = s.login
      and (s.started = '' or a.backend_start = nullif(s.started, '')::timestamptz)) still`
}

/** findOpenLogins resolves with those of some roles that can log in, or have sessions. */
export async function findOpenLogins(
  db: Pick<Db, 'query'>,
  logins: readonly string[],
): Promise<readonly string[]> {
  const rows = await db.query<{ name: string }>(sql`
    select rolname::text as name from pg_roles
    where rolname = any(${logins}::text[])
      and (rolcanlogin or exists (select from pg_stat_activity where usename = rolname))
    order by 1`)
  return rows.map(({ name }) => name)
}

/** rollBack ends a prepared transaction. One who is no superuser can do so as its owner only. */
export async function rollBack(admin: AdminDb, { database, gid }: PreparedTransaction): Promise<void> {
  await admin.inDatabase(database, async (db) => {
    const [row] = await db.query<{ script: string; as: string[]; after: string[] }>(sql`
      select format('rollback prepared %L', gid) as script,
        case when may then array[]::text[]
          else array[format('grant %I to current_user', owner), format('set role %I', owner)] end as "as",
        case when may then array[]::text[]
          else array['reset role', format('revoke %I from current_user', owner)] end as after
      from (
        select gid, owner, (select rolsuper from pg_roles where rolname = current_user) or owner = current_user as may
        from pg_prepared_xacts where gid = ${gid}
      ) seen`)
    if (row === undefined) return
    // One by one: it cannot be within a transaction.
    for (const script of row.as) await db.script(script)
    try {
      await db.script(row.script)
    } finally {
      for (const script of row.after) await db.script(script)
    }
  })
}

/**
 * stopWorker cancels what an autovacuum worker does to a tenant's table, and keeps autovacuum from that table, and from
 * all others of its schema whose analysis would run the owner's functions; VACUUM against a wraparound still comes.
 */
export async function stopWorker(admin: AdminDb, worker: AutovacuumWorker): Promise<void> {
  const { database, pid, startedAt, work } = worker
  // It may have gone on, to another tenant's table, whose autovacuum is not to end for that.
  const isAtIt = sql`
    pid = ${pid}::integer and backend_start = ${startedAt}::timestamptz
    and backend_type = 'autovacuum worker' and query = ${work}`
  const rows = await admin.query<{ relation: string }>(sql`
    select l.relation::text
    from pg_locks l join pg_stat_activity a using (pid)
    where ${isAtIt}
      and l.locktype = 'relation' and l.mode = 'ShareUpdateExclusiveLock' and l.relation >= 16384`)
  await admin.query(sql`select pg_cancel_backend(pid) from pg_stat_activity where ${isAtIt}`)
  if (rows.length === 0) return
  await admin.inDatabase(database, (db) =>
    excuse(
      db,
      rows.map(({ relation }) => relation),
    ),
  )
}

async function excuse(db: ScriptDb, relations: readonly string[]): Promise<void> {
  await db.transaction(async (tx) => {
    // The database may be the tenant's, with operators of its own.
    await tx.script(`set local search_path = pg_catalog; set local lock_timeout = ${LOCK_TIMEOUT_MS}`)
    const scripts = await tx.query<{ script: string }>(sql`
      select format('alter table %I.%I set (autovacuum_enabled = false)', n.nspname, c.relname) as script
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'r' and c.oid >= 16384 and (
        c.oid::text = any(${relations}::text[])
        or (
          c.relnamespace in (select relnamespace from pg_class where oid::text = any(${relations}::text[]))
          and (
            exists (
              select from pg_index i
              where i.indrelid = c.oid and (i.indexprs is not null or i.indpred is not null))
            or exists (select from pg_statistic_ext s where s.stxrelid = c.oid and s.stxexprs is not null)
          )
        )
      )
      and not coalesce('autovacuum_enabled=false' = any(c.reloptions), false)
      order by c.oid`)
    for (const { script } of scripts) await tx.script(script)
  })
}
