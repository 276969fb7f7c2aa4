import type { Clock } from '../clock.ts'
import type { TaskName } from '../tasks.ts'
import { FAILING_KINDS, type FailingJobs, type FailingKind, NONE_FAILING } from '../tenants/job.ts'

/** Checks is what readiness consists of; each is true when it is well. */
export interface Checks {
  readonly controlDatabase: boolean
  readonly migrations: boolean
  /** False when VAULT_KEYS lacks a key that is in use. */
  readonly vaultKeys: boolean
  readonly draining: boolean
}

/**
 * Failing is what fails again and again while the process takes requests all the same: no other process would do better,
 * and one tenant's job is no reason to take the others' requests elsewhere.
 */
export interface Failing {
  readonly tasks: readonly TaskName[]
  readonly jobs: readonly FailingKind[]
}

export interface HealthOptions {
  readonly clock: Clock
  /** Resolves when the control database answers. */
  readonly ping: () => Promise<unknown>
  /** Whether this process has every vault key that is in use. */
  readonly hasVaultKeys: () => boolean
  /** What failed again and again when it was last looked at; nothing by default. */
  readonly failing?: () => { readonly tasks: readonly TaskName[]; readonly jobs: FailingJobs }
}

/** A probe gets an answer within this time, whatever the control database does. */
const PING_TIMEOUT_MS = 2000
/** Probes are open to all: a burst of them asks the control database once. */
const PING_FRESH_MS = 500

/** Health knows whether this process can take requests. */
export class Health {
  readonly #clock: Clock
  readonly #ping: () => Promise<unknown>
  readonly #hasVaultKeys: () => boolean
  readonly #failing: NonNullable<HealthOptions['failing']>
  readonly #startedAt: number
  #isMigrated = false
  #isDraining = false
  #lastPing: { readonly at: number; readonly answer: Promise<boolean> } | undefined

  constructor(options: HealthOptions) {
    const { clock, ping, hasVaultKeys, failing = () => ({ tasks: [], jobs: NONE_FAILING }) } = options
    this.#clock = clock
    this.#failing = failing
    this.#ping = ping
    this.#hasVaultKeys = hasVaultKeys
    this.#startedAt = clock.now()
  }

  /** migrated is called once, when the control database's migrations have run. */
  migrated(): void {
    this.#isMigrated = true
  }

  /** drain makes the process not ready, for good. */
  drain(): void {
    this.#isDraining = true
  }

  uptimeMs(): number {
    return this.#clock.now() - this.#startedAt
  }

  async check(): Promise<Checks> {
    return {
      controlDatabase: this.#isMigrated && (await this.#answers()),
      migrations: this.#isMigrated,
      vaultKeys: this.#hasVaultKeys(),
      draining: this.#isDraining,
    }
  }

  /** failing is what this process has seen, without asking the database. */
  failing(): Failing {
    const { tasks, jobs } = this.#failing()
    return { tasks, jobs: FAILING_KINDS.filter((kind) => jobs[kind] > 0) }
  }

  #answers(): Promise<boolean> {
    const now = this.#clock.now()
    if (this.#lastPing === undefined || now - this.#lastPing.at >= PING_FRESH_MS) {
      this.#lastPing = { at: now, answer: this.#pingOnce() }
    }
    return this.#lastPing.answer
  }

  async #pingOnce(): Promise<boolean> {
    const { promise: timedOut, resolve } = Promise.withResolvers<boolean>()
    const timer = setTimeout(() => resolve(false), PING_TIMEOUT_MS)
    const answered = this.#ping().then(
      () => true,
      () => false,
    )
    try {
      return await Promise.race([answered, timedOut])
    } finally {
      clearTimeout(timer)
    }
  }
}

/** isReady says whether the process can take requests. */
export function isReady(checks: Checks): boolean {
  return checks.controlDatabase && checks.migrations && checks.vaultKeys && !checks.draining
}
