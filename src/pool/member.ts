import type { WaitQueue } from './waiting-room.ts'

/** Want is what a waiter is served with: `statement` may share a connection, the others may not. */
export interface Want<Slot> {
  readonly kind: 'statement' | 'transaction' | 'open'
  readonly serve: (slot: Slot) => void
}

export interface MemberOptions<Slot> {
  readonly queue: WaitQueue<Want<Slot>>
  readonly maxConnections: number
  readonly weight: number
  /** Where the pool is shared: whom its work is bound to, and what the tenant uses over all generations. */
  readonly tenant?: SharedTenant<Slot>
}

/** SlotUse is how often each connection is in use. */
type SlotUse<Slot> = Map<Slot, number>

/** SharedTenant is a tenant in a pool that tenants share, over all generations of its entry. */
export interface SharedTenant<Slot> {
  /** Canonical UUID. */
  readonly binding: string
  readonly slots: SlotUse<Slot>
}

/**
 * Member is one entry's standing in a pool: its callers that wait, and what it uses. A tenant's own
 * pool has one; a pool that tenants share has one for each entry.
 */
export class Member<Slot> {
  readonly queue: WaitQueue<Want<Slot>>
  /** Connections that it may use at once. */
  readonly maxConnections: number
  readonly weight: number
  /** Undefined in a tenant's own pool. */
  readonly #tenant: SharedTenant<Slot> | undefined
  /** The connections that it uses now; followed in shared pools alone. */
  readonly slots: SlotUse<Slot> = new Map()
  /** Its virtual time, see Line; only Line changes it. */
  pass = 0
  isInLine = false
  #onIdle: (() => void) | undefined

  constructor({ queue, maxConnections, weight, tenant }: MemberOptions<Slot>) {
    this.queue = queue
    this.maxConnections = maxConnections
    this.weight = weight
    this.#tenant = tenant
  }

  /** The tenant that every unit of work on a shared connection is bound to; undefined in a tenant's own pool. */
  get binding(): string | undefined {
    return this.#tenant?.binding
  }

  /** The connections that the tenant may use further work on, when it may use no more. */
  get reach(): Iterable<Slot> {
    return this.#tenant?.slots.keys() ?? []
  }

  /** Connections that the tenant may use beyond those it is on. */
  get room(): number {
    return Math.max(0, this.maxConnections - (this.#tenant?.slots.size ?? 0))
  }

  enter(slot: Slot): void {
    if (this.#tenant === undefined) return
    add(this.slots, slot)
    add(this.#tenant.slots, slot)
  }

  leave(slot: Slot): void {
    if (this.#tenant === undefined) return
    remove(this.slots, slot)
    remove(this.#tenant.slots, slot)
    if (this.slots.size === 0) this.#onIdle?.()
  }

  /** whenIdle calls `then` as soon as it uses no connection: now, or when the last unit of work has ended. */
  whenIdle(then: () => void): void {
    if (this.slots.size === 0) then()
    else this.#onIdle = then
  }
}

function add<Slot>(slots: SlotUse<Slot>, slot: Slot): void {
  slots.set(slot, (slots.get(slot) ?? 0) + 1)
}

function remove<Slot>(slots: SlotUse<Slot>, slot: Slot): void {
  const count = slots.get(slot) ?? 0
  if (count > 1) slots.set(slot, count - 1)
  else slots.delete(slot)
}
