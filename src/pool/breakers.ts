import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.ts'
import { LessorError } from '../errors.ts'
import { Breaker, type BreakerOptions, CLOSED } from './breaker.ts'
import type { BreakerSnapshot, PoolGauges, PoolLimits } from './contract.ts'
import type { MutableCounters } from './counters.ts'
import { failureOf } from './driver-errors.ts'

/** Tenants whose failures are remembered; the one that failed longest ago is forgotten first. */
const REMEMBERED = 10_000
/** Tenants in a row, each another one, that must fail before their data server is given a pause. */
const SERVER_THRESHOLD = 3

interface ServerRecord {
  readonly breaker: Breaker
  /** Who failed since the last success. */
  readonly tenants: Set<string>
}

export interface BreakersOptions {
  readonly clock: Clock
  readonly limits: Pick<PoolLimits, 'breakerBaseMs' | 'breakerMaxMs'>
  readonly counters: MutableCounters
  readonly random: () => number
}

/**
 * Breakers remember what failed to open, for tenants and for data servers, and outlive entries. A
 * tenant's first failure gives it a pause; a data server gets one when several tenants fail there in a
 * row for a reason that lies with the server, so that a single tenant cannot close it to others.
 * Whatever is not there is closed.
 */
export class Breakers {
  readonly #clock: Clock
  readonly #counters: MutableCounters
  readonly #tenantOptions: BreakerOptions
  readonly #serverOptions: BreakerOptions
  readonly #tenants = new LRUCache<string, Breaker>({ max: REMEMBERED })
  /** Where tenants are, so that those of a server that is down need not be located to be refused. */
  readonly #homes = new LRUCache<string, string>({ max: REMEMBERED })
  readonly #servers = new Map<string, ServerRecord>()

  constructor({ clock, limits, counters, random }: BreakersOptions) {
    const options = { baseMs: limits.breakerBaseMs, maxMs: limits.breakerMaxMs, random }
    this.#clock = clock
    this.#counters = counters
    this.#tenantOptions = { ...options, threshold: 1 }
    this.#serverOptions = { ...options, threshold: SERVER_THRESHOLD }
  }

  /** waitMs is how long nothing may be opened for the tenant at the server; 0 when something may, be it a probe. */
  waitMs(tenantId: string, server: string): number {
    const now = this.#clock.now()
    return Math.max(this.#waitAtServer(server, now), this.#tenants.get(tenantId)?.waitMs(now) ?? 0)
  }

  /**
   * refusal is what a caller gets who wants something opened that may not be now; undefined when it
   * may. Without a server, the one where the tenant was last counts.
   */
  refusal(tenantId: string, server?: string): LessorError | undefined {
    const now = this.#clock.now()
    const where = server ?? this.#homes.get(tenantId)
    const atServer = where === undefined ? 0 : this.#waitAtServer(where, now)
    if (atServer > 0) {
      this.#counters.refusedByServer += 1
      return refused('SERVER_UNAVAILABLE', 'The data server', atServer)
    }
    const atTenant = this.#tenants.get(tenantId)?.waitMs(now) ?? 0
    if (atTenant > 0) {
      this.#counters.refusedByTenant += 1
      return refused('TENANT_UNAVAILABLE', "The tenant's database", atTenant)
    }
    return undefined
  }

  /** isAt remembers where a tenant is. */
  isAt(tenantId: string, server: string): void {
    this.#homes.set(tenantId, server)
  }

  /** enter says that something is being opened which `refusal` allowed; one of the next three must follow. */
  enter(tenantId: string, server: string): void {
    const now = this.#clock.now()
    this.#tenants.get(tenantId)?.enter(now)
    this.#servers.get(server)?.breaker.enter(now)
  }

  succeeded(tenantId: string, server: string): void {
    this.#tenants.delete(tenantId)
    this.#servers.delete(server)
  }

  /** abandoned says that an opening was given up, so that nobody knows how it would have ended. */
  abandoned(tenantId: string, server: string): void {
    this.#tenants.peek(tenantId)?.abandoned()
    this.#servers.get(server)?.breaker.abandoned()
  }

  /** failed counts a failure; `server` is undefined when it came before the server was known. */
  failed(tenantId: string, server: string | undefined, error: LessorError): void {
    const failure = failureOf(error)
    if (failure === undefined) {
      if (server !== undefined) this.abandoned(tenantId, server)
      return
    }
    const now = this.#clock.now()
    if (this.#tenant(tenantId).failed(failure.code, now)) this.#counters.openedForTenant += 1
    if (server === undefined) return
    if (failure.scope === 'tenant') {
      // It has answered, so it is well.
      this.#servers.delete(server)
      return
    }
    const at = this.#server(server)
    const isNew = !at.tenants.has(tenantId)
    at.tenants.add(tenantId)
    if ((isNew || at.breaker.state === 'half_open') && at.breaker.failed(failure.code, now)) {
      this.#counters.openedForServer += 1
    }
  }

  /** forgive forgets a tenant's failures. */
  forgive(tenantId: string): void {
    this.#tenants.delete(tenantId)
  }

  tenant(tenantId: string): BreakerSnapshot {
    return this.#tenants.peek(tenantId)?.snapshot() ?? CLOSED
  }

  server(server: string): BreakerSnapshot {
    return this.#servers.get(server)?.breaker.snapshot() ?? CLOSED
  }

  /** isWary says whether the data server has failed since it last worked. */
  isWary(server: string): boolean {
    return (this.#servers.get(server)?.breaker.failures ?? 0) > 0
  }

  /** gauges counts those that refuse somebody now; one whose pause is over may never be tried again. */
  gauges(): PoolGauges['breakers'] {
    const now = this.#clock.now()
    const count = (breakers: Iterable<Breaker>) => {
      const counts = { open: 0, half_open: 0 }
      for (const breaker of breakers) {
        if (breaker.state !== 'closed' && breaker.waitMs(now) > 0) counts[breaker.state] += 1
      }
      return counts
    }
    return {
      tenant: count(this.#tenants.values()),
      server: count([...this.#servers.values()].map(({ breaker }) => breaker)),
    }
  }

  #waitAtServer(server: string, now: number): number {
    return this.#servers.get(server)?.breaker.waitMs(now) ?? 0
  }

  #tenant(tenantId: string): Breaker {
    let found = this.#tenants.get(tenantId)
    if (found === undefined) {
      found = new Breaker(this.#tenantOptions)
      this.#tenants.set(tenantId, found)
    }
    return found
  }

  #server(server: string): ServerRecord {
    let found = this.#servers.get(server)
    if (found === undefined) {
      found = { breaker: new Breaker(this.#serverOptions), tenants: new Set() }
      this.#servers.set(server, found)
    }
    return found
  }
}

function refused(code: 'SERVER_UNAVAILABLE' | 'TENANT_UNAVAILABLE', what: string, ms: number): LessorError {
  const seconds = Math.max(1, Math.ceil(ms / 1000))
  return new LessorError(code, `${what} failed of late; it is tried again in ${seconds} s at the latest.`, {
    retryAfterSeconds: seconds,
  })
}
