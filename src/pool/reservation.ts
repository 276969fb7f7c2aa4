import type { Claimant } from './claims.ts'
import type { Caller, Reservation } from './contract.ts'
import type { Engine } from './engine.ts'
import { WaitQueue } from './waiting-room.ts'

/** Place is one connection that is wanted for work outside of the pools; a pool of one, to the budgets. */
class Place implements Claimant, Reservation {
  readonly server: string
  readonly tenantId: string
  readonly maxConnections: number
  readonly weight = 1
  readonly #engine: Engine
  readonly #queue: WaitQueue<() => void>
  #isTaken = false

  constructor(engine: Engine, server: string, tenantId: string) {
    this.#engine = engine
    this.#queue = new WaitQueue(engine.room)
    this.server = server
    this.tenantId = tenantId
    this.maxConnections = engine.limits.maxConnections
  }

  get open(): number {
    return this.#isTaken ? 1 : 0
  }

  get waiting(): number {
    return this.#queue.size
  }

  wait(caller: Caller): Promise<Reservation> {
    return new Promise((resolve, reject) => {
      const refused = (error: Error) => {
        this.#engine.budgets.withdraw(this)
        reject(error)
      }
      this.#queue.add(() => resolve(this), caller, this.#engine.limits.acquireTimeoutMs, refused)
      this.#engine.wake()
      this.grow()
    })
  }

  refuse(error: Error): void {
    this.#queue.refuseAll(error)
  }

  grow(): void {
    if (this.#queue.size === 0 || !this.#engine.budgets.take(this)) return
    this.#isTaken = true
    // Whoever reserves opens when it likes, and holds up no pool meanwhile.
    this.#engine.budgets.opened(this)
    this.#queue.shift()?.want()
  }

  release(): void {
    if (!this.#isTaken) return
    this.#isTaken = false
    this.#engine.budgets.closed(this, false)
  }
}

/** Reservations is the connections that are wanted or used outside of the pools; see Pools.reserve. */
export class Reservations {
  readonly #engine: Engine
  readonly #waiting = new Set<Place>()

  constructor(engine: Engine) {
    this.#engine = engine
  }

  async take(server: string, tenantId: string, caller: Caller): Promise<Reservation> {
    const place = new Place(this.#engine, server, tenantId)
    this.#waiting.add(place)
    try {
      return await place.wait(caller)
    } finally {
      this.#waiting.delete(place)
    }
  }

  /** refuseAll refuses whoever waits for one. */
  refuseAll(error: Error): void {
    for (const place of this.#waiting) place.refuse(error)
  }
}
