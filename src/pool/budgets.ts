import type { PoolLimits } from './contract.ts'

/** Claimant is a pool that wants one more connection. */
export interface Claimant {
  readonly tenantId: string
  readonly server: string
  readonly maxConnections: number
  /** grow is called when a connection that was refused may be had now. */
  grow(): void
}

/** Shortage is the limit that a claim has run into: whose connections have to become fewer. */
export type Shortage = { readonly tenantId: string } | { readonly server: string }

interface Account {
  /** Connections opening, open or closing: all that the server may still count. */
  used: number
  closing: number
  /** Pools that were refused one. */
  claims: number
}

/**
 * Budgets counts connections before they are made, so that no limit is ever passed: per tenant
 * over all generations, per data server over all tenants, and those being opened at once. A
 * connection counts until its socket is closed.
 */
export class Budgets {
  readonly #limits: Pick<PoolLimits, 'serverMaxConnections' | 'maxOpening'>
  readonly #makeRoom: (shortage: Shortage) => void
  readonly #tenants = new Map<string, Account>()
  readonly #servers = new Map<string, Account>()
  /** Pools that were refused, in order. Only `#claim` adds, only `withdraw` removes. */
  readonly #claims = new Set<Claimant>()
  #opening = 0

  /** `makeRoom` is asked to close a connection where there is a shortage; it may do nothing. */
  constructor(
    limits: Pick<PoolLimits, 'serverMaxConnections' | 'maxOpening'>,
    makeRoom: (shortage: Shortage) => void,
  ) {
    this.#limits = limits
    this.#makeRoom = makeRoom
  }

  used(server: string): number {
    return this.#servers.get(server)?.used ?? 0
  }

  /** take counts one connection that is about to be opened, or remembers the claim and returns false. */
  take(claimant: Claimant): boolean {
    if (!this.canTake(claimant)) {
      this.#claim(claimant)
      this.relieve(claimant)
      return false
    }
    account(this.#tenants, claimant.tenantId).used += 1
    account(this.#servers, claimant.server).used += 1
    this.#opening += 1
    return true
  }

  /** canTake says whether `take` would succeed now. */
  canTake(claimant: Claimant): boolean {
    return (
      this.#opening < this.#limits.maxOpening &&
      !this.#isServerFull(claimant.server) &&
      !this.#isTenantFull(claimant)
    )
  }

  /** opened says that a connection taken has left the opening phase, well or badly. */
  opened(): void {
    this.#opening -= 1
    this.#serve()
  }

  /** closing says that a connection is being closed, so that no further room is made for its place. */
  closing(claimant: Claimant): void {
    account(this.#tenants, claimant.tenantId).closing += 1
    account(this.#servers, claimant.server).closing += 1
  }

  /** closed gives a connection back. `wasClosing` when `closing` was called for it. */
  closed(claimant: Claimant, wasClosing: boolean): void {
    give(this.#tenants, claimant.tenantId, wasClosing)
    give(this.#servers, claimant.server, wasClosing)
    this.#serve()
  }

  /** withdraw forgets a claim: the pool wants no more, or is gone. */
  withdraw(claimant: Claimant): void {
    if (this.#claims.size > 0 && this.#claims.delete(claimant)) {
      unclaim(this.#tenants, claimant.tenantId)
      unclaim(this.#servers, claimant.server)
    }
  }

  /**
   * relieve asks for room where this pool's limits keep others, or itself, waiting; called as well
   * when a connection of the pool has nothing to do.
   */
  relieve(pool: Claimant): void {
    if (this.#claims.size === 0) return
    if (isShort(this.#tenants.get(pool.tenantId)) && this.#isTenantFull(pool)) {
      this.#makeRoom({ tenantId: pool.tenantId })
    } else if (isShort(this.#servers.get(pool.server)) && this.#isServerFull(pool.server)) {
      this.#makeRoom({ server: pool.server })
    }
  }

  #serve(): void {
    for (const claimant of this.#claims) {
      if (this.#opening >= this.#limits.maxOpening) return
      if (!this.canTake(claimant)) continue
      this.withdraw(claimant)
      claimant.grow()
    }
  }

  #isServerFull(server: string): boolean {
    return this.used(server) >= this.#limits.serverMaxConnections
  }

  #isTenantFull({ tenantId, maxConnections }: Claimant): boolean {
    return (this.#tenants.get(tenantId)?.used ?? 0) >= maxConnections
  }

  #claim(claimant: Claimant): void {
    if (this.#claims.has(claimant)) return
    this.#claims.add(claimant)
    account(this.#tenants, claimant.tenantId).claims += 1
    account(this.#servers, claimant.server).claims += 1
  }
}

/** More pools wait than connections are on their way out. */
function isShort(found: Account | undefined): boolean {
  return found !== undefined && found.claims > found.closing
}

function account(accounts: Map<string, Account>, name: string): Account {
  let found = accounts.get(name)
  if (found === undefined) {
    found = { used: 0, closing: 0, claims: 0 }
    accounts.set(name, found)
  }
  return found
}

function give(accounts: Map<string, Account>, name: string, wasClosing: boolean): void {
  const found = accounts.get(name)
  if (found === undefined || found.used === 0) throw new Error('bug: a connection was given back twice')
  found.used -= 1
  if (wasClosing) found.closing -= 1
  dropEmpty(accounts, name, found)
}

function unclaim(accounts: Map<string, Account>, name: string): void {
  const found = accounts.get(name)
  if (found === undefined || found.claims === 0) throw new Error('bug: a claim was withdrawn twice')
  found.claims -= 1
  dropEmpty(accounts, name, found)
}

function dropEmpty(accounts: Map<string, Account>, name: string, found: Account): void {
  if (found.used === 0 && found.claims === 0) accounts.delete(name)
}
