import type { BreakerSnapshot, EntryState, EvictionReason, PoolKey, PoolSnapshot } from './contract.ts'
import type { TenantPool } from './tenant-pool.ts'
import { type WaitingRoom, WaitQueue } from './waiting-room.ts'

const NEXT: Readonly<Record<EntryState, readonly EntryState[]>> = {
  opening: ['ready', 'draining', 'closed'],
  ready: ['draining'],
  draining: ['closed'],
  closed: [],
}

/**
 * Entry is a tenant's place in the registry. `opening` finds the credential and proves the login;
 * `ready` serves leases; `draining` is out of the registry and serves the leases that it still has;
 * `closed` has no connection left. Only the registry changes an entry.
 */
export class Entry implements PoolKey {
  readonly tenantId: string
  readonly generation: number
  readonly createdAt: number
  /** Callers that wait for the opening to end. */
  readonly callers: WaitQueue<() => void>
  #state: EntryState = 'opening'
  #pool: TenantPool | undefined
  /** Leases held, those of waiting callers included: an entry with leases is never idle. */
  leases = 0
  lastAccess: number
  /** When the last lease ended; meaningful while there is none. */
  idleSince: number
  hits = 0
  /** Why it left the registry; undefined while it is resident. */
  evicted: EvictionReason | undefined
  drainingSince = 0
  /** What opening it took, in milliseconds. */
  reopenMs = 0
  /** How often of late it was evicted and came back soon. */
  readonly strikes: number
  /** When a sweep evicts it. */
  readonly idleLimitMs: number
  /** Ends the opening; undefined once that is over. */
  opening: AbortController | undefined = new AbortController()
  #resolveClosed: () => void = () => {}
  /** Resolves when the state is `closed`. */
  readonly closed = new Promise<void>((resolve) => {
    this.#resolveClosed = resolve
  })

  constructor(
    key: PoolKey,
    room: WaitingRoom,
    { now, strikes, idleLimitMs }: { now: number; strikes: number; idleLimitMs: number },
  ) {
    this.strikes = strikes
    this.idleLimitMs = idleLimitMs
    this.tenantId = key.tenantId
    this.generation = key.generation
    this.callers = new WaitQueue(room)
    this.createdAt = now
    this.lastAccess = now
    this.idleSince = now
  }

  get state(): EntryState {
    return this.#state
  }

  /** The pool; undefined until the credential is found. */
  get pool(): TenantPool | undefined {
    return this.#pool
  }

  /** become is the one place where the state changes. */
  become(state: EntryState): void {
    if (!NEXT[this.#state].includes(state)) throw new Error(`bug: entry ${this.#state} -> ${state}`)
    this.#state = state
    if (state === 'closed') this.#resolveClosed()
  }

  attach(pool: TenantPool): void {
    this.#pool = pool
  }

  idleMs(now: number): number {
    return this.leases === 0 ? now - this.idleSince : 0
  }

  snapshot(now: number, breaker: BreakerSnapshot): PoolSnapshot {
    const counts = this.#pool?.counts
    return {
      tenantId: this.tenantId,
      generation: this.generation,
      server: this.#pool?.server ?? null,
      state: this.#state,
      leases: this.leases,
      waiting: (counts?.waiting ?? 0) + this.callers.size,
      connections: { opening: counts?.opening ?? 0, idle: counts?.idle ?? 0, busy: counts?.busy ?? 0 },
      createdAt: this.createdAt,
      lastAccess: this.lastAccess,
      idleMs: this.idleMs(now),
      idleLimitMs: this.idleLimitMs,
      hits: this.hits,
      weight: this.#pool?.weight ?? 1,
      breaker,
    }
  }
}
