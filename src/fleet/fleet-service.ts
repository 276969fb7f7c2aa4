import type { Clock } from '../clock.ts'
import type { OwnProcess } from '../control/own-process.ts'
import { LessorError } from '../errors.ts'
import type { DataFiles } from '../placement/data-files.ts'
import type { AdminDb } from '../placement/placement.ts'
import type { Db } from '../pool/statement.ts'
import { type Placements, requirePlacement } from '../tenants/login.ts'
import { nameKey } from '../tenants/name.ts'
import { parseTenantId } from '../tenants/tenant.ts'
import type {
  FleetEvent,
  FleetFilter,
  FleetPreview,
  FleetReport,
  FleetRequest,
  FleetTenant,
} from './fleet.ts'
import { FleetRun } from './fleet-run.ts'
import { countBehind, findByNameOrId, listBehind } from './fleet-store.ts'
import { failureCode } from './retry.ts'
import { runBounded } from './run-bounded.ts'
import { RunClaim } from './run-claim.ts'
import { pendingShared, prepareShared } from './shared-tables.ts'

/** FleetServers is what the fleet needs of the data servers. */
export interface FleetServers {
  reload(): Promise<void>
  /** Those that were there at the last reload. */
  names(): readonly string[]
  admin(name: string): Promise<AdminDb>
}

export interface FleetServiceOptions {
  readonly db: Db
  readonly clock: Clock
  readonly process: OwnProcess
  readonly placements: Placements
  readonly servers: FleetServers
  readonly files: DataFiles
  /** How long a process may be silent before another one goes on with its run. */
  readonly claimMs: number
}

/** FleetService brings the tables of all tenants to the newest version. */
export class FleetService {
  readonly #options: FleetServiceOptions

  constructor(options: FleetServiceOptions) {
    this.#options = options
  }

  /** newest is the number of the last file of sql/app. */
  async newest(): Promise<number> {
    return (await this.#options.files.missing([])).length
  }

  /** countBehind counts the tenants whose own tables are older than this code. */
  async countBehind(): Promise<number> {
    return countBehind(this.#options.db, await this.newest())
  }

  /**
   * find resolves with the tenant that has this id or name, and tables of its own.
   * @throws LessorError TENANT_NOT_FOUND, INVALID_REQUEST when several have the name, or its tables are shared
   */
  async find(idOrName: string): Promise<FleetTenant> {
    const id = parseTenantId(idOrName)
    const found = await findByNameOrId(
      this.#options.db,
      id === undefined ? { nameKey: nameKey(idOrName.trim()) } : { id },
    )
    const [tenant, ...others] = found
    if (tenant === undefined) {
      throw new LessorError('TENANT_NOT_FOUND', `There is no tenant "${idOrName}" that lives.`)
    }
    if (others.length > 0) {
      const ids = found.map((each) => `${each.id} in ${each.namespace}`).join(', ')
      throw new LessorError(
        'INVALID_REQUEST',
        `Several tenants are called "${idOrName}", give an id: ${ids}.`,
      )
    }
    if (!requirePlacement(this.#options.placements, tenant.placement).hasOwnTables) {
      throw new LessorError(
        'INVALID_REQUEST',
        `The tenant "${idOrName}" has placement ${tenant.placement}: its tables are those of its data server.`,
      )
    }
    return tenant
  }

  /**
   * migrate goes through the fleet, and goes on where the same request stopped before. It resolves when all
   * had their turn or it stopped; the report says which.
   * @throws FleetBusyError; LessorError SERVER_NOT_FOUND, CONTROL_UNAVAILABLE; MigrationError
   */
  async migrate(
    request: FleetRequest,
    onEvent: (event: FleetEvent) => void,
    signal: AbortSignal,
  ): Promise<FleetReport> {
    const { clock, db, placements, servers } = this.#options
    const names = await this.#serverNames(request.filter)
    const target = await this.newest()
    const claim = await RunClaim.take(this.#options, { target, ...request })
    const admin = (server: string) => servers.admin(server)
    const prepare = async (server: string, lockTimeoutMs: number) =>
      prepareShared(await admin(server), placements, lockTimeoutMs)
    return new FleetRun({
      db,
      clock,
      placements,
      admin,
      prepare,
      servers: names,
      claim,
      onEvent,
      signal,
    }).go()
  }

  /** preview tells what `migrate` would run where, and changes nothing. */
  async preview(
    request: FleetRequest,
    onPreview: (preview: FleetPreview) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { db, files, placements, servers } = this.#options
    const { lockTimeoutMs, concurrency, serverConcurrency } = request.options
    for (const server of await this.#serverNames(request.filter)) {
      const found = await previewed(async () => pendingShared(await servers.admin(server), files))
      onPreview({ server, tenant: undefined, ...found })
    }
    const tenants = await listBehind(db, await this.newest(), request.filter)
    const bounds = {
      total: concurrency,
      perKey: serverConcurrency,
      keyOf: ({ server }: FleetTenant) => server,
      mayBegin: () => !signal.aborted,
    }
    await runBounded(tenants, bounds, async (tenant) => {
      const found = await previewed(async () => {
        const placement = requirePlacement(placements, tenant.placement)
        const admin = await servers.admin(tenant.server)
        return placement.migrate(admin, tenant.id, { lockTimeoutMs, dryRun: true })
      })
      onPreview({ server: tenant.server, tenant, ...found })
    })
  }

  async #serverNames({ servers: wanted }: FleetFilter): Promise<readonly string[]> {
    const { servers } = this.#options
    await servers.reload()
    const known = servers.names()
    const unknown = wanted.find((name) => !known.includes(name))
    if (unknown !== undefined) {
      throw new LessorError('SERVER_NOT_FOUND', `There is no data server "${unknown}".`)
    }
    return wanted.length === 0 ? known : wanted
  }
}

async function previewed(
  look: () => Promise<readonly string[]>,
): Promise<Pick<FleetPreview, 'wouldRun' | 'error'>> {
  try {
    return { wouldRun: await look(), error: null }
  } catch (error) {
    return { wouldRun: [], error: failureCode(error) }
  }
}
