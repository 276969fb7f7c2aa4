import type { Caller } from './contract.ts'
import { type WaitingRoom, WaitQueue } from './waiting-room.ts'

/**
 * Admission is the callers that wait for their tenant to get a place in the registry. Tenants are let
 * in in the order in which their first caller came, and all callers of a tenant at once: they need one
 * place between them, so a crowd of one tenant's callers is not ahead of another's single one.
 */
export class Admission {
  readonly #room: WaitingRoom
  readonly #tenants = new Map<string, WaitQueue<() => void>>()

  constructor(room: WaitingRoom) {
    this.#room = room
  }

  get isEmpty(): boolean {
    return this.since === undefined
  }

  /** Since when the first tenant waits; undefined when nobody does. */
  get since(): number | undefined {
    for (const [tenantId, { first }] of this.#tenants) {
      if (first !== undefined) return first.since
      // All of them have gone meanwhile.
      this.#tenants.delete(tenantId)
    }
    return undefined
  }

  /** add takes a caller in; `letIn` is called when its tenant may have a place. @throws LessorError POOL_SATURATED */
  add(
    tenantId: string,
    caller: Caller,
    timeoutMs: number,
    { letIn, refuse }: { readonly letIn: () => void; readonly refuse: (error: Error) => void },
  ): void {
    let queue = this.#tenants.get(tenantId)
    if (queue === undefined || queue.size === 0) {
      // An empty one is left over, and would keep its place in the order.
      this.#tenants.delete(tenantId)
      queue = new WaitQueue(this.#room)
      this.#tenants.set(tenantId, queue)
    }
    queue.add(letIn, caller, timeoutMs, refuse)
  }

  /** letNextIn lets the first tenant's callers in; false when nobody waits. */
  letNextIn(): boolean {
    for (const [tenantId, queue] of this.#tenants) {
      this.#tenants.delete(tenantId)
      if (queue.size === 0) continue
      for (let caller = queue.shift(); caller !== undefined; caller = queue.shift()) caller.want()
      return true
    }
    return false
  }

  /** refuseAll refuses everybody and returns how many they were. */
  refuseAll(error: Error): number {
    let count = 0
    for (const queue of this.#tenants.values()) {
      count += queue.size
      queue.refuseAll(error)
    }
    this.#tenants.clear()
    return count
  }
}
