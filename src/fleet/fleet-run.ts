import type { Clock } from '../clock.ts'
import type { AdminDb } from '../placement/placement.ts'
import type { Db } from '../pool/statement.ts'
import { type Placements, requirePlacement } from '../tenants/login.ts'
import { attempt, pause } from './attempt.ts'
import {
  FLEET_FAILURES_SHOWN,
  type FleetEvent,
  type FleetFailure,
  type FleetReport,
  type FleetTenant,
  type Outcome,
  type StopReason,
} from './fleet.ts'
import {
  chooseCanaries,
  countOutcomes,
  countWave,
  enlist,
  isAlive,
  listFailures,
  nameCanaries,
  nextTenants,
  saveOutcome,
} from './fleet-store.ts'
import { runBounded } from './run-bounded.ts'
import type { RunClaim } from './run-claim.ts'
import { failuresAllowed, waveSize } from './waves.ts'

export interface FleetRunOptions {
  readonly db: Db
  readonly clock: Clock
  readonly placements: Placements
  readonly admin: (server: string) => Promise<AdminDb>
  /** Migrates the shared tables of a data server and resolves with the names of what ran. */
  readonly prepare: (server: string, lockTimeoutMs: number) => Promise<readonly string[]>
  /** Data servers whose shared tables are to be migrated first. */
  readonly servers: readonly string[]
  readonly claim: RunClaim
  readonly onEvent: (event: FleetEvent) => void
  /** Asks it to stop: what is under way ends, nothing more begins. */
  readonly signal: AbortSignal
}

/**
 * FleetRun is one go at a run: first the shared tables of each data server, then the canaries one after the
 * other, then waves. Whoever is through is noted at once, so that a process that dies loses nothing but the
 * tenants it had under way, and of those the ledger beside their tables knows.
 */
export class FleetRun {
  readonly #options: FleetRunOptions
  readonly #claim: RunClaim
  #failuresAllowed = 0
  #failed = 0
  #underWay = 0
  #stop: StopReason | undefined
  readonly #serverFailures: FleetFailure[] = []

  constructor(options: FleetRunOptions) {
    this.#options = options
    this.#claim = options.claim
  }

  /** go resolves when all had their turn, or the run stopped. @throws LessorError CONTROL_UNAVAILABLE; it can be resumed then */
  async go(): Promise<FleetReport> {
    const { clock, db } = this.#options
    const { run, ticket } = this.#claim
    const began = clock.now()
    let reason: StopReason | null = 'interrupted'
    try {
      await this.#migrate()
      reason = this.#stop ?? null
      const { pending, failed } = await countOutcomes(db, ticket.runId)
      if (reason === null && pending + failed > 0) reason = 'incomplete'
    } finally {
      await this.#claim.release(reason)
    }
    const failures = await listFailures(db, ticket.runId, FLEET_FAILURES_SHOWN)
    return {
      runId: ticket.runId,
      target: run.target,
      state: reason === null ? 'finished' : 'stopped',
      reason,
      counts: await countOutcomes(db, ticket.runId),
      failures: [...this.#serverFailures, ...failures],
      ms: Math.round(clock.now() - began),
    }
  }

  async #migrate(): Promise<void> {
    await this.#enlist()
    if (!(await this.#prepareServers())) return
    await this.#canaries()
    await this.#waves()
  }

  async #enlist(): Promise<void> {
    const { db } = this.#options
    const { isResumed, run, ticket } = this.#claim
    const { canaries, canaryCount, maxFailures } = run.options
    await enlist(db, ticket, run)
    await nameCanaries(db, ticket, canaries)
    if (canaries.length === 0) await chooseCanaries(db, ticket, canaryCount)
    const counts = await countOutcomes(db, ticket.runId)
    const total = counts.pending + counts.done + counts.failed + counts.skipped
    this.#failuresAllowed = failuresAllowed(maxFailures, total)
    this.#options.onEvent({
      kind: 'begin',
      runId: ticket.runId,
      target: run.target,
      resumed: isResumed,
      counts,
      failuresAllowed: this.#failuresAllowed,
    })
  }

  /** One after the other: a data server's shared tables are everybody's. False when one failed. */
  async #prepareServers(): Promise<boolean> {
    const { onEvent, prepare, servers } = this.#options
    const { lockTimeoutMs } = this.#claim.run.options
    for (const server of servers) {
      if (!this.#mayBegin()) return false
      const name = `shared tables of ${server}`
      const outcome = await this.#attempt(name, () => prepare(server, lockTimeoutMs))
      onEvent({ kind: 'server', server, outcome })
      if (outcome.state === 'done') continue
      if (outcome.error !== null && outcome.state === 'failed') {
        this.#serverFailures.push({ id: server, name, error: outcome.error, attempts: outcome.attempts })
        this.#brake('server')
      }
      return false
    }
    return true
  }

  async #canaries(): Promise<void> {
    const { db, onEvent } = this.#options
    const canaries = await nextTenants(db, this.#claim.ticket, { canary: true, limit: null })
    if (canaries.length === 0 || !this.#mayBegin()) return
    onEvent({ kind: 'wave', canary: true, number: 1, size: canaries.length })
    const bounds = { total: 1, perKey: 1, keyOf: serverOf, mayBegin: () => this.#mayBegin() }
    await runBounded(canaries, bounds, async (tenant) => {
      const { state } = await this.#turn(tenant, true)
      if (state === 'failed') this.#brake('canary')
    })
    await this.#pause()
  }

  async #waves(): Promise<void> {
    const { db, onEvent } = this.#options
    const { run, ticket } = this.#claim
    const { concurrency, serverConcurrency } = run.options
    const bounds = {
      total: concurrency,
      perKey: serverConcurrency,
      keyOf: serverOf,
      mayBegin: () => this.#mayBegin(),
    }
    for (let ended = this.#claim.waves; this.#mayBegin(); ended++) {
      const limit = waveSize(run.options.waveSize, ended)
      let tenants = await nextTenants(db, ticket, { canary: false, limit })
      // Those whom a node with older code has onboarded meanwhile.
      if (tenants.length === 0 && (await enlist(db, ticket, run)) > 0) {
        tenants = await nextTenants(db, ticket, { canary: false, limit })
      }
      if (tenants.length === 0) return
      if (ended > this.#claim.waves) await this.#pause()
      if (!this.#mayBegin()) return
      onEvent({ kind: 'wave', canary: false, number: ended + 1, size: tenants.length })
      await runBounded(tenants, bounds, async (tenant) => {
        await this.#turn(tenant, false)
      })
      if (this.#stop === undefined) await countWave(db, ticket)
    }
  }

  async #turn(tenant: FleetTenant, canary: boolean): Promise<Outcome> {
    const { db, onEvent } = this.#options
    this.#underWay++
    try {
      const outcome = await this.#migrateTenant(tenant)
      const version = outcome.state === 'done' ? this.#claim.run.target : null
      if (!(await saveOutcome(db, this.#claim.ticket, tenant.id, { ...outcome, version }))) this.#claim.lose()
      if (outcome.state === 'failed') this.#failed++
      onEvent({ kind: 'tenant', tenant, canary, outcome })
      return outcome
    } finally {
      this.#underWay--
    }
  }

  async #migrateTenant(tenant: FleetTenant): Promise<Outcome> {
    const { admin, db, placements } = this.#options
    const { lockTimeoutMs } = this.#claim.run.options
    const skipped: Outcome = { state: 'skipped', attempts: 0, error: null, ran: [], ms: 0 }
    if (!(await isAlive(db, tenant.id))) return skipped
    const outcome = await this.#attempt(tenant.name, async () => {
      const placement = requirePlacement(placements, tenant.placement)
      return placement.migrate(await admin(tenant.server), tenant.id, { lockTimeoutMs })
    })
    if (outcome.state === 'failed' && !(await isAlive(db, tenant.id))) return skipped
    return outcome
  }

  #attempt(name: string, work: () => Promise<readonly string[]>): Promise<Outcome> {
    const { clock, onEvent, signal } = this.#options
    return attempt(work, {
      clock,
      signal,
      attempts: this.#claim.run.options.attempts,
      onRetry: (error, waitMs) => onEvent({ kind: 'retry', name, error, waitMs }),
    })
  }

  async #pause(): Promise<void> {
    const { pauseMs } = this.#claim.run.options
    if (pauseMs > 0 && this.#mayBegin()) await pause(pauseMs, this.#options.signal)
  }

  #mayBegin(): boolean {
    if (this.#options.signal.aborted) this.#brake('interrupted')
    else if (this.#claim.isLost) this.#brake('taken over')
    else if (this.#failed > this.#failuresAllowed) this.#brake('failures')
    return this.#stop === undefined
  }

  /** The first reason counts. */
  #brake(reason: StopReason): void {
    if (this.#stop !== undefined) return
    this.#stop = reason
    this.#options.onEvent({ kind: 'stopping', reason, underWay: this.#underWay })
  }
}

function serverOf({ server }: FleetTenant): string {
  return server
}
