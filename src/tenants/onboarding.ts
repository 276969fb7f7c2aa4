import { randomUUID } from 'node:crypto'
import type { IssuedKey, KeyService } from '../access/key-service.ts'
import { LessorError } from '../errors.ts'
import { randomPassword } from '../placement/scram.ts'
import type { Db, ScriptDb } from '../pool/statement.ts'
import type { Secret } from '../secret.ts'
import type { Vault } from '../vault/vault.ts'
import { removeCredentials } from './credential-store.ts'
import { Idempotency } from './idempotency.ts'
import type { IdempotentRequest } from './idempotency-store.ts'
import type { AfterStep, Job, OnboardStep } from './job.ts'
import { type ClaimTicket, insertJob } from './job-store.ts'
import { type Claim, ClaimLostError, type Jobs } from './jobs.ts'
import type { Name } from './name.ts'
import { requireNamespace } from './namespace-service.ts'
import { type NewLogin, type NewLoginOptions, NewLogins, type Place, placeOf } from './new-login.ts'
import type { PlacementName, Quota, Tenant } from './tenant.ts'
import { type OnboardedBody, toTenantBody } from './tenant-body.ts'
import { findTenant, insertTenant, moveTenant, removeReservation, setSchemaVersion } from './tenant-store.ts'

/** The colour of a tenant's first login; rotation flips it. */
const FIRST_COLOUR = 'blue'

export interface OnboardingOptions extends NewLoginOptions {
  readonly db: ScriptDb
  readonly vault: Vault
  readonly keys: Pick<KeyService, 'issue' | 'removeAll'>
  readonly jobs: Jobs
  /** Number of the last file of sql/app, which a new tenant's own tables are made at. */
  readonly schemaVersion?: () => Promise<number>
  readonly afterStep: AfterStep | undefined
}

/** OnboardRequest is a checked request. */
export interface OnboardRequest {
  readonly name: Name
  readonly namespace: string
  readonly placement: PlacementName
  readonly server: string
  readonly quota: Quota
}

/** Work is what the steps of one onboarding share. */
interface Work {
  readonly tenant: Pick<Tenant, 'id' | 'namespaceId'>
  readonly place: Place
}

/** Made is what one step makes for the next ones; it is nowhere else in plain. */
interface Made {
  readonly password: Secret
  /** Undefined where its tables are shared. */
  readonly schemaVersion: number | undefined
  apiKey?: IssuedKey
}

interface Step {
  readonly name: Exclude<OnboardStep, 'reserve' | 'activate'>
  /** Left out where tenants have no login of their own. */
  readonly ofLogin: boolean
  run(work: Work, made: Made): Promise<void>
  /** Takes back what `run` may have done, also in part or not at all; can be run again. */
  undo(work: Work): Promise<void>
}

interface Reservation {
  readonly job: Job
  readonly ticket: ClaimTicket
  readonly work: Work
}

/**
 * Onboarding makes tenants: it reserves the row, makes the logins, seals the credential, tries it
 * out, and makes the tenant active; where tenants share a login, there is nothing but the row and its
 * key. Each step is noted before it runs. A failure takes back the
 * steps in reverse; when the process dies, whoever takes over the job does.
 */
export class Onboarding {
  readonly #options: OnboardingOptions
  readonly #idempotency: Idempotency
  readonly #logins: NewLogins
  readonly #steps: readonly Step[] = [
    {
      name: 'logins',
      ofLogin: true,
      run: (work, { password }) => this.#logins.make(firstLogin(work), password),
      undo: ({ place: { placement, admin }, tenant }) => placement.unprovision(admin, tenant.id),
    },
    {
      name: 'credential',
      ofLogin: true,
      run: (work, { password }) => this.#logins.seal(firstLogin(work), password),
      undo: ({ tenant }) => removeCredentials(this.#options.db, tenant.id),
    },
    {
      name: 'check',
      ofLogin: true,
      run: (work) => this.#logins.check(firstLogin(work)),
      undo: async () => {},
    },
    {
      // Not with `activate`, since its hash takes tens of milliseconds, too long for a transaction.
      // Until the tenant is active the key opens nothing.
      name: 'key',
      ofLogin: false,
      run: async ({ tenant }, made) => {
        const { db, keys } = this.#options
        made.apiKey = await keys.issue(db, { namespaceId: tenant.namespaceId, tenantId: tenant.id })
      },
      undo: ({ tenant }) => this.#options.keys.removeAll(this.#options.db, tenant.id),
    },
  ]

  constructor(options: OnboardingOptions) {
    this.#options = options
    this.#logins = new NewLogins(options)
    this.#idempotency = new Idempotency(options.vault)
  }

  /**
   * run makes a tenant, or resolves with the stored answer to an earlier request with the same key.
   * @throws LessorError NAMESPACE_NOT_FOUND, SERVER_NOT_FOUND, PLACEMENT_UNAVAILABLE,
   *   TENANT_NAME_TAKEN, IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_IN_PROGRESS, POOL_OPEN_FAILED,
   *   POOL_SATURATED, SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE
   */
  async run(request: OnboardRequest, key: IdempotentRequest | undefined): Promise<OnboardedBody> {
    const reserved = await this.#reserve(request, key)
    if (typeof reserved === 'string') return JSON.parse(reserved) as OnboardedBody
    await this.#options.afterStep?.('onboard', 'reserve')
    const { ticket, job, work } = reserved
    return this.#options.jobs.hold(ticket, job, (claim) => this.#provision(claim, work, key))
  }

  /** resume takes back an onboarding that its process left behind. */
  async resume(job: Job): Promise<void> {
    const tenant = await findTenant(this.#options.db, job.tenantId)
    if (tenant?.status !== 'provisioning') return
    await this.#takeBack({ tenant, place: await placeOf(this.#options, tenant) }, job.step)
  }

  async #reserve(request: OnboardRequest, key: IdempotentRequest | undefined): Promise<Reservation | string> {
    const { db, jobs } = this.#options
    const id = randomUUID()
    const { name, placement, server, quota } = request
    // Before the transaction: what cannot be offered needs no row.
    const place = await placeOf(this.#options, request)
    return db.transaction(async (tx) => {
      const replay = key && (await this.#idempotency.claim(tx, key, id))
      if (replay !== undefined) return replay
      const namespace = await requireNamespace(tx, request.namespace)
      const namespaceId = namespace.id
      if (!(await insertTenant(tx, { id, name, namespaceId, placement, server, quota }))) {
        throw new LessorError(
          'TENANT_NAME_TAKEN',
          `The namespace "${namespace.name}" has a tenant "${name.text}".`,
        )
      }
      const ticket = jobs.ticket()
      const job = await insertJob(tx, ticket, { kind: 'onboard', tenantId: id, step: 'reserve' })
      return { job, ticket, work: { tenant: { id, namespaceId }, place } }
    })
  }

  async #provision(claim: Claim, work: Work, key: IdempotentRequest | undefined): Promise<OnboardedBody> {
    let reached: string = claim.job.step
    let answer: OnboardedBody | undefined
    try {
      const { hasOwnTables } = work.place.placement
      // Read first: files that come meanwhile leave the tenant behind, never ahead.
      const schemaVersion = hasOwnTables ? await this.#options.schemaVersion?.() : undefined
      const made: Made = { password: randomPassword(), schemaVersion }
      for (const step of this.#stepsOf(work)) {
        await claim.enter(step.name)
        reached = step.name
        await step.run(work, made)
        await this.#options.afterStep?.('onboard', step.name)
      }
      await claim.enter('activate')
      await this.#activate(claim, work, made, async (tx, body) => {
        if (key !== undefined) await this.#idempotency.answer(tx, key, work.tenant.id, JSON.stringify(body))
        answer = body
      })
    } catch (error) {
      if ((await this.#undo(claim, work, reached)) !== 'active') {
        throw error instanceof ClaimLostError ? interrupted(error) : error
      }
    }
    await this.#options.afterStep?.('onboard', 'activate')
    if (answer === undefined) throw new Error('bug: a tenant was made active without an answer')
    return answer
  }

  /** `answer` is called before the commit. */
  async #activate(
    claim: Claim,
    { tenant: { id } }: Work,
    { apiKey, schemaVersion }: Made,
    answer: (tx: Db, body: OnboardedBody) => Promise<void>,
  ): Promise<void> {
    await this.#options.db.transaction(async (tx) => {
      await claim.finish(tx)
      const moved = await moveTenant(tx, id, 'activate')
      if (schemaVersion !== undefined) await setSchemaVersion(tx, id, schemaVersion)
      const tenant = await findTenant(tx, id)
      if (!moved || tenant === undefined || apiKey === undefined) {
        throw new Error('bug: an onboarding ends without its tenant or its key')
      }
      const { id: keyId, key } = apiKey
      await answer(tx, { tenant: toTenantBody(tenant), api_key: { id: keyId, key: key.reveal() } })
    })
  }

  /** Takes back a failed onboarding, or leaves that to whoever takes the job next. Never rejects. */
  async #undo(claim: Claim, work: Work, reached: string): Promise<'active' | 'undone' | 'left'> {
    try {
      return await this.#options.jobs.persist(() =>
        this.#options.jobs.insist(async () => {
          if (await this.#isActiveAfterAll(claim, work.tenant.id)) return 'active'
          await this.#takeBack(work, reached)
          return 'undone'
        }),
      )
    } catch (error) {
      await this.#options.jobs.fail(claim, error)
      return 'left'
    }
  }

  /**
   * When the connection breaks during the commit, its outcome is unknown. Marking the job waits for
   * a commit that is still under way. A job that is gone then was finished by that commit, or taken
   * over by somebody who takes it back as well; a step of ours may have come after his, so ours are
   * taken back here in any case.
   */
  async #isActiveAfterAll(claim: Claim, tenantId: string): Promise<boolean> {
    try {
      await claim.markUndoing()
      return false
    } catch (error) {
      if (!(error instanceof ClaimLostError)) throw error
      const tenant = await findTenant(this.#options.db, tenantId)
      return tenant !== undefined && tenant.status !== 'provisioning'
    }
  }

  #stepsOf({ place }: Work): readonly Step[] {
    return place.placement.hasOwnLogin ? this.#steps : this.#steps.filter((step) => !step.ofLogin)
  }

  async #takeBack(work: Work, reached: string): Promise<void> {
    const last = this.#steps.findIndex((step) => step.name === reached)
    const steps = reached === 'activate' ? this.#steps : this.#steps.slice(0, last + 1)
    for (const step of steps.toReversed()) await step.undo(work)
    // With the row go its job, its key, and the Idempotency-Key.
    await removeReservation(this.#options.db, work.tenant.id)
  }
}

function firstLogin({ tenant, place }: Work): NewLogin {
  return { tenantId: tenant.id, colour: FIRST_COLOUR, place }
}

function interrupted(cause: ClaimLostError): LessorError {
  return new LessorError('CONTROL_UNAVAILABLE', 'The onboarding took too long and is taken back.', { cause })
}
