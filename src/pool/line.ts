import type { Caller } from './contract.ts'
import type { Want as WantOf } from './member.ts'
import type { Member, Slot } from './slot.ts'
import type { Waiter } from './waiting-room.ts'

/** No member stands further back than others have been served for so long each, whatever it used before. */
const MAX_DEBT_MS = 250
/** What a unit of work counts when it begins; what it really took is added at its end. */
const UNIT_MS = 1

type Want = WantOf<Slot>

/** Place is a member's place in the heap, by what its virtual time was when it was put there. */
interface Place {
  readonly member: Member
  readonly pass: number
}

/**
 * Line is who waits in a pool: first come, first served within a member, and fair by weight among
 * members. Each member has a virtual time that goes on by the time that the server works for it,
 * divided by its weight; the one with the least is served next (start-time fair queuing, Goyal, Vin and
 * Cheng 1996). One that comes anew is served soon and goes on from the time of the others, so that it neither
 * saves up turns nor pays for long for what it used before. With one member it is a plain queue.
 */
export class Line {
  /** A heap, least virtual time first. Places may be out of date; `next` mends them. */
  readonly #heap: Place[] = []
  /** Callers that wait, over all members; their queues count here. */
  readonly tally = { size: 0 }
  /** The virtual time of what was last served. */
  #now = 0

  get size(): number {
    return this.tally.size
  }

  /** members is how many have callers that wait, or had of late. */
  get members(): number {
    return this.#heap.length
  }

  /** @throws LessorError POOL_SATURATED when too many wait */
  add(
    member: Member,
    want: Want,
    caller: Caller | undefined,
    timeoutMs: number,
    refuse: (error: Error) => void,
  ): void {
    member.queue.add(want, caller, timeoutMs, refuse)
    if (member.isInLine) return
    member.isInLine = true
    this.#push({ member, pass: member.pass })
  }

  /** next is the member to be served next, of those that `may` be served with what there is. */
  next(may: (member: Member, want: Want) => boolean): Member | undefined {
    const passedOver: Place[] = []
    let found: Member | undefined
    for (let top = this.#heap[0]; top !== undefined; top = this.#heap[0]) {
      const { member } = top
      const first = member.queue.first
      if (first !== undefined && member.pass === top.pass && may(member, first.want)) {
        found = member
        break
      }
      this.#pop()
      if (first === undefined) member.isInLine = false
      else if (member.pass === top.pass) passedOver.push(top)
      else this.#push({ member, pass: member.pass })
    }
    for (const place of passedOver) this.#push(place)
    return found
  }

  /** shift takes a member's first waiter out, to be served. */
  shift(member: Member): Waiter<Want> | undefined {
    const waiter = member.queue.shift()
    if (waiter !== undefined) this.served(member)
    return waiter
  }

  /** served notes that a unit of work begins. */
  served(member: Member): void {
    this.#now = Math.max(this.#now, member.pass)
    member.pass = this.#now + UNIT_MS / member.weight
  }

  /** took notes how long the server worked for a member. */
  took(member: Member, ms: number): void {
    const pass = member.pass + Math.max(0, ms - UNIT_MS) / member.weight
    member.pass = Math.min(pass, this.#now + MAX_DEBT_MS / member.weight)
  }

  /** demand is how many connections those who wait could use, counted up to `enough`. */
  demand(enough: number): number {
    let demand = 0
    for (const { member } of this.#heap) {
      demand += Math.min(member.queue.size, member.room)
      if (demand >= enough) break
    }
    return Math.min(enough, demand)
  }

  refuseAll(error: Error): void {
    for (const { member } of [...this.#heap]) member.queue.refuseAll(error)
  }

  #push(place: Place): void {
    const heap = this.#heap
    let at = heap.push(place) - 1
    while (at > 0) {
      const up = (at - 1) >> 1
      const parent = heap[up]
      if (parent === undefined || parent.pass <= place.pass) break
      heap[at] = parent
      at = up
    }
    heap[at] = place
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let at = 0
    for (;;) {
      const left = 2 * at + 1
      const leftPlace = heap[left]
      if (leftPlace === undefined) break
      const rightPlace = heap[left + 1]
      const isRight = rightPlace !== undefined && rightPlace.pass < leftPlace.pass
      const child = isRight ? rightPlace : leftPlace
      if (child.pass >= last.pass) break
      heap[at] = child
      at = isRight ? left + 1 : left
    }
    heap[at] = last
  }
}
