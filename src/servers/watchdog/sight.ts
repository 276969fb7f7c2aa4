/** Sight is what one look at a data server has found. Times are in milliseconds, of the server's clock. */
export interface Sight {
  /** How many locks the table holds that all sessions share, and of those of serializable transactions. */
  readonly lockSize: number
  readonly predicateSize: number
  /** How many of the latter are of transactions that have ended. */
  readonly predicatesKept: number
  /** `max_locks_per_transaction`: what the shared table has for each session, if all had the same. */
  readonly locksPerOwner: number
  /** How many locks are in that table, of all processes. */
  readonly locks: number
  /** Whether another session waits for the locks that a look needs. */
  readonly isInTheWay: boolean
  readonly slots: Slots
  /** The part of the NOTIFY queue that is full, from 0 to 1. */
  readonly notifyUsage: number
  /** For how long there has been something in it at every look. */
  readonly notifyMs: number
  /** Whether a session has waited for a lock for longer than the look was asked for. */
  readonly hasWaits: boolean
  readonly sessions: readonly TenantSession[]
  readonly prepared: readonly PreparedTransaction[]
  readonly workers: readonly AutovacuumWorker[]
}

/** Slots are the server's places for sessions. */
export interface Slots {
  /** What ordinary logins can have: without what is kept for superusers and `pg_use_reserved_connections`. */
  readonly open: number
  readonly used: number
}

/** Process is a process of the server. Its number comes back, so that the time of its start belongs to it. */
export interface Process {
  readonly pid: number
  /** As text of the server's own; empty when this administrator may not see it. */
  readonly startedAt: string
}

/** TenantSession is a session of a tenant's login. */
export interface TenantSession extends Process {
  readonly login: string
  readonly isIdle: boolean
  /** Null without a transaction. */
  readonly transactionMs: number | null
  /** Since when its state is what it is; null when this administrator may not see it. */
  readonly quietMs: number | null
  readonly locks: number
  /** Of its transaction. It is not its doing how long those of earlier ones are kept. */
  readonly predicateLocks: number
}

/** PreparedTransaction is one of a tenant's login that belongs to no session. */
export interface PreparedTransaction {
  readonly gid: string
  readonly login: string
  readonly database: string
  readonly preparedMs: number
  readonly locks: number
}

/** AutovacuumWorker is one at work. */
export interface AutovacuumWorker extends Process {
  readonly database: string
  /** `autovacuum: ` and what it does to which table. */
  readonly work: string
  readonly transactionMs: number
  /** Whether it analyzes a table, and does not vacuum it. */
  readonly isAnalyzing: boolean
  /** Whether it sleeps by `pg_sleep` or waits for a lock, which no analysis does by itself. */
  readonly isHeld: boolean
}

/** Wait is a session that has waited for a lock for longer than is fine. */
export interface Wait {
  readonly pid: number
  /** Null for a process without a login. */
  readonly login: string | null
  /** `pg_locks.locktype`, and `notify` for the lock by which commits with notifications wait for each other. */
  readonly locktype: string
  readonly mode: string
  readonly waitedMs: number
  /** Whether it waits for a row of a system catalog. */
  readonly isCatalogRow: boolean
  /** Whether it may wait for another row of a system catalog with the same key, or of a table that it fills after such a row. */
  readonly isCatalogKey: boolean
  readonly blockers: readonly Blocker[]
}

/** Blocker is a session in the way of a {@link Wait}, by a lock that it has or by its place in the queue. */
export interface Blocker {
  /** 0 for a prepared transaction, which has `gid`. */
  readonly pid: number
  readonly gid: string | null
  /** Modes of the same lock that it has, and that it waits for. */
  readonly held: readonly string[]
  readonly wanted: readonly string[]
}
