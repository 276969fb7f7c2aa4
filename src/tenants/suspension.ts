import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ChangeLog } from '../control/changes.ts'
import type { ControlDb } from '../control/control-database.ts'
import { isLessorError, LessorError } from '../errors.ts'
import { loginsOf } from '../placement/all-logins.ts'
import { closeLogin, endSessions, keepOut, openLogin } from '../placement/tenant-logins.ts'
import { loginName } from '../placement/tenant-names.ts'
import type { Pools } from '../pool/contract.ts'
import { errorCode } from '../pool/driver-errors.ts'
import type { Db } from '../pool/statement.ts'
import type { DataServers } from '../servers/data-servers.ts'
import { byServer, type Outcome } from './by-server.ts'
import type { Jobs } from './jobs.ts'
import {
  failSettlement,
  findWanted,
  insertSettlement,
  removeSettlement,
  type Settlement,
  takeSettlements,
  type Wanted,
} from './login-settlement-store.ts'
import type { Tenant } from './tenant.ts'
import type { TenantDirectory } from './tenant-directory.ts'
import { MOVES, type MoveName, statusConflict } from './tenant-status.ts'
import { findTenant, moveTenant } from './tenant-store.ts'

export interface SuspensionOptions {
  readonly db: ControlDb
  readonly servers: Pick<DataServers, 'admin' | 'ping'>
  readonly pools: Pick<Pools, 'evict'>
  readonly directory: Pick<TenantDirectory, 'forget'>
  readonly changes: Pick<ChangeLog, 'publish' | 'settled'>
  readonly jobs: Jobs
  /** How long a line is left alone by other processes while this one works on it. */
  readonly jobClaimMs: number
  /** How long requests under way may go on after a suspension; 3 s by default. */
  readonly graceMs?: number
  /** Hears that a tenant's logins are not yet as they are to be, and why; must not throw. */
  readonly onUnsettled: (settlement: Settlement, error: unknown) => void
}

const GRACE_MS = 3_000
/** How long a caller waits for a data server. */
const PATIENCE_MS = 8_000
const FIRST_RETRY_MS = 5_000
const LONGEST_RETRY_MS = 60_000
/** Lines that one run takes. */
const LIMIT = 100

/**
 * Suspension is the end of a tenant's access, and its return. The status in the control database decides; the logins on
 * the data server follow it: those of a suspended tenant, its own, its visitors' and its migrators', cannot log in and
 * have no session; visits are over for good. A line in the control database says so until it is done, whatever becomes of this process: each
 * suspension and resumption has its own, and takes it back only after it has seen that the status is still the one
 * that it went by.
 */
export class Suspension {
  readonly #options: SuspensionOptions

  constructor(options: SuspensionOptions) {
    this.#options = options
  }

  /**
   * suspend refuses the tenant's requests from now on; those under way, and all sessions of its logins, have ended
   * when it resolves, unless the tenant says that its logins are unsettled.
   * @throws LessorError TENANT_NOT_FOUND, TENANT_STATUS_CONFLICT, CONTROL_UNAVAILABLE
   */
  async suspend(id: string): Promise<Tenant> {
    const { changes, db, pools } = this.#options
    const { settlement, version } = await db.transaction(async (tx) => {
      const hasMoved = await moveTenant(tx, id, 'suspend')
      const line = await this.request(tx, id)
      const told = hasMoved ? await changes.publish(tx, { kind: 'status', tenantId: id }) : undefined
      return { settlement: line, version: told }
    })
    await this.#require(id, 'suspend', 'suspended', settlement)
    const evicted = pools.evict(id, 'suspension')
    if (settlement) {
      await this.#inTime(PATIENCE_MS, () => this.#attempt(settlement, () => this.#grace(evicted, version)))
    }
    return this.#get(id)
  }

  /**
   * resume ends a suspension. The logins are opened before requests come in, where the data server can be reached; one
   * that the watchdog has blocked stays closed.
   * @throws LessorError TENANT_NOT_FOUND, TENANT_STATUS_CONFLICT, CONTROL_UNAVAILABLE
   */
  async resume(id: string): Promise<Tenant> {
    const { changes, db } = this.#options
    const requested = await this.request(db, id)
    let failure: unknown
    const wanted = await findWanted(db, id)
    if (requested && wanted) {
      await this.#inTime(PATIENCE_MS / 2, async () => {
        await this.#apply(id, { ...wanted, status: 'active' }).catch((error: unknown) => {
          failure = error
        })
      })
    }
    const settlement = await db.transaction(async (tx) => {
      if (!(await moveTenant(tx, id, 'resume'))) return requested
      await changes.publish(tx, { kind: 'status', tenantId: id })
      // A suspension came in between: until now there was nothing to open.
      return requested ?? (await this.request(tx, id, 'active'))
    })
    await this.#require(id, 'resume', 'resumed', settlement)
    if (settlement && failure !== undefined) await this.#fail(settlement, failure)
    else if (settlement) await this.#inTime(PATIENCE_MS / 2, () => this.#attempt(settlement))
    return this.#get(id)
  }

  /**
   * request writes down that the logins of a tenant, when it has this status, are to follow it; undefined when it has
   * another.
   */
  request(
    db: Db,
    tenantId: string,
    status: 'active' | 'suspended' = 'suspended',
  ): Promise<Settlement | undefined> {
    const { jobClaimMs } = this.#options
    return insertSettlement(db, { id: randomUUID(), tenantId, status, claimMs: jobClaimMs })
  }

  /** settle makes a tenant's logins what they are to be, and leaves that to a later run where it fails. Never rejects. */
  async settle(settlement: Settlement): Promise<void> {
    await this.#attempt(settlement)
  }

  /** settleAll does so with all that was left. @throws LessorError CONTROL_UNAVAILABLE */
  async settleAll(): Promise<void> {
    const { db, jobClaimMs, servers } = this.#options
    const due = await takeSettlements(db, { claimMs: jobClaimMs, limit: LIMIT })
    // Where a server cannot be reached, the turn of what is left comes when the claims have run out.
    await byServer(due, servers, (line) => this.#attempt(line))
  }

  async #attempt(settlement: Settlement, grace?: () => Promise<void>): Promise<Outcome> {
    try {
      await this.#options.jobs.persist(() => this.#settle(settlement, grace))
      return 'done'
    } catch (error) {
      await this.#fail(settlement, error)
      return isLessorError(error, 'SERVER_UNAVAILABLE') ? 'unreachable' : 'failed'
    }
  }

  async #settle({ attempts, id, tenantId }: Settlement, grace?: () => Promise<void>): Promise<void> {
    const { changes, db } = this.#options
    for (let wanted = await findWanted(db, tenantId); wanted !== undefined; ) {
      await this.#apply(tenantId, wanted, grace)
      if (await removeSettlement(db, id, wanted)) {
        // Pools may have failed to open meanwhile, and pause.
        if (attempts > 0) await db.transaction((tx) => changes.publish(tx, { kind: 'status', tenantId }))
        return
      }
      const before: Wanted = wanted
      wanted = await findWanted(db, tenantId)
      if (wanted && isSame(before, wanted)) return
    }
  }

  async #apply(tenantId: string, wanted: Wanted, grace?: () => Promise<void>): Promise<void> {
    const { colour, isBlocked, placement, server, status, visitors } = wanted
    // A deletion closes and drops them by itself.
    if (status !== 'active' && status !== 'suspended') return
    if (placement === 'row' && visitors.length === 0) return
    const admin = await this.#options.servers.admin(server)
    if (status === 'suspended') {
      const names = await loginsOf(admin, tenantId)
      for (const name of names) await keepOut(admin, name)
      await grace?.()
      for (const name of names) await endSessions(admin, name)
      return
    }
    if (isBlocked) await closeLogin(admin, loginName(tenantId, colour))
    else await openLogin(admin, loginName(tenantId, colour))
  }

  /** Until all processes have let go of the tenant, or the time for that is over. Never rejects. */
  async #grace(evicted: Promise<unknown>, version: bigint | undefined): Promise<void> {
    const { changes, graceMs = GRACE_MS, jobs } = this.#options
    const signal = AbortSignal.any([AbortSignal.timeout(graceMs), jobs.signal])
    const over = sleep(graceMs, undefined, { signal: jobs.signal, ref: false })
    const elsewhere = version === undefined ? undefined : changes.settled(version, signal)
    await Promise.race([over, Promise.all([evicted, elsewhere])]).catch(() => {})
  }

  /** Waits for work for as long as a caller may wait; it goes on, and `close` waits for it. Never rejects. */
  async #inTime(patienceMs: number, work: () => Promise<unknown>): Promise<void> {
    const over = new AbortController()
    const working = this.#options.jobs.track(work).catch((error: unknown) => {
      // What is written down is done by another process.
      if (!isLessorError(error, 'SHUTTING_DOWN')) throw error
    })
    const late = sleep(patienceMs, undefined, { signal: over.signal, ref: false }).catch(() => {})
    await Promise.race([working, late]).finally(() => over.abort())
  }

  /** Never rejects: the line's time comes by itself. */
  async #fail(settlement: Settlement, failure: unknown): Promise<void> {
    const { db, onUnsettled } = this.#options
    onUnsettled(settlement, failure)
    const retryMs = Math.min(FIRST_RETRY_MS * 2 ** settlement.attempts, LONGEST_RETRY_MS)
    const error = errorCode(failure) ?? 'INTERNAL'
    await failSettlement(db, settlement.id, { error, retryMs }).catch((again: unknown) =>
      onUnsettled(settlement, again),
    )
  }

  /** What came between has another status, which the logins follow then. */
  async #require(id: string, move: MoveName, action: string, settlement?: Settlement): Promise<void> {
    this.#options.directory.forget(id)
    const { status } = await this.#get(id)
    if (status === MOVES[move].to) return
    if (settlement) await this.#attempt(settlement)
    throw statusConflict(status, action)
  }

  async #get(id: string): Promise<Tenant> {
    const tenant = await findTenant(this.#options.db, id)
    if (tenant === undefined) throw new LessorError('TENANT_NOT_FOUND')
    return tenant
  }
}

function isSame(a: Wanted, b: Wanted): boolean {
  return a.status === b.status && a.colour === b.colour && a.isBlocked === b.isBlocked
}
