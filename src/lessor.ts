import { Authenticator } from './access/authenticator.ts'
import { HashKeys } from './access/hash-keys.ts'
import { KeyService } from './access/key-service.ts'
import { MacHasher } from './access/mac-hasher.ts'
import { TrustedNetworks } from './access/trusted-networks.ts'
import { type Clock, systemClock } from './clock.ts'
import { type Config, ConfigError } from './config.ts'
import { ControlChangeLog } from './control/change-log.ts'
import { ControlDatabase } from './control/control-database.ts'
import { dataFiles } from './control/data-files.ts'
import { type DatabaseAddress, parseDatabaseUrl } from './control/database-url.ts'
import { isMigrated, MigrationError, migrate, readMigrations } from './control/migrate.ts'
import { Outage } from './control/outage.ts'
import { readOwnProcess } from './control/own-process.ts'
import { LessorError } from './errors.ts'
import { FleetService } from './fleet/fleet-service.ts'
import type { Logger } from './http/logger.ts'
import { createIsolationServices } from './isolation-services.ts'
import { createNodeServices } from './node-services.ts'
import { Health } from './ops/health.ts'
import { Metrics } from './ops/metrics.ts'
import { SweepJob } from './ops/sweep-job.ts'
import { DatabasePlacement } from './placement/database-placement.ts'
import type { Placement } from './placement/placement.ts'
import { RolePlacement } from './placement/role-placement.ts'
import { RowPlacement } from './placement/row-placement.ts'
import { SchemaPlacement } from './placement/schema-placement.ts'
import type { Caller, Connect } from './pool/contract.ts'
import { openConnection } from './pool/open-connection.ts'
import { PoolRegistry } from './pool/registry.ts'
import type { Db } from './pool/statement.ts'
import type { Secret } from './secret.ts'
import { DataServers } from './servers/data-servers.ts'
import { connectionLimitOf } from './servers/role-limits.ts'
import { ServerShares } from './servers/server-shares.ts'
import { createTasks } from './task-services.ts'
import { makeLocate } from './tenants/locate.ts'
import { loginsOf } from './tenants/logins.ts'
import { NamespaceService } from './tenants/namespace-service.ts'
import { type RecoveryJob, startRecoveryJob } from './tenants/recovery-job.ts'
import type { PlacementName, TenantRef } from './tenants/tenant.ts'
import { TenantChanges } from './tenants/tenant-changes.ts'
import { openTenantDirectory } from './tenants/tenant-directory.ts'
import { TenantService } from './tenants/tenant-service.ts'
import { parseVaultKeys } from './vault/key-ring.ts'
import { Vault } from './vault/vault.ts'
import { createVaultKeys } from './vault-services.ts'
import { readVersion } from './version.ts'
import { createWatchServices } from './watch-services.ts'

/** How long a process that migrates the fleet may be silent before another one goes on with it. */
const FLEET_CLAIM_MS = 30_000

/** When each step of recovery runs. */
const RECOVERY_CRON = '*/15 * * * * *'

export interface LessorOptions {
  readonly logger: Logger
  readonly clock?: Clock
  /** Folder of the application's migrations, its URL with a `/` at the end; instead of APP_SQL_DIR, for an app that brings its own. */
  readonly appFiles?: URL
}

/** Opening is how far `open` goes: `control` leaves the data servers as they are, `look` changes nothing at all. */
export type Opening = 'all' | 'control' | 'look'

/** TenantRequest is what `use` reads of a request behind a tenant guard; Fastify's requests are one. */
export interface TenantRequest extends Caller {
  readonly tenant: TenantRef | null
}

/** Lessor is the services of one process, wired; `createLessor` makes it. */
export type Lessor = ReturnType<typeof createLessor>

/**
 * createLessor wires the services. Nothing runs and nothing connects before `start`.
 * @throws ConfigError when the database's URL is missing or wrong, a key is missing, or the cron expression is wrong
 */
export function createLessor(config: Config, { logger, clock = systemClock, appFiles }: LessorOptions) {
  const { databaseUrl, operatorKey, vaultKeys } = required(config)
  const metrics = new Metrics()
  const address = readAddress(databaseUrl)
  const control = new ControlDatabase({
    url: databaseUrl.reveal(),
    maxConnections: config.control.maxConnections,
    connectTimeoutMs: config.pools.connectTimeoutMs,
    statementTimeoutMs: config.pools.statementTimeoutMs,
    onUnannounced: (error) =>
      logger.warn(
        { err: error },
        'a change could not be announced (NOTIFY), other processes find it by polling',
      ),
  })
  const tasks = createTasks({ clock, logger })
  const keyRing = parseVaultKeys(vaultKeys.reveal())
  const ownKeys = createVaultKeys({
    control,
    keys: keyRing,
    logger,
    beginTurn: () => tasks.begin('vault_keys'),
  })
  const health = new Health({
    clock,
    ping: () => control.ping(),
    hasVaultKeys: () => ownKeys.missing.length === 0,
    failing: () => ({ tasks: tasks.failing(), jobs: tenants.failingJobs }),
  })

  const vault = new Vault(keyRing, metrics)
  const files = dataFiles(appFiles ?? config.appSqlDir)
  const notice = (message: string) => logger.warn(message)
  const placements = new Map<PlacementName, Placement>([
    ['role', new RolePlacement({ files, notice })],
    ['row', new RowPlacement({ files })],
    ['schema', new SchemaPlacement({ files })],
    ['database', new DatabasePlacement({ files })],
  ])
  const changes = new ControlChangeLog({ db: control, leaseMs: config.nodes.leaseMs })
  const servers = new DataServers({
    db: control,
    vault,
    address,
    budget: config.pools.serverMaxConnections,
    limits: config.roles,
    clock,
    changes,
    // Its share is found now, not with the next heartbeat.
    onChange: () => node.nodes.wake(),
    onMove: (server) => {
      watchdog.reopen(server)
      for (const pool of pools.snapshots())
        if (pool.server === server) void pools.evict(pool.tenantId, 'rotation')
    },
    onProblem: (server, error) => logger.warn({ err: error, server }, 'a data server is not ready for all'),
  })
  const roleConnectionLimit = () =>
    connectionLimitOf({
      ...config.roles,
      poolConnections: config.pools.maxConnections,
      nodes: node.nodes.live,
    })
  const outage = new Outage({
    clock,
    outageMs: config.tenants.outageMs,
    onBegin: (error) =>
      logger.warn({ err: error }, 'the control database is away, known tenants and keys are served on'),
    onEnd: (ms) => logger.info({ ms: Math.round(ms) }, 'the control database is back'),
  })
  const shares = new ServerShares({
    watches: config.watchdog.isOn,
    servers: () => servers.budgets(),
    clock,
    pools: { used: (server) => pools.used(server), rebalance: () => pools.rebalance() },
  })
  const locate = makeLocate({ db: control, vault, servers, placements })
  const connect: Connect = (target, signal) =>
    openConnection(target, signal, { maxResultBytes: config.maxResultBytes })
  const pools: PoolRegistry = new PoolRegistry({
    limits: config.pools,
    clock,
    connect,
    locate,
    observer: metrics,
    serverLimit: (server) => shares.limit(server),
  })

  const hashKeys = new HashKeys({ db: control, vault, keys: keyRing, clock })
  const hasher = new MacHasher(hashKeys)
  const keys = new KeyService({ changes, hasher })
  const authenticator = new Authenticator({
    db: control,
    operatorKey,
    clock,
    outage,
    hasher,
    verifiedMs: config.access.apiKeyCacheMs,
    onUpgradeFailed: (error) =>
      logger.warn({ err: error }, 'a faster hash of an API key could not be stored'),
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
    connect,
    limits: () => ({ ...config.roles, connectionLimit: roleConnectionLimit() }),
    checkTimeoutMs: 2 * config.pools.connectTimeoutMs,
    maxConnections: config.pools.maxConnections,
    jobClaimMs: config.tenants.jobClaimMs,
    node: () => (node.nodes.isMember ? node.nodes.id : undefined),
    schemaVersion: () => fleet.newest(),
    // A process has heard of the change, or its lease has run out, and its drain deadline has passed.
    settleTimeoutMs: config.nodes.leaseMs + config.pools.drainTimeoutMs,
    onUnsettled: ({ server, tenantId }, error) =>
      logger.warn(
        { err: error, tenant: tenantId, server },
        "a tenant's logins do not follow its status yet, it will be tried again",
      ),
    visitObserver: {
      opened: ({ role, server, tenantId, validUntil, visitor }, writes) =>
        logger.warn(
          { tenant: tenantId, server, role, visitor, until: validUntil, writes },
          'a person was given a login to a tenant',
        ),
      closed: ({ role, tenantId }) => logger.info({ tenant: tenantId, role }, "a person's login was dropped"),
      failed: ({ role, tenantId }, error) =>
        logger.warn(
          { err: error, tenant: tenantId, role },
          "a person's login could not be dropped, it will be tried again",
        ),
    },
    jobObserver: {
      failed: ({ kind, tenantId, step }, error) =>
        logger.warn({ err: error, kind, tenant: tenantId, step }, 'job failed, it will be tried again'),
      taken: (jobs) => logger.info({ jobs }, 'took over the jobs of dead processes'),
      overdue: ({ kind, tenantId }) =>
        logger.warn({ kind, tenant: tenantId }, 'ending a login that a process may still use'),
    },
  })
  const namespaces = new NamespaceService(control)
  const fleet = new FleetService({
    db: control,
    clock,
    process: readOwnProcess(),
    placements,
    servers,
    files,
    claimMs: FLEET_CLAIM_MS,
  })
  const node = createNodeServices({
    config,
    logger,
    clock,
    control,
    address,
    outage,
    shares,
    tasks,
    onVaultKey: () => void ownKeys.poll(),
    handler: new TenantChanges({ db: control, directory, authenticator, pools, servers }),
  })

  const isolation = createIsolationServices({
    config,
    logger,
    clock,
    db: control,
    servers,
    placements,
    locate,
    tenants,
    namespaces,
    connect,
    pools,
    tasks,
  })

  const watchdog = createWatchServices({
    config,
    logger,
    clock,
    servers,
    shares,
    tasks,
    logins: tenants.blocks,
    nodes: () => node.nodes.live,
    allLogins: (server) => loginsOf(control, server),
    connectionLimit: roleConnectionLimit,
  })

  metrics.watch({
    pools,
    isolation: isolation.check,
    watchdog: watchdog.state,
    tasks,
    failingJobs: () => tenants.failingJobs,
    countBehind: () => fleet.countBehind(),
    countTenants: async () => Object.fromEntries(await tenants.countByStatus()),
    check: () => health.check(),
    nodes: () => ({ live: node.nodes.live, unreadMs: outage.unreadMs, unannounced: control.unannounced }),
    version: readVersion(),
    onError: (error) => logger.warn({ err: error }, 'a metric could not be read'),
  })
  const sweepJob = new SweepJob({
    cron: config.sweepCron,
    pools,
    logger,
    onTurn: (failures) => tasks.ended('sweep', failures),
  })
  let recoveryJob: RecoveryJob | undefined
  let closing: Promise<void> | undefined

  async function open(opening: Opening = 'all'): Promise<void> {
    const migrations = await readMigrations()
    await servers.check()
    if (opening === 'look') {
      if (!(await isMigrated(control, migrations))) {
        throw new MigrationError('The control database is older than this version of Lessor')
      }
      await ownKeys.check()
      await servers.reload()
      return
    }
    const ran = await migrate(control, migrations)
    if (ran.length > 0) logger.info({ migrations: ran.map(({ name }) => name) }, 'migrated')
    // Before anything is sealed.
    await ownKeys.start()
    await hashKeys.start()
    await servers.start(opening === 'all' ? placements.values() : [])
  }

  async function reportBehind(): Promise<void> {
    const behind = await fleet.countBehind()
    if (behind > 0) logger.warn({ tenants: behind }, 'tables of tenants are behind: run "lessor migrate"')
  }

  async function tendServers(): Promise<void> {
    const failures = await servers.tend()
    if (failures > 0) throw new Error(`${failures} data servers are not ready; the log has said why`)
  }

  async function shutDown(): Promise<void> {
    health.drain()
    sweepJob.stop()
    await isolation.stop()
    await watchdog.stop()
    await recoveryJob?.stop()
    const [report] = await Promise.all([pools.close(), tenants.close()])
    logger.info(report, 'pools closed')
    await node.stop()
    await ownKeys.stop()
    await servers.close()
    await control.close()
  }

  return {
    config,
    clock,
    logger,
    control,
    servers,
    placements,
    locate,
    pools,
    tenants,
    namespaces,
    fleet,
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
    tasks,
    isolation: isolation.check,
    watchdog: watchdog.state,

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
     * open migrates the control database and makes the data server ready, for a process that does not serve:
     * it is no node, and its pools get no connection.
     * @throws what start throws
     */
    open,

    /**
     * start opens, takes its place among the nodes and starts the jobs.
     * @throws LessorError CONTROL_UNAVAILABLE, SERVER_UNAVAILABLE, PLACEMENT_UNAVAILABLE; MigrationError; VaultKeysError
     */
    async start(): Promise<void> {
      await open()
      await node.start()
      health.migrated()
      sweepJob.start()
      isolation.start()
      watchdog.start()
      recoveryJob = startRecoveryJob({
        cron: RECOVERY_CRON,
        steps: [{ task: 'data_servers', run: tendServers }, ...tenants.recoverySteps],
        tasks,
      })
      await reportBehind()
    },

    /** close stops the jobs, drains the pools, lets work under way end and disconnects. Memoised. */
    close(): Promise<void> {
      closing ??= shutDown()
      return closing
    },
  }
}

/** @throws ConfigError, without the URL */
function readAddress(url: Secret): DatabaseAddress {
  try {
    return parseDatabaseUrl(url.reveal())
  } catch (error) {
    throw new ConfigError([`DATABASE_URL: ${error instanceof Error ? error.message : 'it cannot be read'}`])
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
