import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { isGone, type OwnProcess } from '../control/own-process.ts'
import type { Db } from '../pool/statement.ts'
import type { StopReason } from './fleet.ts'
import {
  endRun,
  insertRun,
  lockOpenRun,
  type NewRun,
  type OpenRun,
  type RunTicket,
  renewRun,
  supersedeRun,
  takeRun,
} from './fleet-store.ts'

/** FleetBusyError says that another process migrates the fleet. */
export class FleetBusyError extends Error {
  override readonly name = 'FleetBusyError'

  constructor(holder: string, startedAt: Date) {
    super(
      `Another "lessor migrate" is at work (${holder}, begun ${startedAt.toISOString()}). ` +
        'If it died on another machine, its claim runs out within half a minute.',
    )
  }
}

export interface RunClaimOptions {
  readonly db: Db
  readonly clock: Clock
  readonly process: OwnProcess
  /** How long the claim holds without being renewed; it is renewed three times as often. */
  readonly claimMs: number
}

/** RunClaim is the right to migrate the fleet, renewed until it is released; one process has it at a time. */
export class RunClaim {
  readonly ticket: RunTicket
  readonly run: NewRun
  /** Whether it goes on with a run that stopped, or whose process died. */
  readonly isResumed: boolean
  /** Waves that had ended before. */
  readonly waves: number
  readonly #options: RunClaimOptions
  readonly #timer: NodeJS.Timeout
  #heldUntil: number
  #isTaken = false

  private constructor(
    options: RunClaimOptions,
    ticket: RunTicket,
    run: NewRun,
    resumed: OpenRun | undefined,
  ) {
    this.#options = options
    this.ticket = ticket
    this.run = run
    this.isResumed = resumed !== undefined
    this.waves = resumed?.waves ?? 0
    this.#heldUntil = options.clock.now() + ticket.claimMs
    this.#timer = setInterval(() => void this.#renew(), ticket.claimMs / 3).unref()
  }

  /**
   * take claims the open run when it is the same one, and begins a new one when it is not.
   * @throws FleetBusyError when another process holds the open run
   */
  static async take(options: RunClaimOptions, run: NewRun): Promise<RunClaim> {
    for (;;) {
      const claim = await options.db.transaction((tx) => takeOnce(tx, options, run))
      if (claim !== undefined) return new RunClaim(options, claim.ticket, run, claim.resumed)
    }
  }

  /** True when another process has it, or may have it by now, since it could not be renewed in time. */
  get isLost(): boolean {
    return this.#isTaken || this.#options.clock.now() >= this.#heldUntil
  }

  /** lose notes that a statement under this claim found it gone. */
  lose(): void {
    this.#isTaken = true
  }

  /** release ends the claim: without a reason the run is finished, else it waits to be resumed. */
  async release(reason: StopReason | null): Promise<void> {
    clearInterval(this.#timer)
    await endRun(this.#options.db, this.ticket, reason)
  }

  async #renew(): Promise<void> {
    const askedAt = this.#options.clock.now()
    try {
      if (await renewRun(this.#options.db, this.ticket)) this.#heldUntil = askedAt + this.ticket.claimMs
      else this.#isTaken = true
    } catch {
      // The control database is away; the claim runs out by itself.
    }
  }
}

interface Taken {
  readonly ticket: RunTicket
  readonly resumed: OpenRun | undefined
}

/** Undefined when another process was faster, whom the next look finds. */
async function takeOnce(tx: Db, options: RunClaimOptions, run: NewRun): Promise<Taken | undefined> {
  const { claimMs, process: own } = options
  const open = await lockOpenRun(tx, run)
  if (open !== undefined && isHeld(open, own)) throw new FleetBusyError(open.holder, open.startedAt)
  if (open?.isSame) {
    const ticket = { runId: open.id, token: randomUUID(), claimMs }
    await takeRun(tx, ticket, run.options, own)
    return { ticket, resumed: open }
  }
  if (open !== undefined) await supersedeRun(tx, open.id)
  const ticket = { runId: randomUUID(), token: randomUUID(), claimMs }
  return (await insertRun(tx, ticket, run, own)) ? { ticket, resumed: undefined } : undefined
}

/** A process that was killed on this machine is known to be dead before its claim has run out. */
function isHeld(open: OpenRun, own: OwnProcess): boolean {
  const isDead = own.space !== null && open.space === own.space && isGone(open.pid)
  return open.isClaimed && !isDead
}
