import type { ControlDb } from '../control/control-database.ts'
import { LessorError } from '../errors.ts'
import { errorCode } from '../pool/driver-errors.ts'
import type { DataServers } from '../servers/data-servers.ts'
import type { Vault } from '../vault/vault.ts'
import { BatchOnboarding, type BatchOptions, type BatchRecord } from './batch.ts'
import { countTenants } from './count-store.ts'
import { decodeCursor, type Page, toPage } from './cursor.ts'
import { type BegunDeletion, Deletion, type DeletionOptions } from './deletion.ts'
import { idempotentRequest } from './idempotency.ts'
import type { AfterStep, FailingJobs, JobObserver } from './job.ts'
import { Jobs, type JobsOptions } from './jobs.ts'
import { requirePlacement } from './login.ts'
import { LoginBlocks } from './login-blocks.ts'
import { parseTenantName } from './name.ts'
import { DEFAULT_NAMESPACE } from './namespace.ts'
import { requireNamespace } from './namespace-service.ts'
import { Onboarding, type OnboardingOptions } from './onboarding.ts'
import { type CreateTenants, parseBatch } from './parse-batch.ts'
import { Promotion, type PromotionOptions } from './promotion.ts'
import { parseQuota } from './quota.ts'
import { Recovery, type RecoveryStep } from './recovery.ts'
import { Rotation, type RotationOptions } from './rotation.ts'
import { Suspension, type SuspensionOptions } from './suspension.ts'
import type { PlacementName, Quota, Tenant, TenantStatus } from './tenant.ts'
import type { OnboardedBody } from './tenant-body.ts'
import type { TenantDirectory } from './tenant-directory.ts'
import { statusConflict } from './tenant-status.ts'
import { changeQuota, findTenant, listTenants, renameTenant } from './tenant-store.ts'
import { type VisitObserver, Visits } from './visits.ts'

type Shared = 'db' | 'jobs' | 'afterStep' | 'keys' | 'pools' | 'servers' | 'vault' | 'visits'

export interface TenantServiceOptions
  extends Omit<OnboardingOptions, Shared>,
    Omit<DeletionOptions, Shared>,
    Omit<RotationOptions, Shared | 'suspension'>,
    Omit<PromotionOptions, Shared>,
    Omit<SuspensionOptions, Shared> {
  readonly db: ControlDb
  readonly keys: OnboardingOptions['keys'] & DeletionOptions['keys'] & BatchOptions['keys']
  readonly pools: OnboardingOptions['pools'] & DeletionOptions['pools'] & RotationOptions['pools']
  readonly servers: DataServers
  readonly vault: Vault
  readonly directory: Pick<TenantDirectory, 'forget'>
  /** Most connections that a quota may grant. */
  readonly maxConnections: number
  /** How long a process may be silent before its jobs are taken over. */
  readonly jobClaimMs: number
  /** See JobsOptions. */
  readonly node?: JobsOptions['node']
  /** Number of the last file of sql/app, which a new tenant's own tables are made at. */
  readonly schemaVersion?: () => Promise<number>
  readonly jobObserver: JobObserver
  readonly visitObserver?: VisitObserver
  readonly afterStep?: AfterStep
}

/** CreateTenant is a request to onboard, as callers write it. */
export interface CreateTenant {
  readonly name: string
  readonly namespace?: string
  readonly placement?: PlacementName
  /** The data server; without it the least loaded one that carries the placement. */
  readonly server?: string
  /** Labels that the data server must have. */
  readonly server_labels?: Readonly<Record<string, string>>
  readonly quota?: Quota
}

export interface TenantQuery {
  readonly namespace?: string
  /** Without a status, deleted tenants are left out. */
  readonly status?: TenantStatus
  /** The whole name, whatever its case. */
  readonly name?: string
  readonly limit: number
  readonly cursor?: string
}

/** Microseconds since the epoch, to the year 2286. */
const POSITION = /^\d{1,16}$/
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const UNIQUE_VIOLATION = '23505'

/** TenantService is the life of tenants, from onboarding to deletion. */
export class TenantService {
  readonly #options: TenantServiceOptions
  readonly #db: ControlDb
  readonly #jobs: Jobs
  readonly #onboarding: Onboarding
  readonly #batches: BatchOnboarding
  readonly #deletion: Deletion
  readonly #rotation: Rotation
  readonly #promotion: Promotion
  readonly #suspension: Suspension
  readonly #recovery: Recovery
  /** Logins for people. */
  readonly visits: Visits
  /** Logins that the watchdog has blocked. */
  readonly blocks: LoginBlocks

  constructor(options: TenantServiceOptions) {
    const { db, afterStep } = options
    this.#options = options
    this.#db = db
    this.#jobs = new Jobs({
      db,
      claimMs: options.jobClaimMs,
      node: options.node,
      observer: options.jobObserver,
    })
    this.#onboarding = new Onboarding({ ...options, jobs: this.#jobs, afterStep })
    this.#batches = new BatchOnboarding({
      ...options,
      chooseServer: (wish) => options.servers.choose(wish),
    })
    this.visits = new Visits(options)
    this.blocks = new LoginBlocks({ ...options, visits: this.visits })
    this.#deletion = new Deletion({ ...options, jobs: this.#jobs, visits: this.visits, afterStep })
    this.#suspension = new Suspension({ ...options, jobs: this.#jobs })
    this.#rotation = new Rotation({ ...options, jobs: this.#jobs, suspension: this.#suspension, afterStep })
    this.#promotion = new Promotion({ ...options, jobs: this.#jobs, afterStep })
    this.#recovery = new Recovery({
      db,
      jobs: this.#jobs,
      onboarding: this.#onboarding,
      deletion: this.#deletion,
      rotation: this.#rotation,
      promotion: this.#promotion,
      suspension: this.#suspension,
      visits: this.visits,
      onTaken: (jobs) => options.jobObserver.taken?.(jobs),
    })
  }

  /** The steps of `recover`, which `close` waits for, each to be repeated by itself; they reject with SHUTTING_DOWN after `close`. */
  get recoverySteps(): readonly RecoveryStep[] {
    return this.#recovery.steps.map(({ task, run }) => ({ task, run: () => this.#jobs.track(run) }))
  }

  /** What work on tenants failed again and again when this process last looked. */
  get failingJobs(): FailingJobs {
    return this.#recovery.failing
  }

  /**
   * onboard makes a tenant with its first API key. With `idempotency`, a repeated
   * request with the same key in the same scope gets the first one's answer for a day.
   * @throws LessorError INVALID_REQUEST, and what Onboarding.run throws
   */
  async onboard(
    request: CreateTenant,
    idempotency?: { readonly scope: string; readonly key: string },
  ): Promise<OnboardedBody> {
    const checked = {
      name: parseTenantName(request.name),
      namespace: request.namespace ?? DEFAULT_NAMESPACE,
      placement: request.placement ?? 'role',
      quota: parseQuota(request.quota ?? {}, this.#options.maxConnections),
    }
    const { server, server_labels: labels } = request
    const wish = {
      placement: checked.placement,
      ...(server !== undefined && { server }),
      ...(labels && { labels }),
    }
    // By the wish: a repeated request may find another server less loaded.
    const key = idempotency && idempotentRequest(idempotency.scope, idempotency.key, { ...checked, wish })
    return this.#jobs.track(async () => {
      requirePlacement(this.#options.placements, checked.placement)
      return this.#onboarding.run({ ...checked, server: await this.#options.servers.choose(wish) }, key)
    })
  }

  /**
   * onboardBatch makes many `row` tenants; see BatchOnboarding. With `idempotency` as `onboard`.
   * @throws LessorError INVALID_REQUEST, and what BatchOnboarding.run throws
   */
  async onboardBatch(
    request: CreateTenants,
    idempotency?: { readonly scope: string; readonly key: string },
  ): Promise<readonly BatchRecord[]> {
    const checked = parseBatch(request, this.#options.maxConnections)
    const key = idempotency && idempotentRequest(idempotency.scope, idempotency.key, checked)
    return this.#jobs.track(() => this.#batches.run(checked, key))
  }

  /** find resolves with a tenant of any status, a deleted one's tombstone included. */
  async find(id: string): Promise<Tenant | undefined> {
    return findTenant(this.#db, id)
  }

  /** get is find for callers that need the tenant. @throws LessorError TENANT_NOT_FOUND */
  async get(id: string): Promise<Tenant> {
    const tenant = await this.find(id)
    if (tenant === undefined) throw new LessorError('TENANT_NOT_FOUND')
    return tenant
  }

  /** list resolves with one page, newest first. @throws LessorError INVALID_REQUEST, NAMESPACE_NOT_FOUND */
  async list(query: TenantQuery): Promise<Page<Tenant>> {
    const [position, id] = query.cursor === undefined ? [] : decodeCursor(query.cursor, [POSITION, UUID])
    const namespace = query.namespace && (await requireNamespace(this.#db, query.namespace))
    const rows = await listTenants(this.#db, {
      namespaceId: namespace ? namespace.id : undefined,
      status: query.status,
      nameKey: query.name === undefined ? undefined : parseTenantName(query.name).key,
      limit: query.limit + 1,
      after: position === undefined || id === undefined ? undefined : [position, id],
    })
    return toPage(rows, query.limit, (last) => [last.position, last.id])
  }

  /** countByStatus counts tenants for metrics. */
  async countByStatus(): Promise<ReadonlyMap<TenantStatus, number>> {
    return new Map((await countTenants(this.#db)).map(({ status, count }) => [status, count]))
  }

  /**
   * update changes the name or the quota. A new quota counts for the next pool, and makes the older one drain.
   * @throws LessorError INVALID_REQUEST, TENANT_NOT_FOUND, TENANT_NAME_TAKEN, TENANT_STATUS_CONFLICT
   */
  async update(id: string, change: { readonly name?: string; readonly quota?: Quota }): Promise<Tenant> {
    const name = change.name === undefined ? undefined : parseTenantName(change.name)
    const quota = change.quota && parseQuota(change.quota, this.#options.maxConnections)
    const changed = await this.#options.db
      .transaction(async (tx) => {
        const renamed = name === undefined || (await renameTenant(tx, id, name))
        if (!renamed || quota === undefined) return renamed
        if (!(await changeQuota(tx, id, quota))) return false
        await this.#options.changes.publish(tx, { kind: 'quota', tenantId: id })
        return true
      })
      .catch((error: unknown) => {
        if (errorCode(error) !== UNIQUE_VIOLATION) throw error
        throw new LessorError('TENANT_NAME_TAKEN', `The namespace has a tenant "${name?.text}".`)
      })
    this.#options.directory.forget(id)
    const tenant = await this.get(id)
    if (!changed) throw statusConflict(tenant.status, 'changed')
    return tenant
  }

  /** suspend ends a tenant's access; see Suspension. @throws what Suspension.suspend throws */
  async suspend(id: string): Promise<Tenant> {
    return this.#suspension.suspend(id)
  }

  /** resume ends a suspension. @throws what Suspension.resume throws */
  async resume(id: string): Promise<Tenant> {
    return this.#suspension.resume(id)
  }

  /**
   * unblock lifts the block of a tenant's login; see LoginBlocks.
   * @throws LessorError TENANT_NOT_FOUND, SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE
   */
  async unblock(id: string): Promise<Tenant> {
    await this.blocks.unblock(id)
    return this.get(id)
  }

  /**
   * rotateCredential gives the tenant a new login and resolves with it once that is in use; the old
   * one works until every process has drained its older pools, then it is dropped. Nobody's request notices.
   * @throws LessorError SHUTTING_DOWN, and what Rotation.run throws
   */
  async rotateCredential(id: string): Promise<Tenant> {
    return this.#jobs.track(() => this.#rotation.run(id))
  }

  /**
   * promote begins to give the tenant partitions of its own in the shared tables and resolves with the tenant;
   * the rest goes on in the background, while it is served.
   * @throws LessorError SHUTTING_DOWN, and what Promotion.promote throws
   */
  async promote(id: string, options: { readonly tablespace?: string | undefined } = {}): Promise<Tenant> {
    return this.#jobs.track(() => this.#promotion.promote(id, options.tablespace))
  }

  /** demote begins to put a promoted tenant's rows back. @throws LessorError SHUTTING_DOWN, and what Promotion.demote throws */
  async demote(id: string, options: { readonly maxRows?: number | undefined } = {}): Promise<Tenant> {
    return this.#jobs.track(() => this.#promotion.demote(id, options.maxRows))
  }

  /**
   * delete begins a deletion and resolves with the tenant, then `deleting`; the rest goes on in the
   * background. A tenant that is being deleted, or is deleted, stays as it is.
   * @throws LessorError TENANT_NOT_FOUND, TENANT_STATUS_CONFLICT, TENANT_BUSY
   */
  async delete(id: string): Promise<Tenant> {
    return this.#jobs.track(async () => {
      const begun = await this.#deletion.begin(id)
      this.#options.directory.forget(id)
      try {
        const tenant = await this.get(id)
        if (tenant.status === 'deleting' || tenant.status === 'deleted') return tenant
        throw statusConflict(tenant.status, 'deleted')
      } finally {
        // After the look-up, so that the answer is what the deletion began with.
        if (begun !== undefined) void this.#finish(begun)
      }
    })
  }

  /** recover takes over what dead processes left behind and resolves with the number of jobs; see Recovery.run. @throws what that throws */
  async recover(): Promise<number> {
    return this.#jobs.closing ? 0 : this.#jobs.track(() => this.#recovery.run())
  }

  /** close takes no new work and resolves when the work under way has ended. */
  async close(): Promise<void> {
    await this.#jobs.close()
  }

  /** Finishes a deletion, or leaves that to recovery. Never rejects. */
  async #finish({ ticket, job, version }: BegunDeletion): Promise<void> {
    await this.#jobs.attempt(ticket, job, async (claim) => {
      await this.#options.afterStep?.('delete', 'begin')
      await this.#deletion.run(claim, version)
    })
  }
}
