import { TENANT_LOGIN } from '../placement/tenant-names.ts'
import { type Statement, sql } from '../pool/statement.ts'

/** TenantSession is a session that may have to be ended. */
export interface TenantSession {
  readonly pid: number
  readonly roleId: number
  /** Name of its login. */
  readonly role: string
  /** Whether the administrator may end it as things are. */
  readonly mayEnd: boolean
}

/** Blocker is a session that an administrator's statement waits for, be it by way of others. */
export interface Blocker extends TenantSession {
  readonly isTenant: boolean
  /** Whether it is the session that looks. */
  readonly isOwn: boolean
  /** Whether it looks for another process, or another data server of this one, that is administered by the same login. */
  readonly isClearing: boolean
  /** Whether it has what is waited for; where not, it only waits for it as well, in front. */
  readonly holds: boolean
  /** Whether it holds it as every session does that reads and writes rows of a table: a weak lock on that, or a row. */
  readonly isOrdinary: boolean
  /** Age of its transaction; null where the administrator may not see that. */
  readonly ageMs: number | null
}

/** CLEARING is the name of the sessions that look. */
export const CLEARING = 'lessor clearing'

/** The part of the table of locks that the sessions of one tenant's login have to hold to be ended when it is full. */
const SHARE = 0.1
const FULL = 0.8
/** Tables of PostgreSQL's own have oids below it (access/transam.h, FirstNormalObjectId). */
const FIRST_USER_OID = 16_384

/** What ending a session takes (PostgreSQL manual, "Server Signaling Functions"). */
const MAY_END = sql`(pg_has_role(usesysid, 'usage') or pg_has_role('pg_signal_backend', 'usage'))`

/**
 * Whether what waits for another's transaction waits for a row of a catalog, or for another row with the same key. Who waits
 * for a row holds a lock on it meanwhile; who inserts a key that another one is inserting holds none (heapam.c,
 * heap_acquire_tuplock; nbtinsert.c, _bt_doinsert).
 */
const OF_CATALOG = sql`coalesce(
  (select bool_or(t.relation < ${FIRST_USER_OID}::integer::oid) from locks t where t.pid = e.waiter and t.locktype = 'tuple'),
  exists (select from locks t where t.pid = e.waiter and t.locktype = 'relation' and t.granted
    and t.relation < ${FIRST_USER_OID}::integer::oid and t.mode = 'RowExclusiveLock'))`

const CAPACITY = sql`(current_setting('max_locks_per_transaction')::bigint
  * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint))`

/**
 * sessionsInTheWay finds the sessions that a backend waits for, those that these wait for, and so on. What a tenant's
 * session waits for that has the lock itself is not in the way: the tenant's is ended, and it chose what to wait for.
 */
export function sessionsInTheWay(pid: number): Statement {
  return sql`
    with recursive locks as materialized (
      select pid, granted, mode, locktype, relation,
        (locktype, database, relation, page, tuple, virtualxid, transactionid::text, classid, objid, objsubid)::text as tag
      from pg_locks
    ), edges as (
      select ${pid}::integer as waiter, blocker from unnest(pg_blocking_pids(${pid}::integer)) blocker
      union
      select e.blocker, b from edges e, unnest(pg_blocking_pids(e.blocker)) b
      where not exists (
        select from pg_stat_activity a
        join locks h on h.pid = a.pid and h.granted
        join locks w on w.pid = e.waiter and not w.granted and w.tag = h.tag
        where a.pid = e.blocker and a.usename ~ ${TENANT_LOGIN})
    )
    select a.pid, a.usesysid::bigint::float8 as "roleId", a.usename::text as role, ${MAY_END} as "mayEnd",
      coalesce(a.usename ~ ${TENANT_LOGIN}, false) as "isTenant", a.pid = pg_backend_pid() as "isOwn",
      a.pid <> pg_backend_pid() and coalesce(a.usename = current_user and a.application_name = ${CLEARING}, false) as "isClearing",
      bool_or(h.pid is not null) as holds,
      bool_and(h.pid is null
        or h.locktype = 'relation' and h.mode in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
        or h.locktype = 'virtualxid' or h.locktype in ('transactionid', 'tuple') and not ${OF_CATALOG}) as "isOrdinary",
      (extract(epoch from clock_timestamp() - min(a.xact_start)) * 1000)::float8 as "ageMs"
    from edges e
    join pg_stat_activity a on a.pid = e.blocker
    left join locks w on w.pid = e.waiter and not w.granted
    left join locks h on h.pid = e.blocker and h.granted and h.tag = w.tag
    where e.blocker <> ${pid}::integer
    group by a.pid, a.usesysid, a.usename, a.application_name`
}

/** ending ends a session, unless its process is gone and another role's has its number by now. */
export function ending({ pid, roleId }: Pick<TenantSession, 'pid' | 'roleId'>): Statement {
  return sql`
    select pg_terminate_backend(pid) as ended from pg_stat_get_activity(${pid}::integer)
    where usesysid = ${String(roleId)}::oid`
}

/** fullness says whether the table of locks has hardly any room. Locks on the fast path are not in it. */
export const fullness: Statement = sql`
  select count(*) >= ${FULL}::float8 * ${CAPACITY} as full from pg_locks where not fastpath`

/**
 * lockHoarders finds the sessions of tenants' logins that fill the table of locks: those of each login that holds more
 * than its share, and, where the table is full all the same, the one that holds the most.
 */
export const lockHoarders: Statement = sql`
  with held as (
    select a.pid, a.usesysid, a.usename, count(*) as locks
    from pg_locks l join pg_stat_activity a on a.pid = l.pid
    where not l.fastpath and a.usename ~ ${TENANT_LOGIN}
    group by a.pid, a.usesysid, a.usename
  ), ranked as (
    select *, sum(locks) over (partition by usesysid) as together, row_number() over (order by locks desc) as place
    from held
  )
  select pid, usesysid::bigint::float8 as "roleId", usename::text as role, ${MAY_END} as "mayEnd"
  from ranked
  where together > ${SHARE}::float8 * ${CAPACITY}
    or place = 1 and (select count(*) from pg_locks where not fastpath) >= ${FULL}::float8 * ${CAPACITY}`
