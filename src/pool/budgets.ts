import { type Account, Accounts, isShort, newAccount } from './accounts.ts'
import { type Claimant, Claims } from './claims.ts'
import type { PoolLimits, Usage } from './contract.ts'
import { mayTakeFrom, type Sharer } from './fair-share.ts'
import type { Need, Shortage } from './need.ts'

export interface BudgetsOptions {
  readonly limits: Pick<PoolLimits, 'processMaxConnections' | 'maxOpening'>
  /** This process's part of a data server's connections; asked at each decision. */
  readonly serverLimit: (server: string) => number
  /** isWary says whether a data server has failed of late, so that few connections are tried there at once. */
  readonly isWary: (server: string) => boolean
  /** isPausing says whether nothing is to be opened at a data server now, as while it is full of others' connections. */
  readonly isPausing: (server: string) => boolean
  /** makeRoom is asked to close an idle connection where there is a shortage; false when there is none. */
  readonly makeRoom: (need: Need) => boolean
}

/**
 * Budgets counts connections before they are made, so that no limit is ever passed: per tenant over
 * all generations, per data server and for the process over all tenants, and those being opened at
 * once. A connection counts until its socket is closed.
 *
 * Who was refused has a claim. Claims are served by need: first whose tenant has least for its weight,
 * among equals who claimed first. Where all is spent, an idle connection makes room; where none is
 * idle, a pool that has more than its part gives one up between two statements (`mustYield`).
 */
export class Budgets {
  readonly #options: BudgetsOptions
  readonly #tenants = new Accounts({ keep: false })
  readonly #servers = new Accounts({ keep: true })
  readonly #process: Account = newAccount()
  /** Only `#claim` adds, only `withdraw` removes. */
  readonly #claims = new Claims((claimant) => this.#sharer(claimant))
  #peakOpening = 0
  #serving = false
  /** Whose claim is being served: the next connection is its. */
  #turn: Claimant | undefined

  constructor(options: BudgetsOptions) {
    this.#options = options
  }

  get servers(): Iterable<string> {
    return this.#servers.names
  }

  get claims(): Iterable<Claimant> {
    return this.#claims
  }

  used(server: string): number {
    return this.#servers.find(server)?.used ?? 0
  }

  /** server is one data server's account with its limit. */
  server(name: string): Account & Usage {
    return { ...this.#servers.of(name), limit: this.#options.serverLimit(name) }
  }

  get process(): Usage {
    const { used, peak } = this.#process
    return { used, peak, limit: this.#options.limits.processMaxConnections }
  }

  get opening(): Usage {
    return {
      used: this.#process.opening,
      peak: this.#peakOpening,
      limit: this.#options.limits.maxOpening,
    }
  }

  /** take counts one connection that is about to be opened, or remembers the claim and returns false. */
  take(claimant: Claimant): boolean {
    const isTurn = this.#turn === claimant
    this.#turn = undefined
    if (this.#claims.size > 0 && !isTurn && !this.#claims.isNext(claimant, (other) => this.canTake(other))) {
      this.#claim(claimant)
      this.serve()
      return false
    }
    if (!this.canTake(claimant)) {
      this.#claim(claimant)
      this.relieve(claimant)
      return false
    }
    for (const account of this.#accountsOf(claimant)) {
      account.used += 1
      account.opening += 1
      account.peak = Math.max(account.peak, account.used)
    }
    this.#peakOpening = Math.max(this.#peakOpening, this.#process.opening)
    return true
  }

  /** canTake says whether there is room for one more, whoever else waits for it. */
  canTake(claimant: Claimant): boolean {
    return (
      this.#mayOpen(claimant.server) &&
      this.#shortageOf(claimant) === undefined &&
      !this.#isTenantFull(claimant)
    )
  }

  /** opened says that a connection taken has left the opening phase, well or badly. */
  opened(claimant: Claimant): void {
    for (const account of this.#accountsOf(claimant)) account.opening -= 1
    this.serve()
  }

  /** closing says that a connection is on its way out, so that no further room is made for its place. */
  closing(claimant: Claimant): void {
    for (const account of this.#accountsOf(claimant)) account.closing += 1
  }

  /** closed gives a connection back. `wasClosing` when `closing` was called for it. */
  closed(claimant: Claimant, wasClosing: boolean): void {
    for (const account of this.#accountsOf(claimant)) {
      if (account.used === 0) throw new Error('bug: a connection was given back twice')
      account.used -= 1
      if (wasClosing) account.closing -= 1
    }
    this.#tenants.tidy(claimant.tenantId)
    this.serve()
  }

  /** withdraw forgets a claim: the pool wants no more, or is gone. */
  withdraw(claimant: Claimant): void {
    if (!this.#claims.remove(claimant)) return
    for (const account of this.#accountsOf(claimant)) account.claims -= 1
    this.#tenants.tidy(claimant.tenantId)
  }

  /**
   * relieve asks for room where this pool's limits keep others, or itself, waiting; called as well
   * when a connection of the pool has nothing to do.
   */
  relieve(pool: Claimant): void {
    const excess = this.#excess(pool.server)
    if (excess !== undefined) this.#options.makeRoom({ shortage: excess, hasNone: true })
    if (this.#claims.size === 0) return
    const tenant = this.#tenants.find(pool.tenantId)
    if (tenant !== undefined && isShort(tenant) && this.#isTenantFull(pool)) {
      this.#options.makeRoom({ shortage: { tenantId: pool.tenantId }, hasNone: true })
      return
    }
    const shortage = this.#shortageOf(pool)
    if (shortage === undefined || !isShort(this.#accountOf(shortage))) return
    const [neediest] = this.#claims.neediest(shortage)
    const hasNone = neediest !== undefined && this.#sharer(neediest).used === 0
    this.#options.makeRoom({ shortage, hasNone })
  }

  /**
   * mustYield says whether a pool has to give up a connection before it serves its own callers: the
   * limit went down, or another tenant that waits has less than its part. `isOver` tells that the pool
   * has had its only connection for its time, so that it may go to whoever has none. Asked at the end
   * of every statement of a pool whose callers wait, so it looks at the two neediest claims only.
   */
  mustYield(pool: Claimant, isOver: () => boolean): boolean {
    if (this.#excess(pool.server) !== undefined) return true
    if (this.#claims.size === 0) return false
    if (this.#isWantedByItsTenant(pool) && isOver()) return true
    const shortage = this.#shortageOf(pool)
    if (shortage === undefined || !isShort(this.#accountOf(shortage))) return false
    const rich = this.#sharer(pool)
    const claimant = this.#claims.neediest(shortage).find(({ tenantId }) => tenantId !== pool.tenantId)
    if (claimant === undefined) return false
    const poor = this.#sharer(claimant)
    return mayTakeFrom(rich, poor) || (poor.used === 0 && rich.used === 1 && isOver())
  }

  /** Whether another pool of the tenant, or a reservation, waits, and there is no more for it but what this pool has. */
  #isWantedByItsTenant(pool: Claimant): boolean {
    const tenant = this.#tenants.find(pool.tenantId)
    if (tenant === undefined || !isShort(tenant)) return false
    if (this.#isTenantFull(pool)) return this.#claims.hasAnother(pool)
    const shortage = this.#shortageOf(pool)
    if (shortage === undefined) return false
    return this.#claims.hasAnother(pool, shortage === 'process' ? undefined : shortage.server)
  }

  /** serve lets those grow who were refused, as far as there is room now. */
  serve(): void {
    // Growing ends here again when it has to wait for its turn; the loop that runs already goes on.
    if (this.#serving || this.#claims.size === 0 || this.#isSpent()) return
    this.#serving = true
    try {
      // Whoever grows and wants more claims anew. What is left after so many turns is served by the next event.
      for (let turns = 2 * this.#claims.size; turns > 0; turns--) {
        const next = this.#claims.neediestOf((claimant) => this.canTake(claimant))
        if (next === undefined) return
        this.withdraw(next)
        this.#turn = next
        next.grow()
      }
    } finally {
      this.#turn = undefined
      this.#serving = false
    }
  }

  /** tick looks for room again for those who wait: what was about to be used may not have been. */
  tick(): void {
    const looked = new Set<string>()
    for (const claimant of this.#claims) {
      // Where the server is short, one look is enough for all who wait for it.
      if (looked.has(claimant.server) && !this.#isTenantFull(claimant)) continue
      looked.add(claimant.server)
      this.relieve(claimant)
    }
    this.serve()
  }

  /** rebalance makes room where a limit went down, and serves who waits where one went up. */
  rebalance(): void {
    for (const server of this.#servers.names) {
      for (let excess = this.#excess(server); excess !== undefined; excess = this.#excess(server)) {
        if (!this.#options.makeRoom({ shortage: excess, hasNone: true })) break
      }
    }
    this.serve()
  }

  #sharer({ tenantId, weight }: Claimant): Sharer {
    const account = this.#tenants.find(tenantId)
    return { used: account === undefined ? 0 : account.used - account.closing, weight }
  }

  /** What this process has above a limit that went down. */
  #excess(server: string): Shortage | undefined {
    const account = this.#servers.find(server)
    if (account === undefined) return undefined
    return account.used - account.closing > this.#options.serverLimit(server) ? { server } : undefined
  }

  /** Whether nobody can be served, whoever it is: most often so where many wait. */
  #isSpent(): boolean {
    const { limits, serverLimit } = this.#options
    if (this.#process.used >= limits.processMaxConnections) return true
    for (const server of this.#servers.names) if (this.used(server) < serverLimit(server)) return false
    return true
  }

  #shortageOf({ server }: Claimant): Exclude<Shortage, { readonly tenantId: string }> | undefined {
    if (this.used(server) >= this.#options.serverLimit(server)) return { server }
    return this.#process.used >= this.#options.limits.processMaxConnections ? 'process' : undefined
  }

  #accountOf(shortage: Exclude<Shortage, { readonly tenantId: string }>): Account {
    return shortage === 'process' ? this.#process : this.#servers.of(shortage.server)
  }

  /** A server that hangs must not hold all openings: it gets half of them, and one once it has failed. */
  #mayOpen(server: string): boolean {
    const { limits, isPausing, isWary } = this.#options
    if (this.#process.opening >= limits.maxOpening || isPausing(server)) return false
    const opening = this.#servers.find(server)?.opening ?? 0
    if (opening > 0 && isWary(server)) return false
    return this.#servers.size < 2 || opening < Math.ceil(limits.maxOpening / 2)
  }

  #isTenantFull({ tenantId, maxConnections }: Claimant): boolean {
    return (this.#tenants.find(tenantId)?.used ?? 0) >= maxConnections
  }

  #claim(claimant: Claimant): void {
    if (!this.#claims.add(claimant)) return
    for (const account of this.#accountsOf(claimant)) account.claims += 1
  }

  /** The accounts of a claimant, to be changed. */
  #accountsOf({ tenantId, server }: Claimant): readonly Account[] {
    this.#claims.changed()
    return [this.#tenants.of(tenantId), this.#servers.of(server), this.#process]
  }
}
