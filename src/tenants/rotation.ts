import type { ControlDb } from '../control/control-database.ts'
import { isLessorError, LessorError } from '../errors.ts'
import type { Placement } from '../placement/placement.ts'
import { randomPassword } from '../placement/scram.ts'
import { keepOut } from '../placement/tenant-logins.ts'
import { loginName } from '../placement/tenant-names.ts'
import type { Pools } from '../pool/contract.ts'
import type { DataServers } from '../servers/data-servers.ts'
import { removeIdleCredential } from './credential-store.ts'
import type { AfterStep, Job, RotateStep } from './job.ts'
import { type ClaimTicket, insertJob } from './job-store.ts'
import { type Claim, ClaimLostError, type Jobs } from './jobs.ts'
import { requirePlacement } from './login.ts'
import { type NewLogin, type NewLoginOptions, NewLogins, placeOf } from './new-login.ts'
import { type SettleOptions, settle } from './settle.ts'
import { over } from './shut-out.ts'
import type { Suspension } from './suspension.ts'
import { otherColour, type Tenant } from './tenant.ts'
import type { TenantDirectory } from './tenant-directory.ts'
import { statusConflict } from './tenant-status.ts'
import { findTenant, flipColour } from './tenant-store.ts'

/** All processes look for changes at least once a second (CHANGE_POLL_MS), and hear of most at once. */
const HEARD_MS = 2_000

export interface RotationOptions extends NewLoginOptions, SettleOptions {
  readonly db: ControlDb
  readonly servers: Pick<DataServers, 'address' | 'admin' | 'ping' | 'runtime'>
  readonly pools: Pick<Pools, 'reserve' | 'evictOlder' | 'forgive'>
  readonly directory: Pick<TenantDirectory, 'forget'>
  readonly jobs: Jobs
  readonly suspension: Pick<Suspension, 'request' | 'settle'>
  readonly afterStep: AfterStep | undefined
}

interface BegunRotation {
  readonly ticket: ClaimTicket
  readonly job: Job
  readonly login: NewLogin
}

/** Flipped is a tenant that uses its new login, and the change that tells the processes so. */
interface Flipped {
  readonly tenant: Tenant
  /** Undefined when this process has not published it. */
  readonly version: bigint | undefined
}

/** A job at one of these has flipped. */
const AFTER_FLIP: ReadonlySet<string> = new Set<RotateStep>(['drain', 'retire'])

/**
 * Rotation gives a tenant a new login: it makes the idle colour's, seals the credential, tries it
 * out, and flips. Both logins work until every process has drained its older pools; then the old
 * one is dropped. Nobody's request notices. Whatever happens before the flip is undone, whatever
 * happens after it is finished; both end with the login that is not in use withdrawn.
 */
export class Rotation {
  readonly #options: RotationOptions
  readonly #logins: NewLogins

  constructor(options: RotationOptions) {
    this.#options = options
    this.#logins = new NewLogins(options)
  }

  /**
   * run resolves with the tenant once its new login is in use; the old one's end goes on in the
   * background, as the tenant's job.
   * @throws LessorError TENANT_NOT_FOUND, TENANT_STATUS_CONFLICT, TENANT_BUSY, POOL_OPEN_FAILED,
   *   POOL_SATURATED, PLACEMENT_UNAVAILABLE, SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE
   */
  async run(tenantId: string): Promise<Tenant> {
    const { jobs, servers } = this.#options
    const tenant = requireLiving(await findTenant(this.#options.db, tenantId))
    requireOwnLogin(requirePlacement(this.#options.placements, tenant.placement))
    // Before the job: what cannot be begun needs no undoing.
    await servers.ping(tenant.server)
    const { ticket, job, login } = await this.#begin(tenantId)
    await this.#options.afterStep?.('rotate', 'begin')
    const flipped = await jobs.hold(ticket, job, (claim) => this.#provision(claim, login))
    void jobs.attempt(ticket, job, (claim) => this.#retire(claim, flipped.version))
    return flipped.tenant
  }

  /** resume takes over a rotation that its process left behind: undoes it before the flip, finishes it after. */
  async resume(claim: Claim): Promise<void> {
    await (AFTER_FLIP.has(claim.job.step) ? this.#retire(claim, undefined) : this.#withdraw(claim))
  }

  async #begin(tenantId: string): Promise<BegunRotation> {
    const { db, jobs } = this.#options
    // Before the transaction, since it may have to read on another connection.
    const place = await placeOf(this.#options, requireLiving(await findTenant(db, tenantId)))
    return db.transaction(async (tx) => {
      const ticket = jobs.ticket()
      // From here on nobody deletes the tenant, and nobody else changes its colour.
      const job = await insertJob(tx, ticket, { kind: 'rotate', tenantId, step: 'begin' })
      const tenant = requireLiving(await findTenant(tx, tenantId))
      return { ticket, job, login: { tenantId, colour: otherColour(tenant.colour), place } }
    })
  }

  async #provision(claim: Claim, login: NewLogin): Promise<Flipped> {
    const { afterStep } = this.#options
    const password = randomPassword()
    const steps = [
      { name: 'login', run: () => this.#logins.make(login, password) },
      { name: 'credential', run: () => this.#logins.seal(login, password) },
      { name: 'check', run: () => this.#logins.check(login) },
    ] as const
    let flipped: Flipped
    try {
      for (const step of steps) {
        await claim.enter(step.name)
        await step.run()
        await afterStep?.('rotate', step.name)
      }
      await claim.enter('flip')
      flipped = await this.#flip(claim, login)
    } catch (error) {
      flipped = await this.#failed(claim, login, error)
    }
    this.#options.directory.forget(login.tenantId)
    // Whatever was wrong with the old login is not wrong with this one.
    this.#options.pools.forgive(login.tenantId)
    await afterStep?.('rotate', 'flip')
    return flipped
  }

  async #flip(claim: Claim, { tenantId, colour }: NewLogin): Promise<Flipped> {
    const { changes, db, suspension } = this.#options
    const { settlement, ...flipped } = await db.transaction(async (tx) => {
      await claim.enter('drain', tx)
      if (!(await flipColour(tx, tenantId, colour))) {
        throw new Error('bug: a rotation flips a tenant that does not live or has no new login')
      }
      const tenant = requireLiving(await findTenant(tx, tenantId))
      // A suspended tenant's new login has been open until now, for the check.
      const line = await suspension.request(tx, tenantId)
      return { tenant, settlement: line, version: await changes.publish(tx, { kind: 'rotation', tenantId }) }
    })
    if (settlement !== undefined) await suspension.settle(settlement)
    return flipped
  }

  /**
   * When the connection breaks during the commit, its outcome is unknown: the tenant knows it.
   * @throws `error` when the tenant has not flipped, after undoing what was done or leaving that to recovery
   */
  async #failed(claim: Claim, login: NewLogin, error: unknown): Promise<Flipped> {
    let isLost = false
    try {
      const flipped = await this.#options.jobs.insist(async () => {
        isLost = await isLostFor(claim)
        const tenant = await findTenant(this.#options.db, login.tenantId)
        if (tenant?.colour === login.colour) return { tenant, version: undefined }
        if (isLost) await this.#sweepUp(login.tenantId)
        else await this.#withdraw(claim)
        return undefined
      })
      if (flipped !== undefined) return flipped
    } catch (failure) {
      await this.#options.jobs.fail(claim, failure)
    }
    throw isLost ? interrupted(error) : error
  }

  /** Whoever took the job over has undone it; a step of ours may have come after that, so it is undone once more. */
  async #sweepUp(tenantId: string): Promise<void> {
    try {
      const { ticket, job } = await this.#begin(tenantId)
      await this.#options.jobs.attempt(ticket, job, (claim) => this.#withdraw(claim))
    } catch (error) {
      // Another job works on the tenant: each of them begins or ends with the idle login made anew or dropped.
      if (!isLessorError(error, 'TENANT_BUSY', 'TENANT_STATUS_CONFLICT', 'TENANT_NOT_FOUND')) throw error
    }
  }

  /** Without `version`, the processes are told once more. */
  async #retire(claim: Claim, version: bigint | undefined): Promise<void> {
    const { afterStep, changes, db, directory, pools } = this.#options
    const { tenantId } = claim.job
    await claim.enter('drain')
    const tenant = await findTenant(db, tenantId)
    if (tenant === undefined) throw new ClaimLostError()
    const told =
      version ?? (await db.transaction((tx) => changes.publish(tx, { kind: 'rotation', tenantId })))
    directory.forget(tenantId)
    const drained = Promise.all([
      pools.evictOlder({ tenantId, generation: tenant.generation }, 'rotation'),
      settle(this.#options, claim.job, told),
    ])
    await Promise.all([drained, this.#keepOutOld(tenant, drained)])
    await afterStep?.('rotate', 'drain')
    await claim.enter('retire')
    await this.#withdraw(claim)
    await afterStep?.('rotate', 'retire')
  }

  /**
   * Keeps the old login out as soon as all processes have had the time to hear of the new one; its sessions last until the
   * requests on them have ended. Where that fails, the login is closed when it is dropped.
   */
  async #keepOutOld(tenant: Tenant, drained: Promise<unknown>): Promise<void> {
    await over({ until: drained, graceMs: HEARD_MS, signal: this.#options.jobs.signal })
    const old = loginName(tenant.id, otherColour(tenant.colour))
    const kept = placeOf(this.#options, tenant).then(({ admin }) => keepOut(admin, old))
    await Promise.allSettled([kept])
  }

  /** Ends the rotation: of the two logins, the one that is not in use goes. */
  async #withdraw(claim: Claim): Promise<void> {
    const { db } = this.#options
    const { tenantId } = claim.job
    await claim.renew()
    const tenant = await findTenant(db, tenantId)
    if (tenant === undefined) throw new ClaimLostError()
    const { placement, admin } = await placeOf(this.#options, tenant)
    await placement.withdraw(admin, tenantId, otherColour(tenant.colour))
    await db.transaction(async (tx) => {
      await claim.finish(tx)
      await removeIdleCredential(tx, tenantId)
    })
  }
}

function requireLiving(tenant: Tenant | undefined): Tenant {
  if (tenant === undefined) throw new LessorError('TENANT_NOT_FOUND')
  if (tenant.status === 'active' || tenant.status === 'suspended') return tenant
  throw statusConflict(tenant.status, 'given a new credential')
}

function requireOwnLogin({ name, hasOwnLogin }: Placement): void {
  if (hasOwnLogin) return
  throw new LessorError(
    'PLACEMENT_UNAVAILABLE',
    `Tenants of the placement "${name}" have no login of their own that could be rotated.`,
  )
}

/** Renewing a claim waits for a commit of its holder that is still under way. */
async function isLostFor(claim: Claim): Promise<boolean> {
  try {
    await claim.renew()
    return false
  } catch (error) {
    if (error instanceof ClaimLostError) return true
    throw error
  }
}

function interrupted(cause: unknown): LessorError {
  return new LessorError('CONTROL_UNAVAILABLE', 'The rotation took too long and is undone.', { cause })
}
