import { LessorError } from '../errors.ts'
import { parseTenantId } from '../tenants/tenant.ts'
import type { Claimant } from './claims.ts'
import { ConnectionPool } from './connection-pool.ts'
import { type Caller, type ConnectionTarget, hostsOf, type Rows, sharedHolder } from './contract.ts'
import type { Engine } from './engine.ts'
import type { SharedTenant } from './member.ts'
import type { Member, Slot, SlotOwner } from './slot.ts'
import type { Statement } from './statement.ts'
import type { TenantPool, Work } from './tenant-pool.ts'

/** Shared is a pool with those who share it; the last one who leaves closes it. */
interface Shared {
  readonly pool: ConnectionPool
  readonly shares: Set<Share>
  readonly tenants: Map<string, CountedTenant>
}

interface CountedTenant extends SharedTenant<Slot> {
  /** Shares of it: more than one while an older generation drains. */
  shares: number
}

/**
 * SharedPools is the pools that the tenants of the placement `row` share, one for each login and address. Every
 * tenant keeps its own entry, leases, limits and place in the line; only the connections are common.
 */
export class SharedPools {
  readonly #engine: Engine
  readonly #pools = new Map<string, Shared>()

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /**
   * join gives a tenant its part of the pool of this login. `locate` reads the tenant's target again.
   * @throws TypeError when the tenant's id is no UUID, since nothing could be bound to it
   */
  join(tenantId: string, target: ConnectionTarget, locate: () => Promise<ConnectionTarget>): TenantPool {
    const binding = parseTenantId(tenantId)
    if (binding === undefined) throw new TypeError('"tenantId" must be a UUID')
    const { server, user, database, tls, rootCertificates } = target
    const key = JSON.stringify([server, user, hostsOf(target), database, tls, rootCertificates?.text])
    const shared = this.#pools.get(key) ?? this.#make(key, target)
    const tenant = shared.tenants.get(binding) ?? { binding, slots: new Map<Slot, number>(), shares: 0 }
    shared.tenants.set(binding, tenant)
    tenant.shares += 1
    const member = shared.pool.member(target, tenant)
    const share = new Share(shared.pool, member, locate, () => {
      tenant.shares -= 1
      if (tenant.shares === 0) shared.tenants.delete(binding)
      return this.#left(key, shared, share)
    })
    shared.shares.add(share)
    return share
  }

  #make(key: string, target: ConnectionTarget): Shared {
    const shares = new Set<Share>()
    const pool = new ConnectionPool(this.#engine, sharedHolder(target.server), {
      target,
      // Any of those who are there will do: the login is the same.
      locate: () => {
        const [first] = shares
        return first === undefined ? Promise.resolve(target) : first.locate()
      },
      // Entries stay: whoever waited has heard of it, and the breakers look after the next ones.
      onFailure() {},
    })
    const shared = { pool, shares, tenants: new Map<string, CountedTenant>() }
    this.#pools.set(key, shared)
    return shared
  }

  /** Resolves when nothing is left that has to be waited for. */
  async #left(key: string, shared: Shared, share: Share): Promise<void> {
    shared.shares.delete(share)
    if (shared.shares.size > 0) return
    if (this.#pools.get(key) === shared) this.#pools.delete(key)
    shared.pool.cut(left())
    await shared.pool.drained
  }
}

/** Share is one tenant's part of a shared pool. */
class Share implements TenantPool {
  readonly locate: () => Promise<ConnectionTarget>
  readonly drained: Promise<void>
  readonly #pool: ConnectionPool
  readonly #member: Member
  #leave: (() => Promise<void>) | undefined
  #ended: LessorError | undefined
  #resolveDrained: (left: Promise<void>) => void = () => {}

  constructor(
    pool: ConnectionPool,
    member: Member,
    locate: () => Promise<ConnectionTarget>,
    leave: () => Promise<void>,
  ) {
    this.#pool = pool
    this.#member = member
    this.locate = locate
    this.#leave = leave
    this.drained = new Promise((resolve) => {
      this.#resolveDrained = resolve
    })
  }

  get server(): string {
    return this.#pool.server
  }

  get weight(): number {
    return this.#member.weight
  }

  get counts() {
    const busy = this.#member.slots.size
    return { opening: 0, idle: 0, busy, closing: 0, waiting: this.#member.queue.size }
  }

  get open(): number {
    return this.#member.slots.size
  }

  get claimant(): Claimant & SlotOwner {
    return this.#pool
  }

  async ready(): Promise<void> {
    if (!this.#pool.isOpen) await this.#pool.ready(this.#member)
  }

  run(statement: Statement, caller: Caller | undefined): Promise<Rows> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    return this.#pool.run(statement, caller, this.#member)
  }

  hold(caller: Caller | undefined): Promise<Slot> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    return this.#pool.hold(caller, this.#member)
  }

  runHeld(slot: Slot, work: Work, caller: Caller | undefined): Promise<Rows> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    return this.#pool.runHeld(slot, work, caller)
  }

  release(slot: Slot, state: 'clean' | 'unknown'): void {
    this.#pool.release(slot, state)
  }

  drain(leases: number): void {
    if (leases > 0 || this.#leave === undefined) return
    const leave = this.#leave
    this.#leave = undefined
    this.#member.whenIdle(() => this.#resolveDrained(leave()))
  }

  cut(error: LessorError): { readonly statements: number; readonly waiters: number } {
    if (this.#ended !== undefined) return { statements: 0, waiters: 0 }
    this.#ended = error
    const cut = this.#pool.cutMember(this.#member, error)
    this.drain(0)
    return cut
  }

  destroy(error: LessorError): void {
    this.cut(error)
    // Connections that it shares with others end their statements; its own transactions are dropped.
    for (const slot of this.#member.slots.keys()) if (slot.isOpen) slot.connection.destroy()
  }
}

function left(): LessorError {
  return new LessorError('POOL_OPEN_FAILED', 'The shared pool was closed, since its last tenant has left it.')
}
