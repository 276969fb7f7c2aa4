import { LessorError } from '../errors.ts'
import { isCitus } from '../placement/citus.ts'
import { isolateTenant } from '../placement/citus-shards.ts'
import { type MoveOptions, moveBack, moveOut } from '../placement/partition-moves.ts'
import { countOwnRows, promotionProblems } from '../placement/partitions.ts'
import type { AdminDb } from '../placement/placement.ts'
import { errorCode } from '../pool/driver-errors.ts'
import type { ScriptDb } from '../pool/statement.ts'
import type { DataServers } from '../servers/data-servers.ts'
import type { AfterStep, DemoteStep, Job, JobObserver, PromoteStep } from './job.ts'
import { type ClaimTicket, insertJob } from './job-store.ts'
import { type Claim, ClaimLostError, type Jobs } from './jobs.ts'
import { type Placements, requirePlacement } from './login.ts'
import type { Tenant } from './tenant.ts'
import { statusConflict } from './tenant-status.ts'
import { findTenant, setPartition } from './tenant-store.ts'

export interface PromotionOptions {
  readonly db: ScriptDb
  readonly servers: Pick<DataServers, 'admin' | 'ping'>
  readonly placements: Placements
  readonly jobs: Jobs
  readonly jobObserver: JobObserver
  readonly afterStep: AfterStep | undefined
}

/** DEMOTION_MAX_ROWS is how many rows of one table a demotion puts back unless more are allowed: about a second's work. */
export const DEMOTION_MAX_ROWS = 100_000

/** SQLSTATE invalid_table_definition: what a table is, no later try cures. */
const NOT_TO_BE_PARTITIONED = '42P16'

/**
 * Promotion gives a tenant of shared tables partitions of its own, and takes them back, while it is served. Both
 * are the tenant's job and go on after the answer; what fails or is cut is tried again until it is done, but for
 * a table that cannot be partitioned any more.
 */
export class Promotion {
  readonly #options: PromotionOptions
  /** The last move of each data server: a move holds two of the administrator's connections. */
  readonly #moves = new Map<string, Promise<void>>()

  constructor(options: PromotionOptions) {
    this.#options = options
  }

  /**
   * promote resolves with the tenant once the job has begun.
   * @throws LessorError TENANT_NOT_FOUND, TENANT_STATUS_CONFLICT, TENANT_BUSY, PROMOTION_UNAVAILABLE,
   *   PLACEMENT_UNAVAILABLE, SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE
   */
  async promote(tenantId: string, tablespace: string | undefined): Promise<Tenant> {
    const tenant = requireLiving(await findTenant(this.#options.db, tenantId), 'promoted')
    const admin = await this.#admin(tenant)
    const { partition } = tenant
    if (partition !== null && tablespace !== undefined && partition.tablespace !== tablespace) {
      throw unavailable('The tenant has its partitions in another tablespace; demote it first.')
    }
    const problems = (await isCitus(admin))
      ? tablespace === undefined
        ? []
        : ['A distributed table has no tablespaces.']
      : await promotionProblems(admin, tablespace)
    if (problems.length > 0) throw unavailable(problems.join(' '))
    return this.#start('promote', tenantId, tablespace ?? partition?.tablespace ?? undefined)
  }

  /**
   * demote resolves with the tenant once the job has begun.
   * @throws LessorError as `promote` does; PROMOTION_UNAVAILABLE also when a table holds more than `maxRows` rows
   *   of the tenant
   */
  async demote(tenantId: string, maxRows: number = DEMOTION_MAX_ROWS): Promise<Tenant> {
    const tenant = requireLiving(await findTenant(this.#options.db, tenantId), 'demoted')
    const admin = await this.#admin(tenant)
    if (await isCitus(admin)) throw unavailable('Citus does not merge shards, so there is no way back.')
    const tooLarge = (await countOwnRows(admin, tenantId, maxRows + 1)).find(({ rows }) => rows > maxRows)
    if (tooLarge !== undefined) {
      throw unavailable(
        `The table ${tooLarge.table} holds more than ${maxRows} rows of the tenant, and stands still for all ` +
          'tenants while they are put back; "max_rows" allows more.',
      )
    }
    return this.#start('demote', tenantId, undefined)
  }

  /** resume takes over a promotion or demotion that its process left behind, and finishes it. */
  async resume(claim: Claim): Promise<void> {
    const tenant = await findTenant(this.#options.db, claim.job.tenantId)
    if (tenant === undefined) throw new ClaimLostError()
    await this.#move(claim, tenant)
  }

  async #start(
    kind: 'promote' | 'demote',
    tenantId: string,
    tablespace: string | undefined,
  ): Promise<Tenant> {
    const { db, jobs } = this.#options
    const { ticket, job, tenant } = await db.transaction(async (tx) => {
      const ticket: ClaimTicket = jobs.ticket()
      // From here on nobody deletes the tenant.
      const job = await insertJob(tx, ticket, { kind, tenantId, step: 'begin', tablespace })
      const tenant = requireLiving(await findTenant(tx, tenantId), `${kind}d`)
      return { ticket, job, tenant }
    })
    void jobs.attempt(ticket, job, (claim) => this.#move(claim, tenant))
    return tenant
  }

  async #move(claim: Claim, tenant: Tenant): Promise<void> {
    const steps = new Steps(claim, this.#options.afterStep)
    try {
      await steps.note('begin')
      const admin = await this.#admin(tenant)
      await this.#inTurn(tenant.server, () => this.#moveRows(claim.job, admin, steps))
      await steps.note('note')
    } catch (error) {
      if (errorCode(error) !== NOT_TO_BE_PARTITIONED) throw error
      // The tables that are done stay so; another promotion, or a demotion, puts that right.
      this.#options.jobObserver.failed(claim.job, error)
      await this.#options.db.transaction((tx) => claim.finish(tx))
      return
    }
    await this.#options.db.transaction(async (tx) => {
      await claim.finish(tx)
      const { kind, tablespace, tenantId } = claim.job
      await setPartition(tx, tenantId, kind === 'promote' ? { tablespace } : undefined)
    })
    await steps.done()
  }

  async #moveRows({ kind, tablespace, tenantId }: Job, admin: AdminDb, steps: Steps): Promise<void> {
    const options: MoveOptions = {
      signal: this.#options.jobs.signal,
      note: (step, progress) => steps.note(step, progress),
    }
    if (kind === 'demote') {
      return moveBack(admin, tenantId, { ...options, rowLimit: Number.MAX_SAFE_INTEGER - 1 })
    }
    if (await isCitus(admin)) {
      await steps.note('switch')
      await isolateTenant(admin, tenantId)
      return
    }
    return moveOut(admin, tenantId, { ...options, tablespace: tablespace ?? undefined })
  }

  async #inTurn(server: string, move: () => Promise<void>): Promise<void> {
    const before = this.#moves.get(server) ?? Promise.resolve()
    const own = before
      .catch(() => {})
      .then(() => {
        this.#options.jobs.signal.throwIfAborted()
        return move()
      })
    this.#moves.set(server, own)
    try {
      await own
    } finally {
      if (this.#moves.get(server) === own) this.#moves.delete(server)
    }
  }

  async #admin({ placement, server }: Tenant): Promise<AdminDb> {
    const { placements, servers } = this.#options
    if (requirePlacement(placements, placement).hasOwnTables) {
      throw unavailable(`A tenant of the placement "${placement}" has tables of its own already.`)
    }
    await servers.ping(server)
    return servers.admin(server)
  }
}

/** Steps notes each step of a move before it runs. */
class Steps {
  readonly #claim: Claim
  readonly #afterStep: AfterStep | undefined
  #current: { readonly step: PromoteStep | DemoteStep; readonly table: string | undefined } | undefined

  constructor(claim: Claim, afterStep: AfterStep | undefined) {
    this.#claim = claim
    this.#afterStep = afterStep
  }

  async note(
    step: PromoteStep | DemoteStep,
    progress?: { readonly table: string; readonly rows: number },
  ): Promise<void> {
    if (step !== this.#current?.step || progress?.table !== this.#current.table) {
      await this.done()
      await this.#claim.enter(step)
      this.#current = { step, table: progress?.table }
    }
    if (progress !== undefined) await this.#claim.progress(progress)
  }

  /** done tells that the current step has ended. */
  async done(): Promise<void> {
    const { kind } = this.#claim.job
    if (this.#current !== undefined) await this.#afterStep?.(kind, this.#current.step)
    this.#current = undefined
  }
}

function requireLiving(tenant: Tenant | undefined, action: string): Tenant {
  if (tenant === undefined) throw new LessorError('TENANT_NOT_FOUND')
  if (tenant.status === 'active' || tenant.status === 'suspended') return tenant
  throw statusConflict(tenant.status, action)
}

function unavailable(detail: string): LessorError {
  return new LessorError('PROMOTION_UNAVAILABLE', detail)
}
