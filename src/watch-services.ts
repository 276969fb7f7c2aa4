import type { Clock } from './clock.ts'
import type { Config } from './config.ts'
import type { Logger } from './http/logger.ts'
import type { DataServers } from './servers/data-servers.ts'
import { ConnectionLimits } from './servers/role-limits.ts'
import type { ServerShares } from './servers/server-shares.ts'
import { type BlockedLogins, Watchdog } from './servers/watchdog/watchdog.ts'
import type { Tasks } from './tasks.ts'

export interface WatchServicesOptions {
  readonly config: Pick<Config, 'watchdog' | 'pools' | 'http'>
  readonly logger: Logger
  readonly clock: Clock
  readonly servers: Pick<DataServers, 'names' | 'login' | 'admin'>
  readonly shares: Pick<ServerShares, 'isFirst'>
  readonly tasks: Pick<Tasks, 'begin' | 'ended'>
  readonly logins: BlockedLogins
  /** Live nodes, as this one sees them. */
  readonly nodes: () => number
  /** The tenants' logins of a data server, a page at a time. */
  readonly allLogins: (server: string) => AsyncIterable<readonly string[]>
  /** Sessions that a tenant's login may have. */
  readonly connectionLimit: () => number
}

const LIMITS_MS = 60_000

/** createWatchServices wires the watchdog of the data servers; nothing runs before `start`. */
export function createWatchServices(options: WatchServicesOptions) {
  const { allLogins, config, clock, connectionLimit, logger, logins, nodes, servers, shares, tasks } = options
  const { blockingMs, intervalMs, isOn, lockPart, offences, offenceMs, sessionPart, transactionMs } =
    config.watchdog
  /** What could not be done is told once, until all could be done. */
  const told = new Map<string, Set<string>>()
  const watchdog = new Watchdog({
    servers,
    clock,
    isWatcher: (server) => shares.isFirst(server),
    intervalMs,
    limits: () => ({
      lockPart,
      blockingMs,
      requestMs: Math.max(config.http.requestTimeoutMs, config.pools.statementTimeoutMs),
      transactionMs,
      sessionPart,
      poolSessions: config.pools.maxConnections,
      nodes: nodes(),
    }),
    offences: { count: offences, withinMs: offenceMs },
    logins,
    onTurn: (failures) => tasks.ended('watchdog', failures),
    observer: {
      ended: (server, { facts, login, reason, target, tenantId }, count) =>
        logger.warn(
          {
            server,
            tenant: tenantId,
            login,
            reason,
            ...(target.kind === 'session' && { pid: target.session.pid }),
            ...(target.kind === 'worker' && { pid: target.worker.pid }),
            ...facts,
            offences: count,
          },
          `ended what a tenant's login did to others`,
        ),
      blocked: ({ isVisitor, login, reason, server, tenantId }) =>
        logger.warn(
          { server, tenant: tenantId, login, reason },
          isVisitor
            ? "a person's login was dropped: it had to be ended too often"
            : "a tenant's login is blocked: it had to be ended too often",
        ),
      failed: (server, error) => {
        const what = error instanceof Error ? error.message : String(error)
        const before = told.get(server) ?? new Set()
        if (before.has(what)) return
        told.set(server, before.add(what))
        logger.warn({ err: error, server }, 'a data server could not be watched, it will be tried again')
      },
      passed: (server, _, failures) => {
        if (failures > 0 || !told.delete(server)) return
        logger.info({ server }, 'a data server is watched again')
      },
    },
  })
  const connectionLimits = new ConnectionLimits({
    servers,
    logins: allLogins,
    isKeeper: (server) => shares.isFirst(server),
    limit: connectionLimit,
    intervalMs: LIMITS_MS,
    beginTurn: () => tasks.begin('connection_limits'),
    onRaised: (server, count, limit) =>
      logger.info(
        { server, count, limit },
        "the tenants' logins may have more sessions, as there are more nodes",
      ),
    onProblem: (server, error) =>
      logger.warn({ err: error, server }, "the limits of some tenants' logins could not be raised"),
  })
  return {
    state: watchdog.state,

    start(): void {
      connectionLimits.start()
      if (isOn) watchdog.start()
    },

    /** reopen is for a data server that has moved. */
    reopen: (server: string) => watchdog.reopen(server),

    /** stop resolves when nothing is watched any more. Never rejects. */
    async stop(): Promise<void> {
      await Promise.all([watchdog.stop(), connectionLimits.stop()])
    },
  }
}
