import type { LessorError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import type { RootCertificates } from './root-certificates.ts'
import type { Db, Statement } from './statement.ts'

/** PoolKey names a tenant's pool; a higher generation makes older entries drain. */
export interface PoolKey {
  readonly tenantId: string
  readonly generation: number
}

/**
 * Caller is whoever waits for the work. `signal` is read only when the caller has to wait or its
 * statement runs long, so that a getter that makes the signal on demand (Fastify's
 * `request.signal`) costs the hot path nothing. An `AbortController` is a Caller.
 */
export interface Caller {
  readonly signal: AbortSignal
}

/** HostAddress is a host name, an IP address or a socket directory, and a port. */
export interface HostAddress {
  readonly host: string
  readonly port: number
}

/** ServerWay is how a server is reached; all connections to it have the same, for all logins. */
export interface ServerWay extends HostAddress {
  /** Further hosts that the server may be at, such as the standbys that can be promoted; see WritableHosts. */
  readonly alternates?: readonly HostAddress[] | undefined
  readonly tls: TlsMode
  /** What a certificate is checked against; Node's own list when undefined. */
  readonly rootCertificates?: RootCertificates | undefined
}

/** wayOf takes the way out of whatever has one. */
export function wayOf({ host, port, alternates, tls, rootCertificates }: ServerWay): ServerWay {
  return {
    host,
    port,
    ...(alternates !== undefined && alternates.length > 0 && { alternates }),
    tls,
    ...(rootCertificates !== undefined && { rootCertificates }),
  }
}

/** hostsOf is all hosts of a way, in the order in which they are named. */
export function hostsOf({ host, port, alternates = [] }: ServerWay): readonly HostAddress[] {
  return [{ host, port }, ...alternates]
}

/** ConnectionTarget is all that it takes to log in as a tenant. */
export interface ConnectionTarget extends ServerWay {
  /** Name of the data server whose budget the connection counts against. */
  readonly server: string
  readonly database: string
  readonly user: string
  readonly password: Secret
  /** Settings sent in the start-up packet, e.g. `rls.tenant_id`. */
  readonly parameters: Readonly<Record<string, string>>
  /** Connections that this tenant may hold here; the engine's own limit still applies. */
  readonly maxConnections?: number
  /** The tenant's part where connections are short, against 1 for others; 1 by default. */
  readonly weight?: number
  /**
   * Whether this is the login of all tenants of the data server's placement `row`: their entries share
   * one pool, in which each unit of work is a transaction that is bound to its tenant.
   */
  readonly isShared?: boolean
}

/**
 * TLS_MODES follow libpq's sslmode: `require` encrypts, `verify-ca` checks the server's certificate, `verify-full`
 * its name as well.
 */
export const TLS_MODES = ['disable', 'require', 'verify-ca', 'verify-full'] as const
export type TlsMode = (typeof TLS_MODES)[number]

/** Rows is a statement's result, with the server's command tag. */
export type Rows = readonly object[] & { readonly command?: string }

/** Running is one statement on the wire. */
export interface Running {
  /** The rows, or the server's error, or the connection's loss. */
  readonly result: Promise<Rows>
  /**
   * Why its answer will be refused though it still comes (RESULT_TOO_LARGE); undefined as long as nothing is known
   * of that. The statement may be cancelled as soon as that cannot hit another.
   */
  readonly refusal: LessorError | undefined
  /**
   * True of a failed statement by itself when the server has said that nothing of it has taken effect, and it is one
   * that can only have worked within its transaction: it may be run again.
   */
  readonly isUndone?: boolean
  /**
   * cancel asks the server to stop what this connection runs at that moment (PostgreSQL protocol,
   * CancelRequest); resolves when the server has taken the request. Call it only when this is the
   * connection's only statement.
   */
  cancel(): Promise<void>
}

/** TransactionCommand is what a transaction begins or ends with. No statement may have such a text. */
export type TransactionCommand = 'begin' | 'commit' | 'rollback'

/**
 * Standing is whether a session takes writes: `standby` is in hot standby; `read-only` begins its transactions
 * read only (`default_transaction_read_only`), which the server's configuration, or the role itself, can say.
 */
export type Standing = 'writable' | 'read-only' | 'standby'

/** Connection is one server connection, owned by the engine. Never logged: the driver prints its password. */
export interface Connection {
  /** Process id of the server's backend. */
  readonly pid: number
  /** False as soon as nothing can be sent any more, some turns of the event loop before `lost`. */
  readonly isUsable: boolean
  /** As the server has last reported it, at the login or with an answer; undefined counts as writable. */
  readonly standing?: Standing | undefined
  /**
   * run sends a statement; never throws, failures reject its result. With `binding`, a canonical UUID,
   * it runs in a transaction of its own in which `rls.tenant_id` is that tenant, all of it sent at once;
   * the result is there when the server has confirmed the commit.
   */
  run(statement: Statement, binding?: string): Running
  /**
   * command begins or ends a transaction; what is run in between is part of it. `binding` goes with `begin`, as in
   * `run`. The result's command is ROLLBACK when a transaction that had failed was to be committed.
   */
  command(command: TransactionCommand, binding?: string): Running
  /**
   * copy runs a COPY to or from the client, for proofs that it is refused. Its result is the lines that the server
   * sent as rows of `line`; where it waits for rows it gets none, and the result has no rows and the command COPY.
   */
  copy(text: string): Running
  /** close says goodbye and resolves when the socket is closed, so that the backend is gone. */
  close(): Promise<void>
  /** destroy drops the socket now; what runs on the server is not stopped by it. */
  destroy(): void
  /** Resolves when the connection is gone for whatever reason. Never rejects. */
  readonly lost: Promise<void>
}

/**
 * Connect logs in and resolves with a usable connection; rejects with the server's or socket's
 * error, or when `signal` aborts, and then leaves no socket behind.
 */
export type Connect = (target: ConnectionTarget, signal: AbortSignal) => Promise<Connection>

/** Locate finds where and as whom a tenant logs in: reads the sealed credential and opens it. */
export type Locate = (key: PoolKey, signal: AbortSignal) => Promise<ConnectionTarget>

/** EVICTION_REASONS is why an entry left the registry. */
export const EVICTION_REASONS = [
  'idle',
  'capacity',
  'budget',
  'rotation',
  'suspension',
  'deletion',
  'failure',
  'operator',
  'shutdown',
] as const
export type EvictionReason = (typeof EVICTION_REASONS)[number]

/** ENTRY_STATES is an entry's life: opening -> ready -> draining -> closed, with no way back. */
export const ENTRY_STATES = ['opening', 'ready', 'draining', 'closed'] as const
export type EntryState = (typeof ENTRY_STATES)[number]

/** PoolLimits are the hard limits and times of the engine; checked before a connection is made. */
export interface PoolLimits {
  /** Resident entries. */
  readonly maxEntries: number
  /** Connections of one tenant, draining ones included. */
  readonly maxConnections: number
  /** Connections of the pool that all tenants of the placement `row` on a data server share. */
  readonly sharedMaxConnections: number
  /** Connections of one data server over all tenants, draining ones included; see PoolRegistryOptions.serverLimit. */
  readonly serverMaxConnections: number
  /** Connections of this process over all data servers, draining ones included. */
  readonly processMaxConnections: number
  /** Connections being opened at once. */
  readonly maxOpening: number
  /** Callers that may wait at once; past it they are refused. */
  readonly maxWaiting: number
  readonly idleMs: number
  /** The longest idle time that thrash earns a tenant; at least `idleMs`. */
  readonly maxIdleMs: number
  /** How long a connection that nobody waits for stays open in a pool that is in use. */
  readonly connectionIdleMs: number
  readonly acquireTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly statementTimeoutMs: number
  readonly drainTimeoutMs: number
  /** Reopening within this time of an eviction counts as thrash. */
  readonly thrashMs: number
  /** First pause of a breaker; each failed probe doubles it, up to `breakerMaxMs`. */
  readonly breakerBaseMs: number
  readonly breakerMaxMs: number
}

/** BREAKER_STATES is a breaker's life: `closed` lets all through, `open` none, `half_open` one probe. */
export const BREAKER_STATES = ['closed', 'open', 'half_open'] as const
export type BreakerState = (typeof BREAKER_STATES)[number]

/** BreakerSnapshot is a breaker as operators see it. */
export interface BreakerSnapshot {
  readonly state: BreakerState
  /** Failures in a row. */
  readonly failures: number
  /** When the next probe may go, epoch milliseconds; null while it is closed. */
  readonly retryAt: number | null
  /** SQLSTATE or system code of the last failure. */
  readonly lastCode: string | null
}

/** EvictionRecord is one line of the eviction log. Times are epoch milliseconds. */
export interface EvictionRecord {
  readonly tenantId: string
  readonly generation: number
  readonly reason: EvictionReason
  readonly at: number
  /** Time since the entry was created. */
  readonly ageMs: number
  /** Time since its last lease ended; 0 when it was in use. */
  readonly idleMs: number
  /** Leases that were held when it was evicted; it drains until they end. */
  readonly leases: number
  readonly connections: number
}

/** PoolSnapshot is one entry as operators see it. Times are epoch milliseconds. */
export interface PoolSnapshot {
  readonly tenantId: string
  readonly generation: number
  readonly server: string | null
  readonly state: EntryState
  readonly leases: number
  readonly waiting: number
  readonly connections: { readonly opening: number; readonly idle: number; readonly busy: number }
  readonly createdAt: number
  readonly lastAccess: number
  readonly idleMs: number
  /** Idle time after which a sweep evicts it; longer than the configured one after thrash. */
  readonly idleLimitMs: number
  readonly hits: number
  readonly weight: number
  readonly breaker: BreakerSnapshot
}

/**
 * EvictionCandidate is an entry that could go, in the order in which it would: to make a place for
 * another entry (`capacity`) or a connection for another tenant (`budget`).
 */
export interface EvictionCandidate {
  readonly tenantId: string
  readonly server: string | null
  readonly reason: 'capacity' | 'budget'
  readonly idleMs: number
  readonly connections: number
  /** What opening it took last time, in milliseconds. */
  readonly reopenMs: number
  /** Lower goes first. */
  readonly cost: number
  /** One sentence for operators. */
  readonly why: string
}

/** Usage is how much of a limit is in use. */
export interface Usage {
  readonly used: number
  readonly limit: number
  /** The most that was in use at once since the start. */
  readonly peak: number
}

/** sharedHolder is the name by which the budgets know the pool that the tenants of `row` share on a data server. */
export function sharedHolder(server: string): string {
  return `shared:${server}`
}

/** BudgetHolder is a tenant that holds or wants connections of a data server, or the pool that the tenants of `row` share. */
export interface BudgetHolder {
  /** See {@link sharedHolder} for the shared pool. */
  readonly tenantId: string
  readonly connections: number
  readonly waiting: number
  readonly weight: number
  /** Connections that it would have if all that want some shared fairly. */
  readonly fairShare: number
}

/** ServerBudget is one data server's connections in this process. */
export interface ServerBudget extends Usage {
  readonly server: string
  readonly opening: number
  readonly closing: number
  /** Pools that wait for a connection. */
  readonly claims: number
  readonly breaker: BreakerSnapshot
  /** Those that hold most first. */
  readonly holders: readonly BudgetHolder[]
}

/** BudgetSnapshot is every hard limit with what is in use. */
export interface BudgetSnapshot {
  readonly entries: Usage
  readonly connections: Usage
  readonly opening: Usage
  readonly waiting: Usage
  readonly servers: readonly ServerBudget[]
}

/** CloseReport says what an orderly end has cut. */
export interface CloseReport {
  readonly durationMs: number
  /** Leases that were held when it began. */
  readonly leases: number
  /** Statements cancelled at the server, since they outlasted the drain deadline. */
  readonly statementsCut: number
  /** Callers that still waited and were refused. */
  readonly waitersCut: number
}

/** Reservation is one connection of a budget for work outside of the pools; release it when its socket is closed. */
export interface Reservation {
  release(): void
}

/** SweepCandidate is an idle entry that a sweep took or, in a dry run, would take now. */
export interface SweepCandidate {
  readonly tenantId: string
  readonly reason: EvictionReason
  readonly idleMs: number
  readonly connections: number
  /** One sentence for operators. */
  readonly why: string
}

export interface SweepReport {
  readonly dryRun: boolean
  readonly startedAt: number
  readonly durationMs: number
  readonly resident: number
  readonly idle: number
  readonly evicted: readonly SweepCandidate[]
  /** Surplus connections closed in pools that stay. */
  readonly connectionsClosed: number
}

/** PoolCounters never go down while the registry lives; an eviction does not reset them. */
export interface PoolCounters {
  readonly hits: number
  readonly opens: { readonly ok: number; readonly failed: number }
  readonly evictions: Readonly<Record<EvictionReason, number>>
  readonly reopened: number
  /** Callers refused: no place in the queue, or no connection in time. */
  readonly saturated: number
  /** Waiters refused to make room in the full queue for a tenant with fewer. */
  readonly displaced: number
  /** Connections given up by a pool in use, since others had less than their part. */
  readonly yielded: number
  /** Times that thrash lengthened a tenant's idle time. */
  readonly idleExtended: number
  /** Breakers that opened, and callers that open ones refused. */
  readonly breakers: {
    readonly opened: { readonly tenant: number; readonly server: number }
    readonly refused: { readonly tenant: number; readonly server: number }
  }
  readonly cancelled: number
  /** Statements sent once more, since the server had no room for their locks and had rolled them back. */
  readonly sentAgain: number
  readonly connectionsOpened: number
  readonly connectionsClosed: number
}

/** PoolGauges is the registry at this moment. */
export interface PoolGauges {
  readonly entries: Readonly<Record<Exclude<EntryState, 'closed'>, number>>
  readonly leases: number
  readonly waiting: number
  readonly connections: {
    readonly opening: number
    readonly idle: number
    readonly busy: number
    readonly closing: number
  }
  /** Breakers that are not closed. */
  readonly breakers: {
    readonly tenant: { readonly open: number; readonly half_open: number }
    readonly server: { readonly open: number; readonly half_open: number }
  }
  /** Draining entries whose tenant has a newer one. */
  readonly outdated: number
}

/** PoolObserver hears of what has a duration; counters and gauges are read, not pushed. Must not throw. */
export interface PoolObserver {
  opened(outcome: 'ok' | 'failed', ms: number): void
  waited(ms: number): void
  drained(ms: number): void
  swept(ms: number): void
  evicted(record: EvictionRecord): void
}

/** Lease is the right to use a tenant's pool for one unit of work; released exactly once. */
export interface Lease extends AsyncDisposable {
  readonly tenantId: string
  readonly db: Db
  release(): void
}

/** Pools is what the rest of the house sees of the engine. */
export interface Pools {
  /**
   * use leases the tenant's pool, opening it on first use, for as long as `fn` runs.
   * @throws LessorError POOL_SATURATED, POOL_OPEN_FAILED, TENANT_UNAVAILABLE, SERVER_UNAVAILABLE, SHUTTING_DOWN, CLIENT_CLOSED_REQUEST,
   *   and whatever `fn` or locating the tenant throws
   */
  use<T>(key: PoolKey, caller: Caller, fn: (db: Db) => Promise<T>): Promise<T>
  /** acquire is `use` for scopes that are no function; release the lease, or use `await using`. */
  acquire(key: PoolKey, caller: Caller): Promise<Lease>
  /** evict takes the tenant's entry out at once; resolves when its last connection is closed. False when there was none. */
  evict(tenantId: string, reason: EvictionReason): Promise<boolean>
  /** evictOlder evicts the tenant's entry when its generation is older; as `evict` else. */
  evictOlder(key: PoolKey, reason: EvictionReason): Promise<boolean>
  sweep(options?: { readonly dryRun?: boolean }): SweepReport
  /**
   * reserve takes one connection of the server's, the tenant's and the process's budget for work that
   * opens a connection by itself; waits for it as callers do.
   * @throws LessorError POOL_SATURATED, SHUTTING_DOWN, CLIENT_CLOSED_REQUEST
   */
  reserve(server: string, tenantId: string, caller: Caller): Promise<Reservation>
  /** rebalance looks again at the budgets: sheds what is above a limit that went down, serves who waits under one that went up. */
  rebalance(): void
  /** breaker is a tenant's breaker, which outlives its pools; a closed one for whoever has not failed. */
  breaker(tenantId: string): BreakerSnapshot
  /** forgive closes the tenant's breaker: what failed has been mended. */
  forgive(tenantId: string): void
  /** used is how many connections of a data server this process has: opening, open or closing. */
  used(server: string): number
  budget(): BudgetSnapshot
  /** candidates lists the entries that would go next to make room, first the one that goes first. */
  candidates(limit: number): readonly EvictionCandidate[]
  counters(): PoolCounters
  gauges(): PoolGauges
  snapshots(): readonly PoolSnapshot[]
  snapshot(tenantId: string): PoolSnapshot | undefined
  /** evictions returns the last few hundred, newest first. */
  evictions(): readonly EvictionRecord[]
  /** close refuses new work, lets leases end (or cuts them at the drain deadline), closes all. Memoised. */
  close(): Promise<CloseReport>
  /** destroy ends everything now; what runs fails with `error`. Memoised. */
  destroy(error: Error): Promise<void>
}
