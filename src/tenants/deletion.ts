import type { KeyService } from '../access/key-service.ts'
import type { ControlDb } from '../control/control-database.ts'
import { dropPartitions } from '../placement/partitions.ts'
import type { Placement } from '../placement/placement.ts'
import type { Pools } from '../pool/contract.ts'
import type { DataServers } from '../servers/data-servers.ts'
import { removeCredentials } from './credential-store.ts'
import type { AfterStep, DeleteStep, Job } from './job.ts'
import { type ClaimTicket, insertJob } from './job-store.ts'
import { type Claim, ClaimLostError, type Jobs } from './jobs.ts'
import { type Placements, requirePlacement } from './login.ts'
import { type SettleOptions, settle } from './settle.ts'
import { shutOut } from './shut-out.ts'
import type { PlacementName, Tenant } from './tenant.ts'
import { findTenant, moveTenant } from './tenant-store.ts'
import type { Visits } from './visits.ts'

export interface DeletionOptions extends SettleOptions {
  readonly db: ControlDb
  readonly servers: DataServers
  readonly placements: Placements
  readonly keys: Pick<KeyService, 'removeAll'>
  readonly pools: Pick<Pools, 'evict'>
  readonly visits: Pick<Visits, 'endAll'>
  readonly jobs: Jobs
  readonly afterStep: AfterStep | undefined
}

export interface BegunDeletion {
  readonly ticket: ClaimTicket
  readonly job: Job
  /** Of the change that tells the processes. */
  readonly version: bigint
}

/** How long requests under way may go on, and with them a leaked login's sessions. */
const GRACE_MS = 3_000

interface Step {
  readonly name: Exclude<DeleteStep, 'begin'>
  /** Can be run again. */
  run(tenant: Tenant, claim: Claim, version: bigint | undefined): Promise<void>
}

/**
 * Deletion ends a tenant: drains its pool, drops its logins, removes its rows, credentials and keys,
 * and leaves a tombstone. There is no way back; an attempt that fails is tried again.
 */
export class Deletion {
  readonly #options: DeletionOptions
  readonly #steps: readonly Step[] = [
    {
      name: 'drain',
      run: async ({ id, server }, claim, version) => {
        const { jobs, pools, servers } = this.#options
        const told = version ?? (await this.#tell(id))
        const drained = Promise.all([pools.evict(id, 'deletion'), settle(this.#options, claim.job, told)])
        const grace = { until: drained, graceMs: GRACE_MS, signal: jobs.signal }
        await Promise.all([drained, servers.admin(server).then((admin) => shutOut(admin, id, grace))])
      },
    },
    {
      name: 'logins',
      run: async ({ id, placement, server }) => {
        await this.#options.visits.endAll({ id, server })
        await this.#placement(placement).unprovision(await this.#options.servers.admin(server), id)
      },
    },
    {
      name: 'rows',
      run: async ({ id, placement, server }) => {
        const admin = await this.#options.servers.admin(server)
        await this.#placement(placement).removeRows(admin, id)
        if (this.#placement(placement).hasOwnTables) return
        await dropPartitions(admin, id, this.#options.jobs.signal)
      },
    },
    { name: 'bury', run: ({ id }, claim) => this.#bury(id, claim) },
  ]

  constructor(options: DeletionOptions) {
    this.#options = options
  }

  /** begin moves the tenant to `deleting`; undefined when its status does not allow that. */
  async begin(tenantId: string): Promise<BegunDeletion | undefined> {
    const { changes, db, jobs } = this.#options
    return db.transaction(async (tx) => {
      if (!(await moveTenant(tx, tenantId, 'delete'))) return undefined
      const ticket = jobs.ticket()
      const job = await insertJob(tx, ticket, { kind: 'delete', tenantId, step: 'begin' })
      return { ticket, job, version: await changes.publish(tx, { kind: 'deletion', tenantId }) }
    })
  }

  /**
   * run does all steps, also those that an earlier attempt has done: this process may have a pool as
   * well. Without `version` the processes are told once more.
   */
  async run(claim: Claim, version?: bigint): Promise<void> {
    const tenant = await findTenant(this.#options.db, claim.job.tenantId)
    if (tenant?.status !== 'deleting') throw new ClaimLostError()
    for (const step of this.#steps) {
      await claim.enter(step.name)
      await step.run(tenant, claim, version)
      await this.#options.afterStep?.('delete', step.name)
    }
  }

  async #bury(tenantId: string, claim: Claim): Promise<void> {
    const { changes, db, keys } = this.#options
    await db.transaction(async (tx) => {
      await claim.finish(tx)
      await removeCredentials(tx, tenantId)
      await keys.removeAll(tx, tenantId)
      if (!(await moveTenant(tx, tenantId, 'bury'))) throw new Error('bug: a job buries a tenant that lives')
      await changes.publish(tx, { kind: 'key', tenantId })
    })
  }

  #tell(tenantId: string): Promise<bigint> {
    const { changes, db } = this.#options
    return db.transaction((tx) => changes.publish(tx, { kind: 'deletion', tenantId }))
  }

  #placement(name: PlacementName): Placement {
    return requirePlacement(this.#options.placements, name)
  }
}
