import { Authenticator } from './access/authenticator.ts'
import { KeyService } from './access/key-service.ts'
import { TrustedNetworks } from './access/trusted-networks.ts'
import { type Clock, systemClock } from './clock.ts'
import { type Config, ConfigError } from './config.ts'
import { ControlChangeLog } from './control/change-log.ts'
import { ControlDatabase } from './control/control-database.ts'
import { parseDatabaseUrl } from './control/database-url.ts'
import { migrate, readMigrations } from './control/migrate.ts'
import { Outage } from './control/outage.ts'
import { LessorError } from './errors.ts'
import type { Logger } from './http/logger.ts'
import { createNodeServices } from './node-services.ts'
import { Health } from './ops/health.ts'
import { Metrics } from './ops/metrics.ts'
import { SweepJob } from './ops/sweep-job.ts'
import type { Placement } from './placement/placement.ts'
import { RolePlacement } from './placement/role-placement.ts'
import type { Caller } from './pool/contract.ts'
import { openConnection } from './pool/open-connection.ts'
import { PoolRegistry } from './pool/registry.ts'
import type { Db } from './pool/statement.ts'
import { DEFAULT_SERVER } from './servers/data-server.ts'
import { DataServers } from './servers/data-servers.ts'
import { ServerShares } from './servers/server-shares.ts'
import { makeLocate } from './tenants/locate.ts'
import { NamespaceService } from './tenants/namespace-service.ts'
import { type RecoveryJob, startRecoveryJob } from './tenants/recovery-job.ts'
import type { PlacementName, TenantRef } from './tenants/tenant.ts'
import { TenantChanges } from './tenants/tenant-changes.ts'
import { openTenantDirectory } from './tenants/tenant-directory.ts'
import { TenantService } from './tenants/tenant-service.ts'
import { parseVaultKeys } from './vault/key-ring.ts'
import { Vault } from './vault/vault.ts'
import { readVersion } from './version.ts'

/** The application's tables, declared once for all placements; applied to each data server. */
const APP_MIGRATIONS = new URL('../sql/app/', import.meta.url)
const APP_LEDGER = 'lessor.app_migrations'

/** When the jobs that dead processes left behind are looked for. */
const RECOVERY_CRON = '*/15 * * * * *'

export interface LessorOptions {
  readonly logger: Logger
  readonly clock?: Clock
}

/** TenantRequest is what `use` reads of a request behind a tenant guard; Fastify's requests are one. */
export interface TenantRequest extends Caller {
  readonly tenant: TenantRef | null
}

/** Lessor is the services of one process, wired; `createLessor` makes it. */
export type Lessor = ReturnType<typeof createLessor>

/**
 * createLessor wires the services. Nothing runs and nothing connects before `start`.
 * @throws ConfigError when the database's URL or a key is missing, or the cron expression is wrong
 */
export function createLessor(config: Config, { logger, clock = systemClock }: LessorOptions) {
  const { databaseUrl, operatorKey, vaultKeys } = required(config)
  const metrics = new Metrics()
  const address = parseDatabaseUrl(databaseUrl.reveal())
  const control = new ControlDatabase({
    url: databaseUrl.reveal(),
    maxConnections: config.control.maxConnections,
    connectTimeoutMs: config.pools.connectTimeoutMs,
    statementTimeoutMs: config.pools.statementTimeoutMs,
  })
  const health = new Health({ clock, ping: () => control.ping() })

  const vault = new Vault(parseVaultKeys(vaultKeys.reveal()), metrics)
  const placements = new Map<PlacementName, Placement>([
    [
      'role',
      new RolePlacement({
        migrate: async (admin) => migrate(admin, await readMigrations(APP_MIGRATIONS), APP_LEDGER),
        notice: (message) => logger.warn(message),
      }),
    ],
  ])
  const servers = new DataServers({ db: control, address })
  const changes = new ControlChangeLog({ db: control, leaseMs: config.nodes.leaseMs })
  const outage = new Outage({
    clock,
    outageMs: config.tenants.outageMs,
    onBegin: (error) =>
      logger.warn({ err: error }, 'the control database is away, known tenants and keys are served on'),
    onEnd: (ms) => logger.info({ ms: Math.round(ms) }, 'the control database is back'),
  })
  const shares = new ServerShares({
    servers: [DEFAULT_SERVER],
    budget: config.pools.serverMaxConnections,
    clock,
    pools: { used: (server) => pools.used(server), rebalance: () => pools.rebalance() },
  })
  const pools: PoolRegistry = new PoolRegistry({
    limits: config.pools,
    clock,
    connect: openConnection,
    locate: makeLocate({ db: control, vault, servers, placements }),
    observer: metrics,
    serverLimit: (server) => shares.limit(server),
  })

  const keys = new KeyService({ changes })
  const authenticator = new Authenticator({
    db: control,
    operatorKey,
    clock,
    outage,
    verifiedMs: config.access.apiKeyCacheMs,
  })
  const trustedNetworks = new TrustedNetworks(config.access.trustedNetworks)
  const directory = openTenantDirectory(control, { clock, outage, ttlMs: config.tenants.cacheMs })
  const tenants = new TenantService({
    db: control,
    servers,
    placements,
    vault,
    keys,
    pools,
    directory,
    changes,
    connect: openConnection,
    limits: config.roles,
    checkTimeoutMs: 2 * config.pools.connectTimeoutMs,
    maxConnections: config.pools.maxConnections,
    jobClaimMs: config.tenants.jobClaimMs,
    // A process has heard of the change, or its lease has run out, and its drain deadline has passed.
    settleTimeoutMs: config.nodes.leaseMs + config.pools.drainTimeoutMs,
    jobObserver: {
      failed: ({ kind, tenantId, step }, error) =>
        logger.warn({ err: error, kind, tenant: tenantId, step }, 'job failed, it will be tried again'),
      overdue: ({ kind, tenantId }) =>
        logger.warn({ kind, tenant: tenantId }, 'ending a login that a process may still use'),
    },
  })
  const namespaces = new NamespaceService(control)
  const node = createNodeServices({
    config,
    logger,
    clock,
    control,
    address,
    outage,
    shares,
    handler: new TenantChanges({ db: control, directory, authenticator, pools }),
  })

  metrics.watch({
    pools,
    countTenants: async () => Object.fromEntries(await tenants.countByStatus()),
    check: () => health.check(),
    nodes: () => ({ live: node.nodes.live, unreadMs: outage.unreadMs }),
    version: readVersion(),
    onError: (error) => logger.warn({ err: error }, 'a metric could not be read'),
  })
  const sweepJob = new SweepJob({ cron: config.sweepCron, pools, logger })
  let recoveryJob: RecoveryJob | undefined
  let closing: Promise<void> | undefined

  async function recover(): Promise<void> {
    const jobs = await tenants.recover()
    if (jobs > 0) logger.info({ jobs }, 'took over the jobs of dead processes')
  }

  function recoveryFailed(error: unknown): void {
    logger.warn({ err: error }, 'recovery failed, it will be tried again')
  }

  async function shutDown(): Promise<void> {
    health.drain()
    sweepJob.stop()
    await recoveryJob?.stop()
    const [report] = await Promise.all([pools.close(), tenants.close()])
    logger.info(report, 'pools closed')
    await node.stop()
    await servers.close()
    await control.close()
  }

  return {
    config,
    clock,
    logger,
    control,
    servers,
    pools,
    tenants,
    namespaces,
    keys,
    authenticator,
    directory,
    nodes: node.nodes,
    shares,
    changes,
    outage,
    trustedNetworks,
    metrics,
    health,

    /**
     * use runs `fn` on the pool of the tenant that a guard put on the request.
     * @throws what Pools.use throws
     */
    async use<T>(request: TenantRequest, fn: (db: Db) => Promise<T>): Promise<T> {
      const { tenant } = request
      if (tenant === null) {
        throw new LessorError('INTERNAL', 'The route stands behind no tenant guard.')
      }
      return pools.use(tenant, request, fn)
    },

    /**
     * start migrates the control database, makes the data server ready and starts the jobs.
     * @throws LessorError CONTROL_UNAVAILABLE, SERVER_UNAVAILABLE, PLACEMENT_UNAVAILABLE; MigrationError
     */
    async start(): Promise<void> {
      const ran = await migrate(control, await readMigrations())
      if (ran.length > 0) logger.info({ migrations: ran.map(({ name }) => name) }, 'migrated')
      await servers.start(placements.values())
      await node.start()
      health.migrated()
      sweepJob.start()
      recoveryJob = startRecoveryJob({ cron: RECOVERY_CRON, recover, onError: recoveryFailed })
      recover().catch(recoveryFailed)
    },

    /** close stops the jobs, drains the pools, lets work under way end and disconnects. Memoised. */
    close(): Promise<void> {
      closing ??= shutDown()
      return closing
    },
  }
}

function required({ control, operatorKey, vaultKeys }: Config) {
  const missing = [
    ...(control.url === undefined ? ['DATABASE_URL'] : []),
    ...(operatorKey === undefined ? ['OPERATOR_KEY'] : []),
    ...(vaultKeys === undefined ? ['VAULT_KEYS'] : []),
  ]
  if (control.url === undefined || operatorKey === undefined || vaultKeys === undefined) {
    throw new ConfigError(missing.map((name) => `${name} must be set`))
  }
  return { databaseUrl: control.url, operatorKey, vaultKeys }
}
