import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import { LessorError } from '../errors.ts'
import { errorCode } from '../pool/driver-errors.ts'
import type { Db } from '../pool/statement.ts'
import { answerWithin } from './answer-within.ts'
import type { ControlDb } from './control-database.ts'
import {
  announceNode,
  findNeighbours,
  listNodes,
  type NodeInfo,
  removeNode,
  removeSilentNodes,
  setLimits,
  writeApplied,
  writeHeartbeat,
} from './node-store.ts'
import { isGone, type OwnProcess } from './own-process.ts'

/** Shares is what a node gets of the data servers; see servers/server-shares.ts. */
export interface Shares {
  readonly isUsable: boolean
  renew(tx: Db, renewal: { readonly nodeId: string; readonly silentMs: number }): Promise<RenewedShares>
}

export interface RenewedShares {
  readonly nodes: number
  readonly isSettled: boolean
  readonly isNews: boolean
  enforce(validUntil: number): void
}

export interface NodesOptions {
  readonly db: ControlDb
  readonly clock: Clock
  /** A UUID of this process's own. */
  readonly id: string
  readonly process: OwnProcess
  /** How long a node may be silent before the others share out what it had. */
  readonly leaseMs: number
  readonly shares: Shares
  /** The version of the last change that has done its work here. */
  readonly applied: () => bigint
  /** Called when the node waits for others before it can begin. */
  readonly onWaiting: () => void
  /** Called once when the lease could not be renewed, and once when it could again. */
  readonly onSilent: (error: unknown) => void
  readonly onHeard: () => void
  /** Called after each renewal of the timer's with 1 when it has failed, else with 0. */
  readonly onTurn?: (failures: number) => void
}

/** How soon a node looks again while shares are on their way. */
const SOON_MS = 200
const RETRY_MS = 1_000
/** After so long nobody believes that a silent node might come back. */
const GONE_MS = 600_000
const ANNOUNCE_WAIT_MS = 1_000
/** query_canceled: here by the limit that a renewal sets for itself. */
const STATEMENT_TIMED_OUT = '57014'

/**
 * Nodes is this process among those that share the control database: it renews its lease, and its
 * shares with it, says how far it is with the changes, and knows the others.
 *
 * A node is dead when it was silent for the time of a lease. After an outage of the control database
 * all have been silent; so whoever could not renew, or is new, waits for half a lease until it takes
 * anyone for dead (`#silentMs`): the others come back meanwhile.
 */
export class Nodes {
  readonly #options: NodesOptions
  readonly #heartbeatMs: number
  #steadySince: number | undefined
  #renewedAt = Number.NEGATIVE_INFINITY
  #live = 1
  #running: Promise<void> | undefined
  #again = false
  #reporting: Promise<void> | undefined
  /** What the row says of `applied`; undefined when that is not known. */
  #reported: bigint | undefined
  #timer: NodeJS.Timeout | undefined
  #isSilent = false
  #stopped = false

  constructor(options: NodesOptions) {
    this.#options = options
    this.#heartbeatMs = options.leaseMs / 3
  }

  get id(): string {
    return this.#options.id
  }

  /** Whether this process counts as one of the nodes. */
  get isMember(): boolean {
    return this.#renewedAt > Number.NEGATIVE_INFINITY && !this.#stopped
  }

  /** Nodes that counted at the last renewal, this one included. */
  get live(): number {
    return this.#live
  }

  /** list resolves with the live nodes, the oldest first. @throws LessorError CONTROL_UNAVAILABLE */
  list(): Promise<readonly NodeInfo[]> {
    return listNodes(this.#options.db, this.#options.leaseMs)
  }

  /**
   * start joins the nodes and resolves when this one has its share.
   * @throws LessorError CONTROL_UNAVAILABLE; POOL_SATURATED when no share came free within two leases
   */
  async start(): Promise<void> {
    const { clock, leaseMs, shares } = this.#options
    const startedAt = clock.now()
    await removeSilentNodes(this.#options.db, Math.max(GONE_MS, leaseMs))
    await this.#removeDeadNeighbours()
    let isTold = false
    while (!this.#stopped) {
      await this.#renew().catch((error: unknown) => {
        // Other nodes hold the lock of the shares; each lets go within a heartbeat.
        const isLate = clock.now() - startedAt > 2 * leaseMs
        if (isLate || errorCode(error) !== STATEMENT_TIMED_OUT) throw error
      })
      if (shares.isUsable) break
      const waited = clock.now() - startedAt
      if (waited > 2 * leaseMs) throw noShare(this.#live)
      if (!isTold && waited > ANNOUNCE_WAIT_MS) {
        isTold = true
        this.#options.onWaiting()
      }
      await sleep(SOON_MS)
    }
    this.#schedule(SOON_MS)
  }

  /** wake looks at the shares now: another node has come, gone or given something up. */
  wake(from?: string): void {
    if (from === this.id || this.#timer === undefined) return
    this.#schedule(0)
  }

  /** report writes down how far this node is, soon. */
  report(): void {
    if (this.#timer === undefined || this.#stopped || this.#reporting !== undefined) return
    if (this.#reported !== this.#options.applied()) this.#reporting = this.#report()
  }

  /** stop leaves the nodes; call it when all connections to data servers are closed. Never rejects. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await Promise.all([this.#running, this.#reporting])
    try {
      await answerWithin(removeNode(this.#options.db, this.id), RETRY_MS)
    } catch (error) {
      this.#options.onSilent(error)
    }
  }

  #schedule(ms: number): void {
    if (this.#stopped) return
    if (this.#running !== undefined) {
      this.#again ||= ms === 0
      return
    }
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#again = false
      this.#running = this.#turn()
    }, ms)
    this.#timer.unref()
  }

  /** Never rejects. */
  async #turn(): Promise<void> {
    const { clock, leaseMs, onHeard, onSilent, onTurn } = this.#options
    let pause = Math.min(RETRY_MS, this.#heartbeatMs)
    try {
      pause = (await this.#renew()) ? this.#heartbeatMs : Math.min(SOON_MS, this.#heartbeatMs)
      if (this.#isSilent) onHeard()
      this.#isSilent = false
      onTurn?.(0)
      this.report()
    } catch (error) {
      onTurn?.(1)
      this.#steadySince = undefined
      if (!this.#isSilent && clock.now() - this.#renewedAt >= leaseMs) {
        this.#isSilent = true
        onSilent(error)
      }
    } finally {
      this.#running = undefined
    }
    this.#schedule(this.#again ? 0 : pause)
  }

  /** True when all nodes have what they should have. */
  async #renew(): Promise<boolean> {
    const { applied, clock, db, id, leaseMs, process, shares } = this.#options
    const askedAt = clock.now()
    if (askedAt - this.#renewedAt > 2 * this.#heartbeatMs) this.#steadySince = undefined
    const silentMs = this.#silentMs(askedAt)
    const renewal = db.transaction(async (tx) => {
      await setLimits(tx, this.#heartbeatMs)
      await writeHeartbeat(tx, { id, process, applied: applied() })
      const renewed = await shares.renew(tx, { nodeId: id, silentMs })
      if (renewed.isNews) announceNode(tx, id)
      return renewed
    })
    const renewed = await answerWithin(renewal, leaseMs / 2)
    renewed.enforce(askedAt + leaseMs)
    this.#live = renewed.nodes
    this.#steadySince ??= askedAt
    this.#renewedAt = askedAt
    return renewed.isSettled
  }

  /** A process that was killed on this machine is known to be dead before its lease has run out. */
  async #removeDeadNeighbours(): Promise<void> {
    const { db, process } = this.#options
    if (process.space === null) return
    for (const { id, pid, started } of await findNeighbours(db, process.space)) {
      if (isGone(pid, started)) await removeNode(db, id)
    }
  }

  #silentMs(now: number): number {
    const { leaseMs } = this.#options
    const isSteady = this.#steadySince !== undefined && now - this.#steadySince >= leaseMs / 2
    return isSteady ? leaseMs : Math.max(leaseMs, GONE_MS)
  }

  async #report(): Promise<void> {
    const { applied, db, id } = this.#options
    try {
      while (!this.#stopped && this.#reported !== applied()) {
        const version = applied()
        this.#reported = undefined
        await answerWithin(writeApplied(db, id, version), this.#heartbeatMs)
        this.#reported = version
      }
    } catch {
      // It is tried again after the next renewal, which tells of failures.
    } finally {
      this.#reporting = undefined
    }
  }
}

function noShare(nodes: number): LessorError {
  return new LessorError(
    'POOL_SATURATED',
    `No part of the data server's connections came free: ${nodes} nodes share SERVER_MAX_CONNECTIONS. ` +
      'Run fewer nodes, or raise it on all of them.',
  )
}
