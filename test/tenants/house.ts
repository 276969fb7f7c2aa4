import { KeyService } from '../../src/access/key-service.ts'
import { systemClock } from '../../src/clock.ts'
import { insertChange } from '../../src/control/change-store.ts'
import type { ChangeLog } from '../../src/control/changes.ts'
import { ControlDatabase, type ControlDb } from '../../src/control/control-database.ts'
import { dataFiles } from '../../src/control/data-files.ts'
import { parseDatabaseUrl } from '../../src/control/database-url.ts'
import { DatabasePlacement } from '../../src/placement/database-placement.ts'
import type { AdminDb, Placement } from '../../src/placement/placement.ts'
import { RolePlacement } from '../../src/placement/role-placement.ts'
import { RowPlacement } from '../../src/placement/row-placement.ts'
import { SchemaPlacement } from '../../src/placement/schema-placement.ts'
import type { Connect, PoolLimits } from '../../src/pool/contract.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { PoolRegistry } from '../../src/pool/registry.ts'
import { sql } from '../../src/pool/statement.ts'
import { DataServers, type DataServersOptions } from '../../src/servers/data-servers.ts'
import type { AfterStep, Job } from '../../src/tenants/job.ts'
import { makeLocate } from '../../src/tenants/locate.ts'
import type { Settlement } from '../../src/tenants/login-settlement-store.ts'
import { NamespaceService } from '../../src/tenants/namespace-service.ts'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import { openTenantDirectory } from '../../src/tenants/tenant-directory.ts'
import { TenantService } from '../../src/tenants/tenant-service.ts'
import { generateVaultKeys, parseVaultKeys } from '../../src/vault/key-ring.ts'
import { Vault } from '../../src/vault/vault.ts'

/** Scope is what ends: a tap test, or tap itself for a whole file. */
interface Scope {
  teardown(fn: () => unknown): void
}

type Changes = Pick<ChangeLog, 'publish' | 'settled'>

export interface HouseOptions {
  readonly url: string
  readonly vaultKeys?: string
  readonly jobClaimMs?: number
  readonly afterStep?: AfterStep
  /** This process among the nodes; none by default. */
  readonly node?: () => string
  readonly connect?: Connect
  readonly limits?: Partial<PoolLimits>
  /** How the data server is reached, when that is not the control database's URL. */
  readonly serverUrl?: string
  /** Stands in for the change feed. */
  readonly changes?: Changes
  readonly settleTimeoutMs?: number
  /** Which placements it offers; all four by default. */
  readonly offers?: readonly PlacementName[]
  /** Stands before each placement, for tests that make it fail. */
  readonly wrap?: (placement: Placement) => Placement
  /** Stands before the administrators of the data servers, for tests that make them fail. */
  readonly wrapAdmin?: (admin: AdminDb) => AdminDb
  /** Stands before the control database, for tests that make it fail. */
  readonly wrapDb?: (db: ControlDb) => ControlDb
}

const LIMITS: PoolLimits = {
  maxEntries: 50,
  maxConnections: 4,
  sharedMaxConnections: 8,
  serverMaxConnections: 40,
  maxOpening: 8,
  maxWaiting: 100,
  idleMs: 60_000,
  connectionIdleMs: 60_000,
  acquireTimeoutMs: 60_000,
  connectTimeoutMs: 30_000,
  statementTimeoutMs: 60_000,
  drainTimeoutMs: 5_000,
  thrashMs: 60_000,
  processMaxConnections: 100,
  maxIdleMs: 600_000,
  breakerBaseMs: 500,
  breakerMaxMs: 30_000,
}

export const ROLE_LIMITS = {
  connectionLimit: 8,
  statementTimeoutMs: 15_000,
  idleInTransactionTimeoutMs: 15_000,
  tempFileLimitKb: 65_536,
}

class WrappedServers extends DataServers {
  readonly #wrap: (admin: AdminDb) => AdminDb

  constructor(options: DataServersOptions, wrap: (admin: AdminDb) => AdminDb) {
    super(options)
    this.#wrap = wrap
  }

  override async admin(name: string): Promise<AdminDb> {
    return this.#wrap(await super.admin(name))
  }
}

/** The change feed of a process that is the only one. */
const ALONE: Changes = { publish: insertChange, settled: async () => {} }

export function rolePlacement(): RolePlacement {
  return new RolePlacement({ files: dataFiles() })
}

function allPlacements(role: RolePlacement): readonly Placement[] {
  const files = dataFiles()
  return [role, new RowPlacement({ files }), new SchemaPlacement({ files }), new DatabasePlacement({ files })]
}

/** openHouse builds what app.ts builds around tenants, started, on a migrated database, and closes it with `t`. */
export async function openHouse(t: Scope, options: HouseOptions) {
  const db = new ControlDatabase({ url: options.url })
  const placement = rolePlacement()
  const all = allPlacements(placement).filter(({ name }) => options.offers?.includes(name) ?? true)
  const wrap = options.wrap ?? ((each) => each)
  const placements = new Map<PlacementName, Placement>(all.map((each) => [each.name, wrap(each)]))
  const vault = new Vault(parseVaultKeys(options.vaultKeys ?? generateVaultKeys()))
  const servers = new WrappedServers(
    { db, vault, address: parseDatabaseUrl(options.serverUrl ?? options.url) },
    options.wrapAdmin ?? ((each) => each),
  )
  const directory = openTenantDirectory(db, { clock: systemClock })
  const pools = new PoolRegistry({
    limits: { ...LIMITS, ...options.limits },
    clock: systemClock,
    connect: openConnection,
    locate: makeLocate({ db, vault, servers, placements }),
  })
  const failures: [job: Job, error: unknown][] = []
  const overdue: Job[] = []
  const unsettled: [settlement: Settlement, error: unknown][] = []
  const keys = new KeyService()
  const tenants = new TenantService({
    db: options.wrapDb?.(db) ?? db,
    servers,
    placements,
    vault,
    keys,
    pools,
    directory,
    connect: options.connect ?? openConnection,
    limits: () => ROLE_LIMITS,
    checkTimeoutMs: 10_000,
    maxConnections: LIMITS.maxConnections,
    jobClaimMs: options.jobClaimMs ?? 30_000,
    changes: options.changes ?? ALONE,
    node: options.node,
    settleTimeoutMs: options.settleTimeoutMs ?? 10_000,
    onUnsettled: (settlement, error) => unsettled.push([settlement, error]),
    jobObserver: {
      failed: (job, error) => failures.push([job, error]),
      overdue: (job) => overdue.push(job),
    },
    ...(options.afterStep && { afterStep: options.afterStep }),
  })
  const close = async () => {
    await tenants.close()
    await pools.close()
    await servers.close()
    await db.close()
  }
  t.teardown(close)
  await servers.start(all)
  return {
    db,
    servers,
    placement,
    placements,
    vault,
    directory,
    pools,
    keys,
    tenants,
    namespaces: new NamespaceService(db),
    failures,
    overdue,
    unsettled,
  }
}

export type House = Awaited<ReturnType<typeof openHouse>>

/** traces is all that a tenant has left anywhere. */
export async function traces({ db }: Pick<House, 'db'>, tenantId: string) {
  const [row] = await db.query<Record<string, number>>(sql`
    select
      (select count(*)::integer from pg_roles where strpos(rolname, replace(${tenantId}, '-', '')) > 0) as roles,
      (select count(*)::integer from pg_namespace where nspname = 't_' || replace(${tenantId}, '-', '')) as schemas,
      (select count(*)::integer from pg_database where datname = 't_' || replace(${tenantId}, '-', '')) as databases,
      (select count(*)::integer from lessor.tenants where id = ${tenantId}::uuid) as tenants,
      (select count(*)::integer from lessor.credentials where tenant_id = ${tenantId}::uuid) as credentials,
      (select count(*)::integer from lessor.api_keys where tenant_id = ${tenantId}::uuid) as keys,
      (select count(*)::integer from lessor.jobs where tenant_id = ${tenantId}::uuid) as jobs,
      (select count(*)::integer from lessor.idempotency_keys where tenant_id = ${tenantId}::uuid) as answers,
      (select count(*)::integer from app.users where tenant_id = ${tenantId}::uuid) as rows`)
  return row
}

/** NOTHING is what traces finds of a tenant that never was. */
export const NOTHING = {
  roles: 0,
  schemas: 0,
  databases: 0,
  tenants: 0,
  credentials: 0,
  keys: 0,
  jobs: 0,
  answers: 0,
  rows: 0,
}
